/** @file Images in other resolutions. */
import type { Tensor } from "../../tensor.ts";
import * as F from "../functional/index.ts";
import { Module } from "./module.ts";

/** Resizes along the spatial axes. */
export class Upsample extends Module {
  constructor(readonly options: F.InterpolateOptions) {
    super();
  }

  forward(x: Tensor): Tensor {
    return F.interpolate(x, this.options);
  }
}
