/** @file Tables looked up by index. */
import { randn, type RandomOptions } from "../../random.ts";
import { arange, Parameter, type Tensor, where } from "../../tensor.ts";
import * as F from "../functional/index.ts";
import { checkCounts } from "./counts.ts";
import { Module } from "./module.ts";

/** Learned rows [numEmbeddings, embeddingDim] by integers; normal at the start, the padding row zero. */
export class Embedding extends Module {
  readonly weight: Parameter;
  private readonly options: F.EmbeddingOptions;

  constructor(numEmbeddings: number, embeddingDim: number, options: F.EmbeddingOptions & RandomOptions = {}) {
    super();
    checkCounts("Embedding", { numEmbeddings, embeddingDim });
    const { paddingIdx } = options;
    const rows = randn([numEmbeddings, embeddingDim], options);
    const padding = typeof paddingIdx === "number" && paddingIdx < 0 ? paddingIdx + numEmbeddings : paddingIdx;
    const start = typeof padding === "number" ? where(arange(numEmbeddings).unsqueeze(1).eq(padding), 0, rows) : rows;
    this.weight = new Parameter(start);
    this.options = options;
  }

  forward(x: Tensor): Tensor {
    return F.embedding(x, this.weight, this.options);
  }
}
