/** @file Tables looked up by index. */
import { norm } from "../../tensor/composites/reduction.ts";
import { checkNumber } from "../../core/check.ts";
import { ShapeError, ValueError } from "../../core/errors.ts";
import { checkOptions, type Names } from "../../core/options.ts";
import { show } from "../../core/shape.ts";
import { scaleGradient } from "../../ops/identity.ts";
import { full, zeros } from "../../tensor/creation.ts";
import { where } from "../../tensor/functions.ts";
import { Parameter } from "../../tensor/parameter.ts";
import { checkTensors, Tensor } from "../../tensor/tensor.ts";

export interface EmbeddingOptions {
  /** A row that gets no gradient. */
  paddingIdx?: number | null;
  /** Rows with a larger norm are shortened to it before they are used. */
  maxNorm?: number | null;
  /** Which norm; default 2. */
  normType?: number;
  /** Whether the gradient of a row is divided by how often it was used. */
  scaleGradByFreq?: boolean;
}

export const EMBEDDING_NAMES: Names<EmbeddingOptions> = {
  paddingIdx: true,
  maxNorm: true,
  normType: true,
  scaleGradByFreq: true,
};

/**
 * Rows of a table [rows, width] by an integer tensor [...]: [..., width]. With maxNorm the rows that are used are shortened in
 * the table too, if that is a Parameter; the gradient does not see it.
 * @throws IndexError, when the value is read, if an index is outside the table.
 */
export function embedding(input: Tensor, weight: Tensor, options: EmbeddingOptions = {}): Tensor {
  const {
    paddingIdx,
    maxNorm,
    normType = 2,
    scaleGradByFreq = false,
  } = checkOptions("embedding", options, EMBEDDING_NAMES);
  checkTensors("embedding", { input, weight });
  if (weight.ndim !== 2) throw new ShapeError(`embedding: the table must have 2 axes, got shape ${show(weight.shape)}`);
  const [count, width] = weight.shape;
  if (typeof paddingIdx === "number" && !(Number.isInteger(paddingIdx) && paddingIdx >= -count && paddingIdx < count))
    throw new ValueError(`embedding: paddingIdx ${paddingIdx} is out of range for ${count} rows`);
  const at = input.flatten();
  let rows = weight.indexSelect(0, at);
  const uses = (): Tensor =>
    zeros([count], { dtype: "int32" }).scatterAdd(0, at, full(at.shape, 1, { dtype: "int32" }));
  if (maxNorm !== undefined && maxNorm !== null) {
    checkNumber("embedding", "maxNorm", maxNorm, 0);
    const shortened = (t: Tensor): Tensor => {
      const length = norm(t, normType, 1, true);
      return where(length.gt(maxNorm), t.mul(length.add(1e-7).reciprocal().mul(maxNorm)), t).detach();
    };
    const short = shortened(rows);
    if (weight instanceof Parameter) weight.assign(where(uses().gt(0).unsqueeze(1), shortened(weight), weight));
    // The value of one, the gradient of the other.
    rows = rows.sub(rows.detach()).add(short);
  }
  if (scaleGradByFreq) {
    const share = uses().indexSelect(0, at).float().reciprocal().unsqueeze(1);
    rows = new Tensor(scaleGradient(rows.node, share.expand(rows.shape).node));
  }
  if (typeof paddingIdx === "number") {
    const padding = at.eq(paddingIdx < 0 ? paddingIdx + count : paddingIdx).unsqueeze(1);
    rows = where(padding, rows.detach(), rows);
  }
  return rows.reshape([...input.shape, width]);
}
