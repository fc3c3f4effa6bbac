import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { example, type Outcome } from "./support.ts";

const digits = (...args: string[]): Promise<Outcome> => example("digits", ...args);

/** The figures of a run with --json, which must be all there is on standard output. */
async function figures(...args: string[]) {
  const { code, stdout, stderr } = await digits("--json", ...args);
  expect(stderr).toBe("");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^\{[^\n]*\}\n$/);
  return JSON.parse(stdout);
}

/** The message of a run that must fail for what the user did. */
async function refusal(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await digits("--json", ...args);
  expect(code, stderr).toBe(1);
  expect(stdout).toBe("");
  expect(stderr).toMatch(/^digits: [^\n]*\n$/); // one line, no stack trace
  return stderr;
}

describe("examples/digits.js", () => {
  it("learns in one epoch, and gives the same parameters with 1 and 3 workers", async () => {
    const one = await figures("--epochs", "1", "--workers", "1");
    expect(Object.keys(one)).toEqual([
      "testAccuracy",
      "finalLoss",
      "trainSeconds",
      "stepMs",
      "imagesPerSecond",
      "workers",
      "math",
      "parametersSha256",
    ]);
    expect(one).toMatchObject({ workers: 1, math: "fast", parametersSha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(one.testAccuracy).toBeGreaterThan(0.86);
    expect(one.testAccuracy).toBeLessThan(0.95);
    expect(one.finalLoss).toBeGreaterThan(0.3);
    expect(one.finalLoss).toBeLessThan(1);
    expect(one.stepMs).toBeCloseTo((one.trainSeconds * 1000) / 125, 6);
    expect(one.imagesPerSecond).toBeCloseTo(8000 / one.trainSeconds, 3);

    const three = await figures("--epochs", "1", "--workers", "3");
    expect(three.workers).toBe(3);
    for (const key of ["testAccuracy", "finalLoss", "parametersSha256"]) expect(three[key], key).toBe(one[key]);
  });

  it("learns faster with convolutions: an epoch at a learning rate that falls to 0", async () => {
    const one = await figures("--model", "cnn", "--epochs", "1", "--workers", "2");
    expect(one).toMatchObject({ workers: 2, math: "fast", parametersSha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(one.testAccuracy).toBeGreaterThan(0.94);
    expect(one.testAccuracy).toBeLessThan(0.985);
    expect(one.finalLoss).toBeGreaterThan(0.2);
    expect(one.finalLoss).toBeLessThan(0.7);
    expect(one.stepMs).toBeCloseTo((one.trainSeconds * 1000) / 250, 6);
  });

  it("depends on the seed, and on nothing else", async () => {
    const run = (seed: string) => figures("--epochs", "1", "--math", "portable", "--seed", seed);
    const [a, again, b] = [await run("0"), await run("0"), await run("7")];
    expect(a.math).toBe("portable");
    expect(again.parametersSha256).toBe(a.parametersSha256);
    expect(b.parametersSha256).not.toBe(a.parametersSha256);
  });

  it("shows a person a line per epoch where there is no terminal, and the accuracy", async () => {
    const { code, stdout, stderr } = await digits("--epochs", "2", "--workers", "2");
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/2 workers/);
    expect(stdout).toMatch(/8,000 images to learn from, 2,000 held out/);
    expect(stdout).toMatch(/784-128-10, 101,770 parameters/);
    expect(stdout.match(/epoch \d\/2 {2}loss \d\.\d{4} +[\d,]+ images\/s\n/g)).toHaveLength(2);
    expect(stdout).toMatch(/accuracy +9\d\.\d\d %/);
    expect(stdout).not.toContain("\u001b");
  });

  it("explains itself", async () => {
    const { code, stdout } = await digits("--help");
    expect(code).toBe(0);
    expect(stdout).toMatch(/mlp .* or cnn /);
    for (const option of ["data", "model", "epochs", "batch", "lr", "workers", "seed", "math", "json"])
      expect(stdout).toContain(`--${option}`);
  });

  it("refuses bad options in one line", async () => {
    const cases: [string[], RegExp][] = [
      [["--workers", "0"], /--workers must be an integer from 1 to 256, got 0/],
      [["--workers", "-1"], /--workers .* got -1/],
      [["--lr", "fast"], /--lr must be a finite number/],
      [["--epochs", "1.5"], /--epochs .* got 1\.5/],
      [["--batch="], /--batch .* got nothing/],
      [["--batch", "8001"], /--batch 8001 is more than the 8000 training images/],
      [["--math", "sloppy"], /--math must be fast or portable, got sloppy/],
      [["--model", "vgg"], /--model must be mlp or cnn, got vgg/],
      [["--model", "toString"], /--model must be mlp or cnn, got toString/],
      [["--epoch", "3"], /Unknown option '--epoch'/],
      [["more"], /Unexpected argument 'more'/],
    ];
    for (const [args, message] of cases) expect(await refusal(...args)).toMatch(message);
  });
});

describe("examples/digits.js --data", () => {
  const FILES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
  ];
  let folders: string;
  let count = 0;

  beforeAll(async () => {
    folders = await mkdtemp(join(tmpdir(), "fourlane-digits-"));
  });
  afterAll(() => rm(folders, { recursive: true, force: true }));

  function idx(shape: number[], byte: (i: number) => number): Buffer {
    const header = Buffer.alloc(4 + 4 * shape.length);
    header.writeUInt16BE(0x0800 + shape.length, 2);
    shape.forEach((d, i) => header.writeUInt32BE(d, 4 + 4 * i));
    const n = shape.reduce((a, b) => a * b, 1);
    return Buffer.concat([header, Uint8Array.from({ length: n }, (_, i) => byte(i))]);
  }

  /** Four files: images of 4 x 4 pixels, bright where the label says. */
  const labelOf = (i: number): number => (i * 7) % 10;
  const images = (n: number): Buffer => idx([n, 4, 4], (i) => (i % 16 === labelOf(i >> 4) ? 255 : i % 3));
  const labels = (n: number): Buffer => idx([n], labelOf);
  const good = (): Record<string, Buffer> => ({
    [FILES[0]]: images(640),
    [FILES[1]]: labels(640),
    [FILES[2]]: images(70),
    [FILES[3]]: labels(70),
  });

  async function folder(files: Record<string, Buffer>): Promise<string> {
    const path = join(folders, String(count++));
    await mkdir(path);
    for (const [name, bytes] of Object.entries(files)) await writeFile(join(path, name), bytes);
    return path;
  }

  it("trains on any images, plain or compressed, with dashes or dots in the names", async () => {
    const plain = await folder(good());
    const packed = await folder(
      Object.fromEntries(
        Object.entries(good()).map(([name, b]) => [`${name.replace("-idx", ".idx")}.gz`, gzipSync(b)]),
      ),
    );
    const options = ["--epochs", "20", "--batch", "32", "--lr", "0.02"];
    const a = await figures("--data", plain, ...options);
    expect(a.testAccuracy).toBe(1);
    const b = await figures("--data", packed, ...options);
    expect(b.parametersSha256).toBe(a.parametersSha256);
  });

  it("trains convolutions on images of any size, with the same result for any number of workers", async () => {
    const path = await folder(good());
    const run = (workers: string) => figures("--data", path, "--model", "cnn", "--epochs", "2", "--workers", workers);
    const [one, three] = [await run("1"), await run("3")];
    expect(three.parametersSha256).toBe(one.parametersSha256);
    expect(three.testAccuracy).toBe(one.testAccuracy);
  });

  it("refuses broken files in one line that names the file", async () => {
    const [trainImages, trainLabels, testImages, testLabels] = FILES;
    const cases: [Record<string, Buffer>, RegExp][] = [
      [
        { [trainImages]: images(640).subarray(0, 5000) },
        /train-images-idx3-ubyte: truncated: .* 10256 bytes.* got 5000/,
      ],
      [{ [trainLabels]: labels(639) }, /trainImages holds 640 images, trainLabels 639 labels/],
      [{ [testLabels]: labels(71) }, /testImages holds 70 images, testLabels 71 labels/],
      [
        { [trainLabels]: idx([640], (i) => (i === 5 ? 10 : 0)) },
        /label 10 at position 5 is out of range for 10 classes/,
      ],
      [{ [testImages]: idx([70, 5, 5], () => 0) }, /testImages of \[1, 5, 5\]/],
      [{ [testImages]: Buffer.from("<html>not found</html>") }, /t10k-images-idx3-ubyte: not an IDX file/],
      [{ [testImages]: idx([0, 4, 4], () => 0), [testLabels]: labels(0) }, /no test images/],
    ];
    for (const [files, message] of cases) {
      const path = await folder({ ...good(), ...files });
      const line = await refusal("--data", path);
      expect(line).toMatch(message);
      expect(line).toContain(path);
    }
  });

  it("refuses a truncated compressed file, a missing file and a missing folder", async () => {
    const { [FILES[0]]: first, ...others } = good();
    const packed = gzipSync(first);
    const cut = await folder({ ...others, [`${FILES[0]}.gz`]: packed.subarray(0, packed.length >> 1) });
    expect(await refusal("--data", cut)).toMatch(/train-images-idx3-ubyte\.gz: the gzip data is truncated or corrupt/);
    expect(await refusal("--data", await folder(others))).toMatch(/holds no train-images-idx3-ubyte/);
    expect(await refusal("--data", join(folders, "nowhere"))).toMatch(/nowhere cannot be read as a folder \(ENOENT\)/);
  });
});
