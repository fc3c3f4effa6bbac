/** @file Recurrent layers and cells. */
import { ValueError } from "../../core/errors.ts";
import { checkOptions, type Names } from "../../core/options.ts";
import { zeros } from "../../tensor/creation.ts";
import { Parameter } from "../../tensor/parameter.ts";
import { type RandomOptions, uniform } from "../../tensor/random.ts";
import { Tensor } from "../../tensor/tensor.ts";
import * as F from "../functional/index.ts";
import { checkCounts } from "./counts.ts";
import { Module } from "./module.ts";

export interface RecurrentLayerOptions extends RandomOptions {
  numLayers?: number;
  bias?: boolean;
  batchFirst?: boolean;
  dropout?: number;
  bidirectional?: boolean;
}

export interface RNNOptions extends RecurrentLayerOptions {
  nonlinearity?: "tanh" | "relu";
}

export interface LSTMOptions extends RecurrentLayerOptions {
  projSize?: number;
}

/** Of a call: how many steps of each sequence count, int32 [batch]; see nn.functional.rnnTanh. */
export interface SequenceOptions {
  lengths?: Tensor | null;
}

const LAYER: Names<RecurrentLayerOptions> = {
  numLayers: true,
  bias: true,
  batchFirst: true,
  dropout: true,
  bidirectional: true,
  generator: true,
};

type State = Tensor | [Tensor, Tensor];

/** What F.rnnTanh, F.rnnRelu, F.gru and F.lstm have in common. */
type Recurrence<S extends State> = (
  input: Tensor,
  hx: S | null,
  weights: readonly Tensor[],
  options: F.RecurrentOptions,
) => [Tensor, S];

/** Weights uniform in +-1/sqrt(hidden size), named weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, ..._reverse, as in PyTorch. */
abstract class Recurrent<S extends State> extends Module<
  [Tensor, S],
  [input: Tensor, hx?: S | null, options?: SequenceOptions]
> {
  readonly inputSize: number;
  readonly hiddenSize: number;
  private readonly layer: string;
  private readonly options: F.RecurrentOptions;
  private readonly names: readonly string[];

  constructor(
    layer: string,
    gates: number,
    sizes: { inputSize: number; hiddenSize: number },
    options: RecurrentLayerOptions & { projSize?: number },
  ) {
    super();
    const { generator, ...others } = options;
    const { numLayers = 1, bias = true, bidirectional = false, dropout = 0, projSize = 0 } = others;
    const { batchFirst = false } = others;
    const { inputSize, hiddenSize } = sizes;
    checkCounts(layer, { ...sizes, numLayers });
    checkCounts(layer, { projSize }, 0);
    if (projSize >= hiddenSize)
      throw new ValueError(`${layer}: projSize ${projSize} must be less than hiddenSize ${hiddenSize}`);
    if (typeof dropout !== "number" || !(dropout >= 0 && dropout <= 1))
      throw new ValueError(`${layer}: dropout must be from 0 to 1, got ${String(dropout)}`);
    for (const [name, flag] of Object.entries({ bias, bidirectional, batchFirst }))
      if (typeof flag !== "boolean")
        throw new ValueError(`${layer}: ${name} must be true or false, got ${String(flag)}`);
    this.layer = layer;
    this.inputSize = inputSize;
    this.hiddenSize = hiddenSize;
    this.options = others;
    const bound = 1 / Math.sqrt(hiddenSize);
    const rows = gates * hiddenSize;
    const out = projSize > 0 ? projSize : hiddenSize;
    const names: string[] = [];
    for (let l = 0; l < numLayers; l++)
      for (const way of bidirectional ? ["", "_reverse"] : [""]) {
        const inputs = l === 0 ? inputSize : out * (bidirectional ? 2 : 1);
        const shapes: Record<string, number[]> = { weight_ih: [rows, inputs], weight_hh: [rows, out] };
        if (bias) Object.assign(shapes, { bias_ih: [rows], bias_hh: [rows] });
        if (projSize > 0) shapes.weight_hr = [out, hiddenSize];
        for (const [name, shape] of Object.entries(shapes)) {
          const own = `${name}_l${l}${way}`;
          names.push(own);
          Object.assign(this, { [own]: new Parameter(uniform(shape, -bound, bound, { generator })) });
        }
      }
    this.names = names;
  }

  /** The function of its kind. */
  protected abstract get run(): Recurrence<S>;

  forward(input: Tensor, hx: S | null = null, options: SequenceOptions = {}): [Tensor, S] {
    const { lengths } = checkOptions(`${this.layer}.forward`, options, { lengths: true });
    const all = this as unknown as Readonly<Record<string, Tensor>>;
    const weights = this.names.map((name) => all[name]);
    return this.run(input, hx, weights, { ...this.options, training: this.training, lengths });
  }
}

/**
 * Layers of tanh(x W_ih^T + b_ih + h W_hh^T + b_hh), or relu. forward(input, h0) gives [output, h]; see nn.functional.rnnTanh.
 */
export class RNN extends Recurrent<Tensor> {
  readonly nonlinearity: "tanh" | "relu";

  constructor(inputSize: number, hiddenSize: number, options: RNNOptions = {}) {
    const { nonlinearity = "tanh", ...others } = checkOptions("RNN", options, { ...LAYER, nonlinearity: true });
    super("RNN", 1, { inputSize, hiddenSize }, others);
    this.nonlinearity = checkNonlinearity("RNN", nonlinearity);
  }

  protected get run(): Recurrence<Tensor> {
    return this.nonlinearity === "tanh" ? F.rnnTanh : F.rnnRelu;
  }
}

/** Layers of gated recurrent units: forward(input, h0) gives [output, h]; see nn.functional.gru. */
export class GRU extends Recurrent<Tensor> {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentLayerOptions = {}) {
    super("GRU", 3, { inputSize, hiddenSize }, checkOptions("GRU", options, LAYER));
  }

  protected get run(): Recurrence<Tensor> {
    return F.gru;
  }
}

/** Layers of long short-term memory: forward(input, [h0, c0]) gives [output, [h, c]]; see nn.functional.lstm. */
export class LSTM extends Recurrent<[Tensor, Tensor]> {
  constructor(inputSize: number, hiddenSize: number, options: LSTMOptions = {}) {
    super("LSTM", 4, { inputSize, hiddenSize }, checkOptions("LSTM", options, { ...LAYER, projSize: true }));
  }

  protected get run(): Recurrence<[Tensor, Tensor]> {
    return F.lstm;
  }
}

function checkNonlinearity(layer: string, given: "tanh" | "relu"): "tanh" | "relu" {
  if (given !== "tanh" && given !== "relu")
    throw new ValueError(`${layer}: nonlinearity must be "tanh" or "relu", got ${String(given)}`);
  return given;
}

export interface CellOptions extends RandomOptions {
  bias?: boolean;
}

const CELL: Names<CellOptions> = { bias: true, generator: true };

/** Weights of one step, uniform in +-1/sqrt(hiddenSize). */
abstract class RecurrentCell<S extends State> extends Module<S, [input: Tensor, hx?: S | null]> {
  readonly inputSize: number;
  readonly hiddenSize: number;
  readonly weight_ih: Parameter;
  readonly weight_hh: Parameter;
  readonly bias_ih: Parameter | null;
  readonly bias_hh: Parameter | null;

  constructor(layer: string, gates: number, inputSize: number, hiddenSize: number, options: CellOptions) {
    super();
    checkCounts(layer, { inputSize, hiddenSize });
    const { bias = true, generator } = options;
    const bound = 1 / Math.sqrt(hiddenSize);
    const make = (...shape: number[]): Parameter => new Parameter(uniform(shape, -bound, bound, { generator }));
    this.inputSize = inputSize;
    this.hiddenSize = hiddenSize;
    this.weight_ih = make(gates * hiddenSize, inputSize);
    this.weight_hh = make(gates * hiddenSize, hiddenSize);
    this.bias_ih = bias ? make(gates * hiddenSize) : null;
    this.bias_hh = bias ? make(gates * hiddenSize) : null;
  }

  /** Zeros, for a state that is not given. */
  protected start(input: Tensor): Tensor {
    return zeros([...input.shape.slice(0, -1), this.hiddenSize]);
  }

  protected get weights(): readonly [Tensor, Tensor, Tensor | null, Tensor | null] {
    return [this.weight_ih, this.weight_hh, this.bias_ih, this.bias_hh];
  }
}

/** One step of an RNN: forward(input, h) gives the next h; zeros if h is not given. */
export class RNNCell extends RecurrentCell<Tensor> {
  readonly nonlinearity: "tanh" | "relu";

  constructor(inputSize: number, hiddenSize: number, options: CellOptions & { nonlinearity?: "tanh" | "relu" } = {}) {
    const { nonlinearity = "tanh", ...others } = checkOptions("RNNCell", options, { ...CELL, nonlinearity: true });
    super("RNNCell", 1, inputSize, hiddenSize, others);
    this.nonlinearity = checkNonlinearity("RNNCell", nonlinearity);
  }

  forward(input: Tensor, hx: Tensor | null = null): Tensor {
    const cell = this.nonlinearity === "tanh" ? F.rnnTanhCell : F.rnnReluCell;
    return cell(input, hx ?? this.start(input), ...this.weights);
  }
}

/** One step of a GRU: forward(input, h) gives the next h; zeros if h is not given. */
export class GRUCell extends RecurrentCell<Tensor> {
  constructor(inputSize: number, hiddenSize: number, options: CellOptions = {}) {
    super("GRUCell", 3, inputSize, hiddenSize, checkOptions("GRUCell", options, CELL));
  }

  forward(input: Tensor, hx: Tensor | null = null): Tensor {
    return F.gruCell(input, hx ?? this.start(input), ...this.weights);
  }
}

/** One step of an LSTM: forward(input, [h, c]) gives the next [h, c]; zeros if they are not given. */
export class LSTMCell extends RecurrentCell<[Tensor, Tensor]> {
  constructor(inputSize: number, hiddenSize: number, options: CellOptions = {}) {
    super("LSTMCell", 4, inputSize, hiddenSize, checkOptions("LSTMCell", options, CELL));
  }

  forward(input: Tensor, hx: [Tensor, Tensor] | null = null): [Tensor, Tensor] {
    return F.lstmCell(input, hx ?? [this.start(input), this.start(input)], ...this.weights);
  }
}
