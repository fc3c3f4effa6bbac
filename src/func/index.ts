/** @file Function transforms, with torch.func's names. */
export { checkpoint } from "./checkpoint.ts";
export { defineOp, type OpContext, type OpDefinition } from "./define.ts";
export { explain, type ExplainedGate, Explanation } from "./explain.ts";
export { assertFinite, detectAnomaly } from "./finite.ts";
export { gradcheck, type GradcheckOptions, gradgradcheck } from "./gradcheck.ts";
export { Gate, Graph } from "./graph.ts";
export { hessian, jacfwd, type Jacobian, jacobian, jacrev } from "./jacobian.ts";
export { JacobianOperator, jacobianOperator, type Structure } from "./operator.ts";
export { scan, type ScanOptions } from "./scan.ts";
export {
  grad,
  type Gradient,
  type Gradients,
  hvp,
  jvp,
  linearize,
  noGrad,
  stopGradient,
  valueAndGrad,
  vjp,
} from "./transforms.ts";
export { type Axes, vmap, type VmapOptions } from "./vmap.ts";
