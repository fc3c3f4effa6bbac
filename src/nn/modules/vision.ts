/** @file Images in other resolutions. */
import { checkOptions } from "../../core/options.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as F from "../functional/index.ts";
import { INTERPOLATE_NAMES } from "../functional/vision.ts";
import { Module } from "./module.ts";

/** Resizes along the spatial axes. */
export class Upsample extends Module {
  constructor(readonly options: F.InterpolateOptions) {
    super();
    checkOptions("Upsample", options, INTERPOLATE_NAMES);
  }

  forward(x: Tensor): Tensor {
    return F.interpolate(x, this.options);
  }
}
