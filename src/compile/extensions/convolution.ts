/** @file Convolutions. */
import { convolution, convolutionInput, CONVOLUTIONS } from "../../ops/convolution.ts";
import { extended } from "../extension.ts";
import * as rules from "../lower/rules/convolution.ts";
import { rule } from "../lower/table.ts";

export const convolutions = /* @__PURE__ */ extended({ convolution, convolutionInput }, () => ({
  lower: [
    rule(CONVOLUTIONS.convolution, rules.convolution),
    rule(CONVOLUTIONS.convolutionInput, rules.convolution),
    rule(CONVOLUTIONS.convolutionKernel, rules.convolutionKernel),
  ],
}));
