/** @file Activations. */
import { ValueError } from "../../core/errors.ts";
import { checkOptions } from "../../core/options.ts";
import { where } from "../../tensor/functions.ts";
import { checkTensors, Tensor } from "../../tensor/tensor.ts";

/** x Phi(x); with approximate: "tanh", 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) (arXiv 1606.08415). */
export function gelu(x: Tensor, options: { approximate?: "none" | "tanh" } = {}): Tensor {
  checkTensors("gelu", { x });
  const { approximate = "none" } = checkOptions("gelu", options, { approximate: true });
  if (approximate === "none") return x.gelu();
  if (approximate !== "tanh")
    throw new ValueError(`gelu: approximate must be "none" or "tanh", got ${String(approximate)}`);
  const inner = x.add(x.mul(x).mul(x).mul(0.044715)).mul(Math.sqrt(2 / Math.PI));
  return x.mul(0.5).mul(inner.tanh().add(1));
}

/** max(x, 0). */
export function relu(x: Tensor): Tensor {
  checkTensors("relu", { x });
  return x.relu();
}

/** x sigmoid(x). */
export function silu(x: Tensor): Tensor {
  checkTensors("silu", { x });
  return x.silu();
}

/** 1 / (1 + e^-x). */
export function sigmoid(x: Tensor): Tensor {
  checkTensors("sigmoid", { x });
  return x.sigmoid();
}

/** The hyperbolic tangent. */
export function tanh(x: Tensor): Tensor {
  checkTensors("tanh", { x });
  return x.tanh();
}

/** e^x over its sum along an axis. */
export function softmax(x: Tensor, axis = -1): Tensor {
  checkTensors("softmax", { x });
  return x.softmax(axis);
}

/** Logarithm of softmax, stable. */
export function logSoftmax(x: Tensor, axis = -1): Tensor {
  checkTensors("logSoftmax", { x });
  return x.logSoftmax(axis);
}

/** x where x > 0, else alpha (e^x - 1). */
export function elu(x: Tensor, alpha = 1): Tensor {
  checkTensors("elu", { x });
  const positive = x.gt(0);
  // The branch not taken gets a harmless argument, so that it cannot overflow.
  return where(positive, x, where(positive, 0, x).expm1().mul(alpha));
}

/** elu with the scale and alpha that keep mean and variance (arXiv 1706.02515). */
export function selu(x: Tensor): Tensor {
  checkTensors("selu", { x });
  return elu(x, 1.6732632423543772).mul(1.0507009873554805);
}

/** x where x > 0, else slope x. */
export function leakyRelu(x: Tensor, slope = 0.01): Tensor {
  checkTensors("leakyRelu", { x });
  return where(x.gt(0), x, x.mul(slope));
}

/** x where x > 0, else weight x; one weight, or one for each channel (axis 1). */
export function prelu(x: Tensor, weight: Tensor): Tensor {
  checkTensors("prelu", { x, weight });
  const perChannel = weight.numel() > 1 && x.ndim > 2;
  const w = perChannel ? weight.reshape([weight.numel(), ...new Array<number>(x.ndim - 2).fill(1)]) : weight;
  return where(x.gt(0), x, x.mul(w));
}

/** x limited to [low, high]; the gradient is 0 at and beyond the limits. */
export function hardtanh(x: Tensor, low = -1, high = 1): Tensor {
  checkTensors("hardtanh", { x });
  const raised = where(x.le(low), low, x);
  return where(raised.ge(high), high, raised);
}

/** x limited to [0, 6]; the gradient is 0 at and beyond the limits. */
export function relu6(x: Tensor): Tensor {
  checkTensors("relu6", { x });
  return x.relu6();
}

/** x relu6(x + 3) / 6. */
export function hardswish(x: Tensor): Tensor {
  checkTensors("hardswish", { x });
  // The branch not taken gets a harmless argument, so that it cannot overflow.
  const near = where(x.abs().gt(3), 0, x);
  const inner = near.mul(near.add(3)).div(6);
  return where(x.lt(-3), 0, where(x.gt(3), x, inner));
}

/** x tanh(softplus(x)). */
export function mish(x: Tensor): Tensor {
  checkTensors("mish", { x });
  return x.mul(x.softplus().tanh());
}

/** log(1 + e^(beta x)) / beta; x itself where beta x is above the threshold. */
export function softplus(x: Tensor, beta = 1, threshold = 20): Tensor {
  checkTensors("softplus", { x });
  const scaled = x.mul(beta);
  const linearPart = scaled.gt(threshold);
  return where(linearPart, x, scaled.softplus().div(beta));
}
