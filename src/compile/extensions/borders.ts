/** @file Axes made longer by elements they have, and shorter again. */
import { extend, EXTENSION, REACH } from "../../ops/extend.ts";
import { borders } from "../borders.ts";
import { extended } from "../extension.ts";
import { retract } from "../lower/rules/convolution.ts";
import { rule } from "../lower/table.ts";

export const bordered = /* @__PURE__ */ extended({ extend, REACH }, () => ({
  // Who reads an extend knows where its elements lie.
  lower: [rule(EXTENSION.extend, () => {}), rule(EXTENSION.retract, retract)],
  pass: borders,
}));
