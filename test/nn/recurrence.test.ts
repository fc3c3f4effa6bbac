/** Recurrent layers: against cells step by step, sequences of different lengths, shapes, names, and what is refused. */
import { afterAll, describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { same } from "../func/support.ts";

afterAll(() => fl.dispose());

const { nn } = fl;
type T = fl.Tensor;

const [STEPS, BATCH, INPUTS, HIDDEN] = [6, 3, 4, 5];

function values(shape: readonly number[], seed: number): T {
  const n = shape.reduce((a, b) => a * b, 1);
  return fl.tensor(
    Float32Array.from({ length: n }, (_, i) => Math.sin(1 + i * 1.3 + seed * 7)),
    shape,
  );
}

const x = values([STEPS, BATCH, INPUTS], 1);

/** A layer, its cell, and whether the state has two tensors. */
const KINDS = {
  tanh: { layer: (o: object) => new nn.RNN(INPUTS, HIDDEN, o), cell: (i: number) => new nn.RNNCell(i, HIDDEN) },
  relu: {
    layer: (o: object) => new nn.RNN(INPUTS, HIDDEN, { nonlinearity: "relu", ...o }),
    cell: (i: number) => new nn.RNNCell(i, HIDDEN, { nonlinearity: "relu" }),
  },
  gru: { layer: (o: object) => new nn.GRU(INPUTS, HIDDEN, o), cell: (i: number) => new nn.GRUCell(i, HIDDEN) },
  lstm: { layer: (o: object) => new nn.LSTM(INPUTS, HIDDEN, o), cell: (i: number) => new nn.LSTMCell(i, HIDDEN) },
};

type State = T | [T, T];
type Cell = fl.nn.Module<State, [T, (State | null)?]>;
type Layer = fl.nn.Module<[T, State], [T, (State | null)?, { lengths?: T | null }?]>;

/** One layer in one direction, step by step, with its cell. */
async function byCell(cell: Cell, layer: Layer, suffix: string, input: T, reverse: boolean): Promise<[T, T[]]> {
  const all = layer.stateDict();
  const names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];
  cell.loadStateDict(Object.fromEntries(names.map((name) => [name, all[`${name}_${suffix}`]])));
  let state: State | null = null;
  const outputs: T[] = [];
  for (let k = 0; k < STEPS; k++) {
    const t = reverse ? STEPS - 1 - k : k;
    state = cell.forward(input.index(t), state);
    outputs[t] = [state].flat()[0];
  }
  return [fl.stack(outputs), [state as State].flat()];
}

describe.each(Object.entries(KINDS))("%s", (_, { layer: make, cell: makeCell }) => {
  test("two layers in both directions are cells step by step; and a loop of its own for each", async () => {
    fl.manualSeed(3);
    const layer = make({ numLayers: 2, bidirectional: true }) as unknown as Layer;
    const [output, last] = layer.forward(x);
    let input = x;
    const states: T[][] = [];
    for (const l of [0, 1]) {
      const outs: T[] = [];
      for (const way of ["", "_reverse"]) {
        const cell = makeCell(l === 0 ? INPUTS : 2 * HIDDEN) as unknown as Cell;
        const [y, state] = await byCell(cell, layer, `l${l}${way}`, input, way !== "");
        outs.push(y);
        states.push(state);
      }
      input = fl.cat(outs, 2);
    }
    await same(output, input);
    for (const [i, s] of [last].flat().entries()) await same(s, fl.stack(states.map((list) => list[i])));
  });

  test("batch first, and one sequence without a batch, are the same numbers", async () => {
    fl.manualSeed(4);
    const plain = make({}) as unknown as Layer;
    const first = make({ batchFirst: true }) as unknown as Layer;
    first.loadStateDict(plain.stateDict());
    const [want, state] = plain.forward(x);
    const [got, stateGot] = first.forward(x.transpose(0, 1));
    await same(got.transpose(0, 1), want);
    for (const [i, s] of [state].flat().entries()) await same([stateGot].flat()[i], s);
    const [single, stateSingle] = plain.forward(x.select(1, 1));
    await same(single, want.select(1, 1));
    for (const [i, s] of [state].flat().entries()) await same([stateSingle].flat()[i], s.select(1, 1));
  });

  test.each([false, true])("lengths: each sequence as if it were alone, bidirectional %s", async (bidirectional) => {
    fl.manualSeed(5);
    const layer = make({ bidirectional, numLayers: 2 }) as unknown as Layer;
    const lengths = [4, 6, 1];
    const run = (input: T) => layer.forward(input, null, { lengths: fl.tensor(lengths, { dtype: "int32" }) });
    const [output, state] = run(x);
    expect(output.shape).toEqual([STEPS, BATCH, HIDDEN * (bidirectional ? 2 : 1)]);
    const sumOf = (o: T, s: State): T => [s].flat().reduce((a, t) => a.add(t.square().sum()), o.sin().sum());
    const together = fl.grad((input: T) => sumOf(...run(input)))(x);
    for (const [b, n] of lengths.entries()) {
      const alone = x.slice([0, b, 0], [n, b + 1, INPUTS]);
      const [y, s] = layer.forward(alone);
      await same(output.slice([0, b, 0], [n, b + 1, output.shape[2]]), y);
      for (const [i, t] of [s].flat().entries())
        await same([state].flat()[i].slice([0, b, 0], [t.shape[0], b + 1, HIDDEN]), t);
      if (n < STEPS)
        expect(
          await output
            .slice([n, b, 0], [STEPS, b + 1, output.shape[2]])
            .abs()
            .max()
            .item(),
        ).toBe(0);
      await same(together.slice([0, b, 0], [n, b + 1, INPUTS]), fl.grad((v: T) => sumOf(...layer.forward(v)))(alone));
    }
  });

  test("gradients, checked in float64, of input, first state and weights", async () => {
    fl.manualSeed(6);
    const layer = make({}) as unknown as Layer;
    const h0 = [1, 2].map((i) => values([1, 2, HIDDEN], i));
    const isPair = layer instanceof nn.LSTM;
    const f = (input: T, h: T, c: T): T => {
      const [y, s] = layer.forward(input, isPair ? [h, c] : h);
      return [s].flat().reduce((a, t) => a.add(t.square().sum()), y.sum().add(c.sum().mul(0)));
    };
    const args: [T, T, T] = [values([3, 2, INPUTS], 8), h0[0], h0[1]];
    if (!(layer instanceof nn.RNN && layer.nonlinearity === "relu")) {
      await fl.gradcheck(f, args);
      await fl.gradgradcheck(f, args);
    }
    const [y] = layer.forward(x);
    y.sin().sum().backward();
    for (const [name, p] of layer.namedParameters()) expect(p.grad, name).not.toBeNull();
  });
});

test("no time, no batch, and lengths beyond either end", async () => {
  const layer = new nn.LSTM(INPUTS, HIDDEN);
  const [none, [h]] = layer.forward(fl.zeros([0, 2, INPUTS]));
  expect([none.shape, await h.sum().item(), h.shape]).toEqual([[0, 2, HIDDEN], 0, [1, 2, HIDDEN]]);
  const [empty, [, c]] = layer.forward(fl.zeros([3, 0, INPUTS]));
  expect([empty.shape, (await c.data()).length]).toEqual([[3, 0, HIDDEN], 0]);
  const lengths = fl.tensor([STEPS + 9, 0, -1], { dtype: "int32" });
  const [y, [last]] = layer.forward(x, null, { lengths });
  await same(y.slice([0, 0, 0], [STEPS, 1, HIDDEN]), layer.forward(x)[0].slice([0, 0, 0], [STEPS, 1, HIDDEN]));
  for (const t of [y, last]) expect(await t.slice([0, 1, 0], [t.shape[0], 3, HIDDEN]).abs().max().item()).toBe(0);
});

test("names and shapes are PyTorch's, the projection's too", async () => {
  const layer = new nn.LSTM(4, 5, { numLayers: 2, bidirectional: true, projSize: 3 });
  const shapes = Object.fromEntries([...layer.namedParameters()].map(([name, p]) => [name, p.shape]));
  expect(shapes).toMatchObject({
    weight_ih_l0: [20, 4],
    weight_hh_l0: [20, 3],
    bias_ih_l0: [20],
    bias_hh_l0: [20],
    weight_hr_l0: [3, 5],
    weight_ih_l1: [20, 6],
    weight_hr_l1_reverse: [3, 5],
  });
  const [y, [h, c]] = layer.forward(x);
  expect([y.shape, h.shape, c.shape]).toEqual([
    [STEPS, BATCH, 6],
    [4, BATCH, 3],
    [4, BATCH, 5],
  ]);
  const [again] = layer.forward(x, [fl.zeros([4, BATCH, 3]), fl.zeros([4, BATCH, 5])]);
  expect(await again.data()).toEqual(await y.data());
});

test("dropout between layers drops in training alone, and not behind the last", async () => {
  fl.manualSeed(7);
  const layer = new nn.GRU(INPUTS, 64, { numLayers: 2, dropout: 0.5 });
  const runs = [await layer.forward(x)[0].data(), await layer.forward(x)[0].data()];
  expect(runs[0]).not.toEqual(runs[1]);
  expect(runs[0].filter((v) => v === 0)).toHaveLength(0);
  layer.eval();
  expect(await layer.forward(x)[0].data()).toEqual(await layer.forward(x)[0].data());
});

describe("mistakes", () => {
  const layer = new nn.LSTM(INPUTS, HIDDEN);
  const zeros = fl.zeros([1, BATCH, HIDDEN]);
  const four = (rows: number): T[] => [[rows, INPUTS], [rows, HIDDEN], [rows], [rows]].map((shape) => fl.ones(shape));
  const bad: [string, () => unknown, RegExp][] = [
    [
      "an input of another width",
      () => layer.forward(fl.ones([2, 3, 7])),
      /weightIh has shape \[20, 4\], but \[20, 7\]/,
    ],
    ["of another rank", () => layer.forward(fl.ones([2])), /\[time, batch, in\], or \[time, in\]/],
    ["a state that is no pair", () => layer.forward(x, zeros as never), /hx must be an array of two tensors/],
    [
      "a state of another shape",
      () => layer.forward(x, [zeros, fl.zeros([2, BATCH, HIDDEN])]),
      /c0 has shape \[2, 3, 5\], \[1, 3, 5\] is wanted/,
    ],
    [
      "lengths of another batch",
      () => layer.forward(x, null, { lengths: fl.tensor([1], { dtype: "int32" }) }),
      /the batch has 3 sequences/,
    ],
    ["lengths that are no integers", () => layer.forward(x, null, { lengths: fl.ones([3]) }), /lengths must be int32/],
    ["a third size", () => new nn.LSTM(4, 5, 2 as never), /options must be an object of numLayers/],
    ["PyTorch's names", () => new nn.LSTM(4, 5, { num_layers: 2 } as never), /did you mean numLayers/],
    ["a projection as large", () => new nn.LSTM(4, 5, { projSize: 5 }), /projSize 5 must be less than hiddenSize 5/],
    ["an unknown nonlinearity", () => new nn.RNN(4, 5, { nonlinearity: "gelu" as never }), /must be "tanh" or "relu"/],
    ["a dropout of 2", () => new nn.GRU(4, 5, { dropout: 2 }), /dropout must be from 0 to 1/],
    [
      "a flag that is a number",
      () => new nn.GRU(4, 5, { bidirectional: 1 as never }),
      /bidirectional must be true or false/,
    ],
    ["no layers", () => nn.functional.lstm(x, null, [], { numLayers: 0 }), /^lstm: numLayers must be an integer >= 1/],
    [
      "half a layer",
      () => nn.functional.gru(x, null, [], { numLayers: 1.5 }),
      /^gru: numLayers must be an integer >= 1/,
    ],
    [
      "a projection below 0",
      () => nn.functional.lstm(x, null, four(20), { projSize: -1 }),
      /projSize must be an integer >= 0/,
    ],
    [
      "a dropout above 1",
      () => nn.functional.lstm(x, null, four(20), { dropout: 2 }),
      /^lstm: dropout must be from 0 to 1/,
    ],
    [
      "weights that are none",
      () => nn.functional.lstm(x, null, [1, 2, 3, 4] as never),
      /weights\[0\] must be a tensor/,
    ],
    ["rows that are no gates", () => nn.functional.lstm(x, null, four(21)), /\[21, 4\], \[4 \* hidden, in\] is wanted/],
    [
      "a weight without axes",
      () => nn.functional.rnnTanh(x, null, [fl.ones([]), ...four(5).slice(1)]),
      /weightIh has shape \[\], \[hidden, in\] is wanted/,
    ],
    ["a batchFirst of 1", () => new nn.LSTM(4, 5, { batchFirst: 1 as never }), /batchFirst must be true or false/],
    ["too few weights", () => nn.functional.gru(x, null, [fl.ones([15, 4])]), /have 4 weights, got 1/],
    [
      "a cell's state of another shape",
      () => new nn.GRUCell(4, 5).forward(fl.ones([3, 4]), fl.ones([2, 5])),
      /must be \[batch, in\] and \[batch, hidden\]/,
    ],
  ];
  test.each(bad)("%s", (_, f, message) => expect(f).toThrow(message));
});
