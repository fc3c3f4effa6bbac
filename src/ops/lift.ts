/** @file Attributes of operations for a batch: with an axis more, in front of all others. */
import type { Shape } from "../core/shape.ts";

export const liftAxis = <A extends { readonly axis: number }>(attrs: A): A => ({ ...attrs, axis: attrs.axis + 1 });

export const liftAxes = <A extends { readonly axes: readonly number[] }>(attrs: A): A => ({
  ...attrs,
  axes: attrs.axes.map((a) => a + 1),
});

export const liftShape = <A extends { readonly shape: Shape }>(attrs: A, size: number): A => ({
  ...attrs,
  shape: [size, ...attrs.shape],
});
