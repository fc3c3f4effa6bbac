/** @file Recurrence: cells, and layers of them over the steps of a sequence, with PyTorch's weight layout and order. */
import { DTypeError, ShapeError, ValueError } from "../../core/errors.ts";
import { checkOptions, type Names } from "../../core/options.ts";
import { show } from "../../core/shape.ts";
import { scan } from "../../func/scan.ts";
import { chunk } from "../../tensor/composites/pieces.ts";
import { arange, zeros } from "../../tensor/creation.ts";
import { cat, stack, where } from "../../tensor/functions.ts";
import type { RandomOptions } from "../../tensor/random.ts";
import { checkTensors, Tensor } from "../../tensor/tensor.ts";
import { dropout as drop } from "./dropout.ts";
import { linear } from "./linear.ts";

/** What a cell makes of x W_ih^T (+ its bias), [..., gates * hidden], of h W_hh^T (+ its bias) and the state. */
interface Cell {
  readonly gates: number;
  /** How many tensors the state has. */
  readonly states: number;
  /** Whether both biases may be added to what comes from x. */
  readonly oneBias: boolean;
  next(x: Tensor, h: Tensor, state: readonly Tensor[]): Tensor[];
}

const rnnCell = (activation: (x: Tensor) => Tensor): Cell => ({
  gates: 1,
  states: 1,
  oneBias: true,
  next: (x, h) => [activation(x.add(h))],
});

/** torch.nn.LSTM: gates in the order input, forget, cell, output. */
const LSTM: Cell = {
  gates: 4,
  states: 2,
  oneBias: true,
  next: (x, h, [, c]) => {
    const [i, f, g, o] = chunk(x.add(h), 4, -1);
    const next = f.sigmoid().mul(c).add(i.sigmoid().mul(g.tanh()));
    return [o.sigmoid().mul(next.tanh()), next];
  },
};

/** torch.nn.GRU: gates in the order reset, update, new. */
const GRU: Cell = {
  gates: 3,
  states: 1,
  oneBias: false,
  next: (x, h, [before]) => {
    const [xr, xz, xn] = chunk(x, 3, -1);
    const [hr, hz, hn] = chunk(h, 3, -1);
    const reset = xr.add(hr).sigmoid();
    const update = xz.add(hz).sigmoid();
    const fresh = xn.add(reset.mul(hn)).tanh();
    return [fresh.add(update.mul(before.sub(fresh)))];
  },
};

const CELLS = { rnnTanh: rnnCell((x) => x.tanh()), rnnRelu: rnnCell((x) => x.relu()), lstm: LSTM, gru: GRU } as const;

/** Weights of a cell: [gates * hidden, in], [gates * hidden, hidden or projected]; biases [gates * hidden]; maybe a projection. */
interface Weights {
  readonly ih: Tensor;
  readonly hh: Tensor;
  readonly biasIh?: Tensor | null;
  readonly biasHh?: Tensor | null;
  readonly hr?: Tensor;
}

function checkWeights(op: string, { gates }: Cell, w: Weights, inputs: number, hidden: number, out: number): void {
  const rows = gates * hidden;
  const check = (name: string, t: Tensor | null | undefined, want: readonly number[]): void => {
    if (!t) return;
    checkTensors(op, { [name]: t });
    if (show(t.shape) !== show(want))
      throw new ShapeError(`${op}: ${name} has shape ${show(t.shape)}, but ${show(want)} fits the input and the state`);
  };
  check("weightIh", w.ih, [rows, inputs]);
  check("weightHh", w.hh, [rows, out]);
  check("biasIh", w.biasIh, [rows]);
  check("biasHh", w.biasHh, [rows]);
  check("weightHr", w.hr, [out, hidden]);
}

/** One step of a cell: x [batch, in] or [in], state [batch, hidden] or [hidden]. */
function step(op: string, cell: Cell, x: Tensor, state: readonly Tensor[], w: Weights): Tensor[] {
  checkTensors(op, { input: x, ...Object.fromEntries(state.map((s, i) => [i === 0 ? "hx" : "cx", s])) });
  const hidden = state[0].shape[state[0].ndim - 1];
  if (x.ndim < 1 || x.ndim > 2 || state.some((s) => show(s.shape) !== show([...x.shape.slice(0, -1), hidden])))
    throw new ShapeError(
      `${op}: input ${show(x.shape)} and state ${state.map((s) => show(s.shape)).join(" ")} must be [batch, in] and ` +
        "[batch, hidden], or [in] and [hidden]",
    );
  checkWeights(op, cell, w, x.shape[x.ndim - 1], hidden, hidden);
  return cell.next(linear(x, w.ih, w.biasIh), linear(state[0], w.hh, w.biasHh), state);
}

function checkState(op: string, hx: unknown, count: number): Tensor[] {
  const list = count === 1 ? [hx] : hx;
  if (!Array.isArray(list) || list.length !== count || !list.every((t) => t instanceof Tensor))
    throw new ValueError(`${op}: hx must be ${count === 1 ? "a tensor" : "an array of two tensors, [h, c]"}`);
  return list;
}

/**
 * The next state of a recurrent cell, tanh(x W_ih^T + b_ih + h W_hh^T + b_hh): input [batch, in] or [in], hx [batch, hidden] or
 * [hidden], weightIh [hidden, in], weightHh [hidden, hidden], biases [hidden].
 * @throws ShapeError if shapes do not fit.
 */
export function rnnTanhCell(
  input: Tensor,
  hx: Tensor,
  weightIh: Tensor,
  weightHh: Tensor,
  biasIh?: Tensor | null,
  biasHh?: Tensor | null,
): Tensor {
  const weights = { ih: weightIh, hh: weightHh, biasIh, biasHh };
  return step("rnnTanhCell", CELLS.rnnTanh, input, checkState("rnnTanhCell", hx, 1), weights)[0];
}

/** The same with relu; see rnnTanhCell. */
export function rnnReluCell(
  input: Tensor,
  hx: Tensor,
  weightIh: Tensor,
  weightHh: Tensor,
  biasIh?: Tensor | null,
  biasHh?: Tensor | null,
): Tensor {
  const weights = { ih: weightIh, hh: weightHh, biasIh, biasHh };
  return step("rnnReluCell", CELLS.rnnRelu, input, checkState("rnnReluCell", hx, 1), weights)[0];
}

/**
 * The next state [h, c] of an LSTM cell (Hochreiter and Schmidhuber 1997): hx is [h, c], weights have 4 * hidden rows, for the
 * gates input, forget, cell and output; else as rnnTanhCell.
 */
export function lstmCell(
  input: Tensor,
  hx: readonly [Tensor, Tensor],
  weightIh: Tensor,
  weightHh: Tensor,
  biasIh?: Tensor | null,
  biasHh?: Tensor | null,
): [Tensor, Tensor] {
  const weights = { ih: weightIh, hh: weightHh, biasIh, biasHh };
  return step("lstmCell", LSTM, input, checkState("lstmCell", hx, 2), weights) as [Tensor, Tensor];
}

/** The next state of a GRU cell (Cho et al. 2014): weights have 3 * hidden rows, for reset, update and new; as rnnTanhCell. */
export function gruCell(
  input: Tensor,
  hx: Tensor,
  weightIh: Tensor,
  weightHh: Tensor,
  biasIh?: Tensor | null,
  biasHh?: Tensor | null,
): Tensor {
  const weights = { ih: weightIh, hh: weightHh, biasIh, biasHh };
  return step("gruCell", GRU, input, checkState("gruCell", hx, 1), weights)[0];
}

export interface RecurrentOptions extends RandomOptions {
  /** Layers, each over the one below (default 1). */
  numLayers?: number;
  /** Whether there are biases among the weights (default true). */
  bias?: boolean;
  /** Whether the batch is the first axis of input and output, and time the second (default false). */
  batchFirst?: boolean;
  /** Probability of dropout between layers, in training (default 0). */
  dropout?: number;
  /** Both ways: each layer has a second set of weights, and its output is twice as wide (default false). */
  bidirectional?: boolean;
  /** Of an LSTM: the size that h is projected to, 0 for none (default). */
  projSize?: number;
  /** Whether dropout drops (default true). */
  training?: boolean;
  /**
   * int32 [batch]: how many steps of each sequence count (default all; more than there are: all, less than 0: none). Behind them
   * the state stays as it is and the output is 0, as for PyTorch's packed sequences.
   */
  lengths?: Tensor | null;
}

const RECURRENT_NAMES: Names<RecurrentOptions> = {
  numLayers: true,
  bias: true,
  batchFirst: true,
  dropout: true,
  bidirectional: true,
  projSize: true,
  training: true,
  lengths: true,
  generator: true,
};

/** One layer in one direction over [time, batch, in]: output [time, batch, out], last state. */
function layer(
  cell: Cell,
  x: Tensor,
  init: readonly Tensor[],
  w: Weights,
  reverse: boolean,
  counts: Tensor | null,
): [Tensor, Tensor[]] {
  // One product for all times; what can be added for all times is.
  const bias = cell.oneBias && w.biasIh && w.biasHh ? w.biasIh.add(w.biasHh) : w.biasIh;
  const fromX = linear(x, w.ih, bias);
  const hh = w.hh.t();
  const times = counts ? arange(x.shape[0]).reshape(-1, 1, 1) : null;
  const [last, out] = scan(
    (state: readonly Tensor[], part: { x: Tensor; t: Tensor | null }): [readonly Tensor[], Tensor] => {
      const fromH = state[0].matmul(hh);
      let next = cell.next(part.x, cell.oneBias || !w.biasHh ? fromH : fromH.add(w.biasHh), state);
      if (w.hr) next = [next[0].matmul(w.hr.t()), ...next.slice(1)];
      if (!counts || !part.t) return [next, next[0]];
      const isThere = counts.gt(part.t);
      const kept = next.map((s, i) => where(isThere, s, state[i]));
      return [kept, where(isThere, kept[0], 0)];
    },
    init,
    { x: fromX, t: times },
    { reverse },
  );
  return [out, [...last]];
}

/** Layers of cells: output, and for each tensor of the state the last ones, [layers * directions, batch, size]. */
function recurrent(
  op: string,
  cell: Cell,
  input: Tensor,
  hx: unknown,
  weights: readonly Tensor[],
  options: RecurrentOptions,
): [Tensor, Tensor[]] {
  const { numLayers = 1, bias = true, batchFirst = false, dropout = 0, bidirectional = false } = options;
  const { projSize = 0, training = true, lengths, generator } = options;
  checkTensors(op, { input });
  for (const [name, flag] of Object.entries({ bias, batchFirst, bidirectional, training }))
    if (typeof flag !== "boolean") throw new ValueError(`${op}: ${name} must be true or false, got ${String(flag)}`);
  for (const [name, n, least] of [
    ["numLayers", numLayers, 1],
    ["projSize", projSize, 0],
  ] as const)
    if (!Number.isInteger(n) || n < least)
      throw new ValueError(`${op}: ${name} must be an integer >= ${least}, got ${String(n)}`);
  if (typeof dropout !== "number" || !(dropout >= 0 && dropout <= 1))
    throw new ValueError(`${op}: dropout must be from 0 to 1, got ${String(dropout)}`);
  const directions = bidirectional ? 2 : 1;
  const each = 2 + (bias ? 2 : 0) + (projSize > 0 ? 1 : 0);
  if (!Array.isArray(weights) || weights.length !== each * numLayers * directions)
    throw new ValueError(
      `${op}: ${numLayers} layers in ${directions === 2 ? "two directions" : "one direction"} have ` +
        `${each * numLayers * directions} weights, got ${String(weights?.length)}`,
    );
  checkTensors(op, Object.fromEntries(weights.map((w, i) => [`weights[${i}]`, w])));
  if (weights[0].ndim !== 2 || weights[0].shape[0] % cell.gates !== 0)
    throw new ShapeError(
      `${op}: weightIh has shape ${show(weights[0].shape)}, [${cell.gates === 1 ? "" : `${cell.gates} * `}hidden, in] is wanted`,
    );
  if (input.ndim !== 2 && input.ndim !== 3)
    throw new ShapeError(
      `${op}: input ${show(input.shape)} must be ${batchFirst ? "[batch, time, in]" : "[time, batch, in]"}, or [time, in]`,
    );
  // [time, batch, in] from here on.
  const single = input.ndim === 2;
  let x = single ? input.unsqueeze(1) : batchFirst ? input.transpose(0, 1) : input;
  const [, batch, inputs] = x.shape;
  const hidden = weights[0].shape[0] / cell.gates;
  const out = projSize > 0 ? projSize : hidden;
  const sizes = [out, hidden].slice(0, cell.states);
  const given = hx === undefined || hx === null ? undefined : checkState(op, hx, cell.states);
  const state = sizes.map((size, k) => {
    const want = [numLayers * directions, ...(single ? [] : [batch]), size];
    if (!given) return zeros([numLayers * directions, batch, size]);
    checkTensors(op, { [k === 0 ? "h0" : "c0"]: given[k] });
    if (show(given[k].shape) !== show(want))
      throw new ShapeError(
        `${op}: ${k === 0 ? "h0" : "c0"} has shape ${show(given[k].shape)}, ${show(want)} is wanted`,
      );
    return single ? given[k].unsqueeze(1) : given[k];
  });
  let counts: Tensor | null = null;
  if (lengths !== undefined && lengths !== null) {
    checkTensors(op, { lengths });
    if (lengths.dtype !== "int32") throw new DTypeError(`${op}: lengths must be int32, got ${lengths.dtype}`);
    if (lengths.ndim !== 1 || lengths.shape[0] !== batch)
      throw new ShapeError(`${op}: lengths have shape ${show(lengths.shape)}, the batch has ${batch} sequences`);
    counts = lengths.reshape(batch, 1);
  }
  const lasts: Tensor[][] = sizes.map(() => []);
  for (let l = 0; l < numLayers; l++) {
    if (l > 0 && dropout > 0) x = drop(x, dropout, training, { generator });
    const outs: Tensor[] = [];
    for (let d = 0; d < directions; d++) {
      const k = l * directions + d;
      const list = weights.slice(k * each, (k + 1) * each);
      const [ih, hh] = list;
      const [biasIh, biasHh] = bias ? list.slice(2) : [];
      const w: Weights = { ih, hh, biasIh, biasHh, hr: projSize > 0 ? list[each - 1] : undefined };
      checkWeights(op, cell, w, l === 0 ? inputs : directions * out, hidden, out);
      const init = state.map((s) => s.select(0, k));
      const [y, last] = layer(cell, x, init, w, d === 1, counts);
      outs.push(y);
      last.forEach((s, i) => lasts[i].push(s));
    }
    x = outs.length > 1 ? cat(outs, 2) : outs[0];
  }
  const output = single ? x.squeeze(1) : batchFirst ? x.transpose(0, 1) : x;
  return [output, lasts.map((list) => (single ? stack(list).squeeze(1) : stack(list)))];
}

type Weighted = readonly Tensor[];

function rnn(op: "rnnTanh" | "rnnRelu" | "gru") {
  return (input: Tensor, hx: Tensor | null, weights: Weighted, options: RecurrentOptions = {}): [Tensor, Tensor] => {
    const given = checkOptions(op, options, RECURRENT_NAMES);
    if (given.projSize) throw new ValueError(`${op}: only an LSTM projects h, projSize must be 0`);
    const [output, [h]] = recurrent(op, CELLS[op], input, hx, weights, given);
    return [output, h];
  };
}

/**
 * Recurrent layers with tanh over a sequence: input [time, batch, in], [batch, time, in] with `batchFirst`, or [time, in]; hx, the
 * first state [layers * directions, batch, hidden], zeros if null. `weights`: for each layer and direction weightIh, weightHh and,
 * unless bias is false, biasIh and biasHh. Gives the output [time, batch, directions * hidden] and the last state, like hx. Time
 * steps are a loop of the program (see scan): products with the input are one for all times, and a batch needs no barrier.
 * @throws ShapeError for shapes that do not fit; ValueError for weights that are too few or too many.
 */
export const rnnTanh = /* @__PURE__ */ rnn("rnnTanh");
/** The same with relu; see rnnTanh. */
export const rnnRelu = /* @__PURE__ */ rnn("rnnRelu");
/** Layers of gated recurrent units (Cho et al. 2014): weights have 3 * hidden rows; see rnnTanh and gruCell. */
export const gru = /* @__PURE__ */ rnn("gru");

/**
 * Layers of long short-term memory (Hochreiter and Schmidhuber 1997): hx is [h0, c0] or null, weights have 4 * hidden rows, with
 * `projSize` each layer's end with weightHr [projSize, hidden]; gives the output and [h, c]. See rnnTanh and lstmCell.
 */
export function lstm(
  input: Tensor,
  hx: readonly [Tensor, Tensor] | null,
  weights: Weighted,
  options: RecurrentOptions = {},
): [Tensor, [Tensor, Tensor]] {
  const given = checkOptions("lstm", options, RECURRENT_NAMES);
  const [output, state] = recurrent("lstm", LSTM, input, hx, weights, given);
  return [output, state as [Tensor, Tensor]];
}
