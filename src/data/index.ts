/** @file Data: datasets, batches of them, and files they come from. */
export { type Column, type Dataset, randomSplit, Subset, TensorDataset } from "./dataset.ts";
export {
  type Idx,
  type IdxSource,
  loadMnist,
  type Mnist,
  type MnistFiles,
  type MnistOptions,
  parseIdx,
  readIdx,
} from "./idx.ts";
export { DataLoader, type DataLoaderOptions } from "./loader.ts";
