import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { example, type Outcome } from "./support.ts";

const text = (...args: string[]): Promise<Outcome> => example("text", ...args);

async function figures(...args: string[]) {
  const { code, stdout, stderr } = await text("--json", ...args);
  expect(stderr).toBe("");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^\{[^\n]*\}\n$/);
  return JSON.parse(stdout);
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fourlane-text-"));
});
afterAll(() => rm(folder, { recursive: true }));

describe("examples/text.js", () => {
  it("learns a novel's spelling a little in 60 steps, the same with 1 and 3 workers", async () => {
    const one = await figures("--steps", "60", "--workers", "1");
    expect(Object.keys(one)).toEqual([
      "finalLoss",
      "bigramEntropy",
      "trainSeconds",
      "stepMs",
      "charactersPerSecond",
      "workers",
      "math",
      "parametersSha256",
    ]);
    expect(one).toMatchObject({ workers: 1, math: "fast", parametersSha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(one.bigramEntropy).toBeGreaterThan(2.3);
    expect(one.bigramEntropy).toBeLessThan(2.6);
    expect(one.finalLoss).toBeLessThan(3);
    expect(one.finalLoss).toBeGreaterThan(one.bigramEntropy);
    const three = await figures("--steps", "60", "--workers", "3");
    for (const key of ["finalLoss", "parametersSha256"]) expect(three[key], key).toBe(one[key]);
  });

  it("takes any text, and another seed gives another model", async () => {
    const file = join(folder, "count.txt");
    await writeFile(file, Array.from({ length: 3000 }, (_, i) => `${i % 10} “and” `).join(""));
    const [a, b] = [
      await figures("--data", file, "--steps", "40"),
      await figures("--data", file, "--steps", "40", "--seed", "2"),
    ];
    expect(a.finalLoss).toBeLessThan(1.5);
    expect(a.bigramEntropy).toBeCloseTo((Math.log(10) * 1) / 8 + (2 / 8) * Math.log(2), 0);
    expect(b.parametersSha256).not.toBe(a.parametersSha256);
  });

  it("shows a person the machine, the text, the losses as they fall, and what it writes", async () => {
    const file = join(folder, "sea.txt");
    await writeFile(file, "the sea, the ship, the whale, the sea. ".repeat(400));
    const { code, stdout } = await text("--data", file, "--steps", "250", "--batch", "4");
    expect(code).toBe(0);
    for (const part of [
      "machine",
      "characters to learn from",
      "transformer, 2 layers",
      "step    250",
      "loss, 250 steps",
      "nats",
    ])
      expect(stdout).toContain(part);
    expect(stdout.slice(stdout.indexOf("weights"))).toMatch(/whale/);
  });

  it("refuses what it cannot do, in one line", async () => {
    const short = join(folder, "short.txt");
    await writeFile(short, "too short");
    const cases: [string[], RegExp][] = [
      [["--epochs", "3"], /Unknown option '--epochs'/],
      [["--steps", "0"], /--steps must be an integer from 1/],
      [["--data", join(folder, "none.txt")], /none.txt: the file cannot be read/],
      [["--data", short], /9 characters are too few/],
      [["--lr", "x"], /--lr must be a finite number/],
    ];
    for (const [args, message] of cases) {
      const { code, stdout, stderr } = await text("--json", ...args);
      expect([code, stdout], args.join(" ")).toEqual([1, ""]);
      expect(stderr).toMatch(/^text: [^\n]*\n$/);
      expect(stderr).toMatch(message);
    }
  });
});

describe("examples/start.js", () => {
  it("runs what --model says", async () => {
    const help = async (...args: string[]): Promise<string> => (await example("start", ...args, "--help")).stdout;
    expect(await help()).toContain("handwritten digits");
    expect(await help("--model", "cnn")).toContain("handwritten digits");
    expect(await help("--model", "gpt")).toContain("character by character");
    expect(await help("--model=gpt")).toContain("character by character");
    expect((await example("start", "--model", "rnn")).stderr).toMatch(/--model must be mlp or cnn or gpt, got rnn/);
  });
});
