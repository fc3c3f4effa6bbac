/** @file Elementwise nodes as micro-operations. */
import { isFloat } from "../../core/dtype.ts";
import type { Node } from "../../graph/node.ts";
import { CAST } from "../../ops/elementwise.ts";

/** Steps of an elementwise node: micro-operations from its (4-byte) operands to its 4-byte result. */
export function microsOf(n: Node): { name: string; immediates?: number[] }[] {
  const from = n.src[0].dtype;
  if (n.op === CAST) {
    const to = n.dtype;
    if (to === "float32") return [{ name: "ToFloat" }];
    if (to === "bool") return isFloat(from) ? [{ name: "ToBool" }] : [{ name: "NeI", immediates: [0] }];
    const low = to === "uint8" ? [{ name: "AndI", immediates: [255] }] : [];
    if (isFloat(from)) return [{ name: "ToInt" }, ...low];
    return low.length > 0 && from !== "bool" ? low : [{ name: "Copy" }];
  }
  const plain = n.op.name[0].toUpperCase() + n.op.name.slice(1);
  if (n.op.name === "where") return [{ name: plain }];
  // Between instructions a uint8 has 8 bits, inside of one 32.
  const low = n.dtype === "uint8" ? [{ name: "AndI", immediates: [255] }] : [];
  return [{ name: isFloat(from) ? plain : `${plain}I` }, ...low];
}
