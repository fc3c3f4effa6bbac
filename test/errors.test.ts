/** Every public function, given what it has no use for, throws an error of the library that names it - or takes it. */
import { expect, test } from "vitest";
import * as fl from "../src/index.ts";

type Fn = (...args: unknown[]) => unknown;
const x = fl.ones([2, 3]);
const BAD: [string, unknown][] = [
  ["null", null],
  ["undefined", undefined],
  ["a string", "x"],
  ["a number", -1.5],
  ["an object", {}],
  ["an array", [null]],
];

const isClass = (f: unknown): boolean => /^class\b/.test(Function.prototype.toString.call(f));
const functionsOf = (prefix: string, from: object): [string, Fn][] =>
  Object.entries(from)
    .filter(([name, f]) => typeof f === "function" && !isClass(f) && name !== "dispose")
    .map(([name, f]) => [prefix + name, f as Fn]);
const methods = Object.entries(Object.getOwnPropertyDescriptors(fl.Tensor.prototype))
  .filter(([name, { value }]) => typeof value === "function" && name !== "constructor")
  .map(([name, { value }]): [string, Fn] => [`Tensor.${name}`, (...args) => (value as Fn).apply(x, args)]);
const ALL = [...functionsOf("", fl), ...functionsOf("nn.functional.", fl.nn.functional), ...methods];

/** What a call throws, at once or when its promise or tensor is waited for. */
async function thrown(call: () => unknown): Promise<unknown> {
  try {
    const result = await call();
    if (result instanceof fl.Tensor) await result.data();
    return undefined;
  } catch (error) {
    return error;
  }
}

test("helpers are not public", () => {
  for (const name of Object.keys(fl)) expect(name).not.toMatch(/^check(?!point)/);
});

test("and it names the operation and the argument", () => {
  const cases: [() => unknown, string][] = [
    [() => x.add(null as never), "add: the operand must be a tensor, got null"],
    [() => x.matmul({} as never), "matmul: the operand must be a tensor, got [object Object]"],
    [() => fl.where(x.gt(0), x, "y" as never), "where: the operand must be a tensor, got y"],
    [() => x.gather(0, null as never), "gather: the index must be a tensor, got null"],
    [() => fl.nn.functional.elu(undefined as never), "elu: x must be a tensor, got undefined"],
    [() => fl.zeros(3 as never), "zeros: shape must be an array of integers, got 3"],
    [() => fl.ones([2], { dtype: "half" as never }), "ones: dtype must be one of"],
    [() => fl.split(fl.tensor(1), 1), "split: a scalar has no axis to split"],
    [() => x.unfold(0, 9, 1), "unfold: axis 0 of shape [2, 3] is shorter than a window of 9"],
    [() => fl.std(x, 5), "std: axis 5 is out of range"],
    [() => fl.valueAndGrad((t: fl.Tensor) => t)(x), "valueAndGrad: the function must return one element"],
    [() => fl.linearize((t: fl.Tensor) => t, x)[1](fl.ones([1])), "linearize: tangent 0 is float32[1]"],
    [() => fl.nn.utils.clipGradNorm([x], "1" as never), "clipGradNorm: maxNorm must be a number of at least 0, got 1"],
    [
      () => fl.nn.utils.clipGradValue([x], "1" as never),
      "clipGradValue: clipValue must be a number of at least 0, got 1",
    ],
    [() => fl.compile(7 as never), "compile: a function is wanted, got 7"],
  ];
  for (const [call, message] of cases) expect(call).toThrow(message);
});

test.each(ALL)("%s", async (_, f) => {
  for (const [what, bad] of BAD)
    for (const args of [[bad], [bad, x], [x, bad]]) {
      const error = await thrown(() => f(...args));
      if (error !== undefined) expect(error, `given ${what} as one of ${args.length}`).toBeInstanceOf(fl.FourlaneError);
    }
});
