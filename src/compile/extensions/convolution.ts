/** @file Convolutions. */
import { convolution, convolutionInput, CONVOLUTIONS } from "../../ops/convolution.ts";
import { extended } from "../extension.ts";
import * as rules from "../lower/rules/convolution.ts";
import { rule } from "../lower/table.ts";
import { ownPadding, partOfImage } from "../padding.ts";
import { rule as simplification } from "../simplify.ts";

export const convolutions = /* @__PURE__ */ extended({ convolution, convolutionInput }, () => ({
  lower: [
    rule(CONVOLUTIONS.convolution, rules.convolution),
    rule(CONVOLUTIONS.convolutionInput, rules.convolution),
    rule(CONVOLUTIONS.convolutionKernel, rules.convolutionKernel),
  ],
  simplify: [
    simplification(CONVOLUTIONS.convolution, ownPadding),
    simplification(CONVOLUTIONS.convolutionKernel, ownPadding),
  ],
  slices: [simplification(CONVOLUTIONS.convolutionInput, partOfImage)],
}));
