/** @file Layers, in order of increasing complexity. */
import { ValueError } from "../core/errors.ts";
import { type RandomOptions, uniform } from "../random.ts";
import { Parameter, type Tensor } from "../tensor.ts";
import * as F from "./functional.ts";
import { Module } from "./module.ts";

/** max(x, 0). */
export class ReLU extends Module {
  forward(x: Tensor): Tensor {
    return x.relu();
  }
}

/** Hyperbolic tangent. */
export class Tanh extends Module {
  forward(x: Tensor): Tensor {
    return x.tanh();
  }
}

/** 1 / (1 + e^-x). */
export class Sigmoid extends Module {
  forward(x: Tensor): Tensor {
    return x.sigmoid();
  }
}

/** x Phi(x). */
export class GELU extends Module {
  forward(x: Tensor): Tensor {
    return x.gelu();
  }
}

/** Axes startDim to endDim (default: all but the first) merged into one. */
export class Flatten extends Module {
  readonly startDim: number;
  readonly endDim: number;

  constructor(startDim = 1, endDim = -1) {
    super();
    this.startDim = startDim;
    this.endDim = endDim;
  }

  forward(x: Tensor): Tensor {
    return x.flatten(this.startDim, this.endDim);
  }
}

/** Zeroes elements with probability p while training. */
export class Dropout extends Module {
  readonly p: number;

  constructor(p = 0.5) {
    super();
    if (!(p >= 0 && p <= 1)) throw new ValueError(`Dropout: p must be from 0 to 1, got ${p}`);
    this.p = p;
  }

  forward(x: Tensor): Tensor {
    return F.dropout(x, this.p, this.training);
  }
}

/**
 * x W^T + b. The weight has shape [outFeatures, inFeatures]; both start uniform in +-1/sqrt(inFeatures), PyTorch's default.
 */
export class Linear extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;

  constructor(inFeatures: number, outFeatures: number, options: { bias?: boolean } & RandomOptions = {}) {
    super();
    for (const [name, n] of Object.entries({ inFeatures, outFeatures }))
      if (!Number.isInteger(n) || n < 0) throw new ValueError(`Linear: ${name} must be an integer >= 0, got ${n}`);
    const bound = inFeatures > 0 ? 1 / Math.sqrt(inFeatures) : 0;
    this.weight = new Parameter(uniform([outFeatures, inFeatures], -bound, bound, options));
    this.bias = options.bias === false ? null : new Parameter(uniform([outFeatures], -bound, bound, options));
  }

  forward(x: Tensor): Tensor {
    return F.linear(x, this.weight, this.bias);
  }
}

/** Modules one after the other; parameters are named "0.weight", "0.bias", "2.weight", ... */
export class Sequential extends Module {
  [index: number]: Module;
  readonly length: number;

  constructor(...layers: Module[]) {
    super();
    layers.forEach((layer, i) => {
      if (!(layer instanceof Module)) throw new ValueError(`Sequential: layer ${i} is no Module: ${String(layer)}`);
      this[i] = layer;
    });
    this.length = layers.length;
  }

  forward(x: Tensor): Tensor {
    let y = x;
    for (let i = 0; i < this.length; i++) y = this[i].forward(y);
    return y;
  }
}
