/** @file Modules made of modules. */
import { ValueError } from "../../core/errors.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { Module } from "./module.ts";

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
