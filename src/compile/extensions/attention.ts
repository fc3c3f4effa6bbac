/** @file Attention. */
import { attention, attentionWeights, ATTENTIONS } from "../../ops/attention.ts";
import { extended } from "../extension.ts";
import * as rules from "../lower/rules/attention.ts";
import { rule } from "../lower/table.ts";

const GRADIENTS = [ATTENTIONS.attentionQuery, ATTENTIONS.attentionKey, ATTENTIONS.attentionValue];

export const attentions = /* @__PURE__ */ extended({ attention, attentionWeights }, () => ({
  lower: [rule(ATTENTIONS.attention, rules.attention), ...GRADIENTS.map((op) => rule(op, rules.attentionGrad))],
  rows: [ATTENTIONS.attention, ...GRADIENTS],
}));
