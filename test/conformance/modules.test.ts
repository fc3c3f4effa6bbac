/**
 * Samples of PyTorch 1.13's modules: results and gradients in float64 from float32 inputs, made by PyTorch itself. Tolerance:
 * torch.testing's for float32. A module is called as PyTorch calls its own: options in camelCase, nothing else is translated.
 */
import { readdirSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { afterAll, expect, test } from "vitest";
import { vjp } from "../../src/diff/vjp.ts";
import * as fl from "../../src/index.ts";
import { evaluate } from "../../src/trace/evaluate.ts";
import { expectClose } from "../ops/reference.ts";
import { DTYPES, load } from "./samples.ts";

// MODULES names another folder of samples: there are more of them than are kept here.
const dir = process.env.MODULES ? pathToFileURL(`${process.env.MODULES}/`) : new URL("./modules/", import.meta.url);

afterAll(() => fl.dispose());

interface Case {
  readonly module: string;
  readonly args: unknown[];
  readonly kwargs: Record<string, unknown>;
  readonly train: boolean;
  readonly call: unknown[];
}

type Layer = fl.nn.Module<fl.Tensor | (fl.Tensor | fl.Tensor[])[]>;

const camel = (name: string): string => name.replace(/_(\w)/g, (_, c: string) => c.toUpperCase());
const files = readdirSync(dir).filter((f) => f.endsWith(".safetensors"));

test.each(files.map((f) => f.replace(".safetensors", "")))("%s", async (name) => {
  const { arrays, case: sample } = load<Case>(new URL(`${name}.safetensors`, dir));
  const get = (key: string): fl.Tensor => {
    const { shape, data, dtype } = arrays.get(key) as { shape: number[]; data: Float64Array; dtype: string };
    return fl.tensor([...data], shape, { dtype: DTYPES[dtype] });
  };
  const named = (prefix: string): string[] => [...arrays.keys()].filter((k) => k.startsWith(prefix)).sort();
  const inputs = new Map(named("in.").map((k) => [k, get(k)]));
  const decode = (v: unknown): unknown =>
    Array.isArray(v)
      ? v.map(decode)
      : typeof v === "object" && v !== null && "tensor" in v
        ? inputs.get(v.tensor as string)
        : v;

  const options = Object.fromEntries(Object.entries(sample.kwargs).map(([k, v]) => [camel(k), decode(v)]));
  const make = (fl.nn as unknown as Record<string, new (...args: unknown[]) => Layer>)[sample.module];
  expect(make, `there is no ${sample.module}`).toBeDefined();
  const layer = new make(...sample.args.map(decode), ...(Object.keys(options).length > 0 ? [options] : []));
  const state = named("state.");
  if (state.length > 0) layer.loadStateDict(Object.fromEntries(state.map((k) => [k.slice("state.".length), get(k)])));
  layer.train(sample.train);
  const result = layer.forward(...sample.call.map((v) => decode(v) as fl.Tensor));
  const outs = [result].flat(2);
  expect(outs).toHaveLength(named("out.").length);

  const parameters = new Map([...layer.namedParameters()].map(([k, p]) => [k, p.node]));
  const [grads, pgrads] = [named("grad."), named("pgrad.")];
  const cts = named("ct.");
  const wrt = [
    ...grads.map((k) => (inputs.get(k.replace("grad", "in")) as fl.Tensor).node),
    ...pgrads.map((k) => parameters.get(k.slice("pgrad.".length)) as fl.Tensor["node"]),
  ];
  const back = vjp(
    cts.map((k) => outs[Number(k.slice(3))].node),
    cts.map((k) => {
      const { shape, data } = arrays.get(k) as { shape: number[]; data: Float64Array };
      return fl.tensor([...data], shape).node;
    }),
    wrt,
  );
  const nodes = [...outs.map((t) => t.node), ...back.flatMap((g) => g ?? [])];
  const names = [...outs.map((_, i) => `out.${i}`), ...[...grads, ...pgrads].filter((_, i) => back[i])];
  const values = await evaluate(nodes);
  names.forEach((key, i) => {
    const want = arrays.get(key) as { shape: number[]; data: Float64Array; dtype: string };
    expect(nodes[i].shape, key).toEqual(want.shape);
    if (want.dtype === "F64") expectClose(values[i], want.data, key);
    else expect([...values[i]], key).toEqual([...want.data]);
  });
  for (const key of named("after.")) {
    const want = arrays.get(key) as { shape: number[]; data: Float64Array };
    const got = layer.stateDict()[key.slice("after.".length)];
    expect(got.shape, key).toEqual(want.shape);
    expectClose(await got.data(), want.data, key);
  }
  [...grads, ...pgrads].forEach((key, i) => {
    if (!back[i])
      expect(
        arrays.get(key)?.data.every((v) => v === 0),
        `${key} is not zero`,
      ).toBe(true);
  });
});
