// Norms, and what they send back.
export { norm as Norm } from "../norm";
export { normGrad as NormGrad, normParameters as NormParameters } from "../normgrad";
