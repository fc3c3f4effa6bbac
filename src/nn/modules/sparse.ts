/** @file Tables looked up by index. */
import { checkOptions } from "../../core/options.ts";
import { randn, type RandomOptions } from "../../tensor/random.ts";
import { arange } from "../../tensor/creation.ts";
import { where } from "../../tensor/functions.ts";
import { Parameter } from "../../tensor/parameter.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as F from "../functional/index.ts";
import { EMBEDDING_NAMES } from "../functional/sparse.ts";
import { checkCounts } from "./counts.ts";
import { Module } from "./module.ts";

/** Learned rows [numEmbeddings, embeddingDim] by integers; normal at the start, the padding row zero. */
export class Embedding extends Module {
  readonly weight: Parameter;
  private readonly options: F.EmbeddingOptions;

  constructor(numEmbeddings: number, embeddingDim: number, options: F.EmbeddingOptions & RandomOptions = {}) {
    super();
    checkCounts("Embedding", { numEmbeddings, embeddingDim });
    const { generator, ...others } = checkOptions("Embedding", options, { ...EMBEDDING_NAMES, generator: true });
    const { paddingIdx } = others;
    const rows = randn([numEmbeddings, embeddingDim], { generator });
    const padding = typeof paddingIdx === "number" && paddingIdx < 0 ? paddingIdx + numEmbeddings : paddingIdx;
    const start = typeof padding === "number" ? where(arange(numEmbeddings).unsqueeze(1).eq(padding), 0, rows) : rows;
    this.weight = new Parameter(start);
    this.options = others;
  }

  forward(x: Tensor): Tensor {
    return F.embedding(x, this.weight, this.options);
  }
}
