/** @file Loops. */
import { isWord, lastOf, Loop, SCANS, stackOf } from "../../ops/scan.ts";
import { extended } from "../extension.ts";
import { scan } from "../lower/rules/scan.ts";
import { rule } from "../lower/table.ts";

export const loops = /* @__PURE__ */ extended({ ...SCANS, isWord, lastOf, Loop, stackOf }, () => ({
  lower: [rule(SCANS.scan, scan)],
}));
