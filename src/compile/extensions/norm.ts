/** @file Norms. */
import { moments, NORM, standardize } from "../../ops/norm.ts";
import { extended } from "../extension.ts";
import * as rules from "../lower/rules/norm.ts";
import { rule } from "../lower/table.ts";

export const norms = /* @__PURE__ */ extended({ moments, standardize }, () => ({
  lower: [
    rule(NORM.standardize, rules.standardize),
    rule(NORM.standardizeInput, rules.standardizeInput),
    rule(NORM.standardizeParameters, rules.standardizeParameters),
    rule(NORM.moments, rules.moments),
  ],
}));
