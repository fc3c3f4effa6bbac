/** @file A slip in an operation's attributes fails in tsc: what is marked here as an error must be one. */
import { expect, test } from "vitest";
import { isOp, makeNode, type Node } from "../../src/graph/node.ts";
import { apply, SELECT } from "../../src/ops/elementwise.ts";
import { leaf } from "../../src/ops/leaf.ts";
import { LOOKUP } from "../../src/ops/lookup.ts";
import { MOVEMENT } from "../../src/ops/movement.ts";

test("attributes are those of the operation", () => {
  const [x, index] = [leaf([3, 4], "float32"), leaf([3, 4], "int32")];
  const n: Node = makeNode(LOOKUP.gather, [x, index], { axis: 1 });
  // @ts-expect-error: of an operation that is not known it is not known either.
  const axis: number = n.attrs.axis;
  expect(isOp(n, LOOKUP.gather) && n.attrs.axis + 0).toBe(axis);
  const wrong = (): unknown => [
    // @ts-expect-error: none at all.
    makeNode(LOOKUP.gather, [x, index]),
    // @ts-expect-error: another name.
    makeNode(LOOKUP.gather, [x, index], { axes: 1 }),
    // @ts-expect-error: another type.
    makeNode(MOVEMENT.permute, [x], { axes: 1 }),
    // @ts-expect-error: one that is not its own.
    makeNode(MOVEMENT.permute, [x], { axes: [1, 0], keepdim: true }),
    // @ts-expect-error: a conversion says to what.
    apply(SELECT.cast, x),
    // @ts-expect-error: a permutation has axes, but no axis.
    isOp(n, MOVEMENT.permute) && n.attrs.axis,
  ];
  expect(wrong).toBeTypeOf("function"); // for tsc alone
});
