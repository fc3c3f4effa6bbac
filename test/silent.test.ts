/** What would go wrong without a word: tensors taken for numbers, values read too early, slopes of branches not taken. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import * as fl from "../src/index.ts";

describe("a tensor taken for a number", () => {
  const x = fl.tensor([1, 2]);
  const any = x as unknown as number;
  const wrong: [string, () => unknown][] = [
    ["compared", () => any > 0],
    ["added to", () => any + 1],
    ["multiplied", () => any * 2],
    ["negated", () => -any],
    ["compared loosely", () => any == 1],
    ["given to Math", () => Math.sqrt(any)],
    ["made a number", () => Number(any)],
    ["added to text", () => any + " points"],
    ["a parameter", () => (new fl.Parameter(x) as unknown as number) < 3],
  ];
  test.each(wrong)("%s: a TypeError that says what to write", (_, f) => {
    expect(f).toThrow(TypeError);
    expect(f).toThrow(/is no number: .*where\(\.\.\.\).*await x\.item\(\)/);
  });
  test("as text is its dtype and shape", () => {
    expect(`${x}`).toBe("Tensor float32[2]");
    expect(String(x)).toBe("Tensor float32[2]");
    expect([x, x].join()).toBe("Tensor float32[2],Tensor float32[2]");
    expect({ [x as never]: 1 }).toEqual({ "Tensor float32[2]": 1 });
  });
});

describe("a value read inside of a compiled function", () => {
  const reads: [string, (x: fl.Tensor) => unknown][] = [
    ["item, not awaited", (x) => void x.sum().item()],
    ["data", (x) => void x.data()],
    ["array", (x) => void x.mul(2).array()],
    ["that of a parameter", () => void p.data()],
    ["the value of an argument before it is used", (x) => (x.item().then(() => {}), x)],
  ];
  const p = new fl.Parameter(fl.tensor([1]));
  test.each(reads)("%s: compile throws, with the line, and nothing is left unhandled", async (_, read) => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown): void => void unhandled.push(reason);
    process.on("unhandledRejection", note);
    const step = fl.compile((x: fl.Tensor) => {
      read(x);
      return x.mul(2);
    });
    let error: Error | undefined;
    try {
      step(fl.tensor([3]));
    } catch (e) {
      error = e as Error;
    }
    expect(error).toBeInstanceOf(fl.FourlaneError);
    expect(error?.message).toContain("cannot be read inside a compiled function");
    expect(error?.stack).toContain("silent.test.ts");
    await new Promise((resolve) => setTimeout(resolve, 5));
    process.off("unhandledRejection", note);
    expect(unhandled).toEqual([]);
  });
});

describe("the branch of a where that is not taken", () => {
  const at = fl.tensor([-1, 0, 1, 2]);
  const one = fl.ones([4]);
  /** A function, and its derivative at -1, 0, 1, 2. */
  const cases: [string, (x: fl.Tensor) => fl.Tensor, number[]][] = [
    ["reciprocal or log", (x) => fl.where(x.lt(0.5), one.div(one.sub(x)), x.add(1).log()), [1 / 4, 1, 1 / 2, 1 / 3]],
    ["log", (x) => fl.where(x.gt(0), x.log(), 0), [0, 0, 1, 1 / 2]],
    ["log, taken where the condition does not hold", (x) => fl.where(x.le(0), 0, x.log()), [0, 0, 1, 1 / 2]],
    ["a chain", (x) => fl.where(x.gt(0), x.sqrt().log().mul(x).add(1).neg(), x), [1, 1, -0.5, -0.5 - Math.log(2) / 2]],
    ["in a where in a where", (x) => fl.where(x.gt(0), fl.where(x.gt(1.5), x.sub(1).log(), x), 7), [0, 0, 1, 1]],
    [
      "a quotient",
      (x) => fl.where(x.ne(0), x.sin().div(x), 1),
      [Math.sin(1) - Math.cos(1), 0, Math.cos(1) - Math.sin(1), Math.cos(2) / 2 - Math.sin(2) / 4],
    ],
    ["maskedFill", (x) => fl.maskedFill(x.sqrt(), x.le(0), 3), [0, 0, 0.5, 0.5 / Math.SQRT2]],
    ["clamp", (x) => x.square().log().clamp(-5, 5), [-2, 0, 2, 1]],
    ["used twice", (x) => ((y) => fl.where(x.gt(0), y, 0).add(fl.where(x.gt(1.5), y, 1)))(x.log()), [0, 0, 1, 1]],
    ["a power", (x) => fl.where(x.gt(0), x.pow(0.5), 0), [0, 0, 0.5, 0.5 / Math.SQRT2]],
  ];
  const close = async (t: fl.Tensor, want: number[]): Promise<void> => {
    const got = await t.data();
    want.forEach((w, i) => expect(got[i], `element ${i} of ${got.join(" ")}`).toBeCloseTo(w, 5));
  };
  test.each(cases)("%s: no gradient flows, in both modes and to the second order", async (_, f, want) => {
    const total = (x: fl.Tensor): fl.Tensor => f(x).sum();
    await close(fl.grad(total)(at), want);
    await close(fl.jvp(f, [at], [fl.ones([4])])[1] as fl.Tensor, want);
    await close(fl.compile((x: fl.Tensor) => fl.grad(total)(x))(at), want);
    const h = 2 ** -9;
    const second = [
      await fl.hvp(total, [at], [fl.ones([4])])[1][0].data(),
      await fl
        .grad((x: fl.Tensor) => fl.grad(total)(x).sum())(at)
        .data(),
    ];
    const ahead = await fl.grad(total)(at.add(h)).data();
    const behind = await fl.grad(total)(at.sub(h)).data();
    for (const s of second)
      for (const i of [2, 3]) expect(s[i], `second derivative ${i}`).toBeCloseTo((ahead[i] - behind[i]) / (2 * h), 1);
    for (const s of second) for (const v of s) expect(v).not.toBeNaN();
  });

  test("costs no instruction where there is none to save: a relu net's step is the same program", () => {
    const x = fl.rand([8, 4]);
    const model = new fl.nn.Sequential(new fl.nn.Linear(4, 4), new fl.nn.ReLU(), new fl.nn.Linear(4, 2));
    const step = fl.compile(() => {
      model.zeroGrad();
      const loss = model.forward(x).square().mean();
      loss.backward();
      return model.parameters().map((p) => p.grad as fl.Tensor);
    });
    step();
    expect(step.explain()).not.toContain("where");
  });
});

test("the declarations compile without a DOM, and without skipLibCheck", () => {
  const root = fileURLToPath(new URL("../", import.meta.url));
  const folder = mkdtempSync(join(tmpdir(), "fourlane-types-"));
  try {
    writeFileSync(
      join(folder, "use.ts"),
      `import { compile, DataLoader, nn, optim, tensor, TensorDataset } from ${JSON.stringify(`${root}dist/types/src/index.js`)};
       const model = new nn.Linear(2, 3);
       const optimizer = new optim.Adam(model.parameters(), { lr: 0.1 });
       const step = compile((x: ReturnType<typeof tensor>) => model.forward(x));
       export const shape: readonly number[] = step(tensor([[1, 2]])).shape;
       export const all = step.run(new DataLoader(new TensorDataset(tensor([[1, 2]]))));
       optimizer.lr = 0.2;`,
    );
    const flags =
      "--ignoreConfig --noEmit --strict --target es2022 --module nodenext --lib es2022 --skipLibCheck false".split(" ");
    const tsc = `${root}node_modules/typescript/bin/tsc`;
    const run = (): string =>
      execFileSync(process.execPath, [tsc, ...flags, "--types", "", join(folder, "use.ts")], { encoding: "utf8" });
    let said = "";
    try {
      said = run();
    } catch (error) {
      said = (error as { stdout: string }).stdout;
    }
    expect(said).toBe("");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
