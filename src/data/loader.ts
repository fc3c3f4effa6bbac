/** @file DataLoader: batches of a dataset, epoch by epoch. */
import { checkNotAsync } from "../core/check.ts";
import { AbortedError, ValueError } from "../core/errors.ts";
import { checkOptions, type Names } from "../core/options.ts";
import { consecutive, permutation } from "../core/threefry.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { EPOCH, type Epoch, type Epochs } from "../trace/epoch.ts";
import { BY_IDENTITY } from "../trace/signature.ts";
import { checkDataset, checkSeed, type Dataset, rootOf } from "./dataset.ts";

/** An AbortSignal, described here for programs whose types have no DOM. */
export interface Signal {
  readonly aborted: boolean;
  readonly reason?: unknown;
  addEventListener(type: "abort", listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: "abort", listener: () => void): void;
}

export interface DataLoaderOptions {
  /** Rows per batch; default 1. */
  batchSize?: number;
  /** Whether each epoch takes the rows in a new order; default false. */
  shuffle?: boolean;
  /** The orders depend only on it and on the number of the epoch; default 0. */
  seed?: number;
  /** Whether a smaller last batch is dropped; default false. */
  dropLast?: boolean;
  /** Ends iteration with an AbortedError before the next batch. */
  signal?: Signal;
}

const NAMES: Names<DataLoaderOptions> = { batchSize: true, shuffle: true, seed: true, dropLast: true, signal: true };

/** Calls f in a task of its own, so after everything that now waits for a promise has gone on. */
function later(f: () => void): void {
  if (typeof setImmediate === "function") {
    setImmediate(f);
    return;
  }
  // Timers would come too late: browsers make them wait 4 ms.
  const { port1, port2 } = new MessageChannel();
  const run = (): void => {
    port1.close();
    f();
  };
  port1.addEventListener("message", run, { once: true });
  port1.start();
  port2.postMessage(null);
}

const stopped = (signal: Signal): AbortedError =>
  new AbortedError("DataLoader: stopped by its signal", { cause: signal.reason });

/** Settles as the promise does, unless the signal comes first. */
async function unlessAborted<T>(promise: Promise<T>, signal: Signal | undefined): Promise<T> {
  if (!signal) return promise;
  if (signal.aborted) throw stopped(signal);
  let stop = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(stopped(signal));
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/**
 * Batches of a dataset as arrays of tensors, one per column, by `for await`. Each iteration is an epoch; with `shuffle` each
 * has its own order. While the caller works on a batch the next one is prepared.
 */
export class DataLoader implements AsyncIterable<Tensor[]>, Epochs {
  /** @internal */
  get [BY_IDENTITY](): true {
    return true;
  }

  readonly dataset: Dataset;
  readonly batchSize: number;
  readonly shuffle: boolean;
  readonly seed: number;
  readonly dropLast: boolean;
  /** Number of the next epoch, from 0. Set it to resume an interrupted training run. */
  epoch = 0;
  /** @internal */
  readonly signal: Signal | undefined;

  /** @throws ValueError for a batchSize that is not a positive integer, or a seed that is not an integer >= 0. */
  constructor(dataset: Dataset, options: DataLoaderOptions = {}) {
    const {
      batchSize = 1,
      shuffle = false,
      seed = 0,
      dropLast = false,
      signal,
    } = checkOptions("DataLoader", options, NAMES);
    checkDataset("DataLoader", dataset);
    if (!Number.isSafeInteger(batchSize) || batchSize < 1)
      throw new ValueError(`DataLoader: batchSize must be a positive integer, got ${String(batchSize)}`);
    if (signal !== undefined && typeof signal?.addEventListener !== "function")
      throw new ValueError("DataLoader: signal must be an AbortSignal");
    this.dataset = dataset;
    this.batchSize = batchSize;
    this.shuffle = Boolean(shuffle);
    this.seed = checkSeed("DataLoader", seed);
    this.dropLast = Boolean(dropLast);
    this.signal = signal;
  }

  /** Number of batches in an epoch. */
  get length(): number {
    const batches = this.dataset.length / this.batchSize;
    return this.dropLast ? Math.floor(batches) : Math.ceil(batches);
  }

  /** Begins an epoch. Rejects with an AbortedError between batches once the signal is aborted. */
  [Symbol.asyncIterator](): AsyncGenerator<Tensor[], void, undefined> {
    return this.run(this.beginEpoch());
  }

  /** Begins an epoch that is run in few launches: for compiled functions. */
  [EPOCH](): Epoch {
    const { batchSize, length, signal } = this;
    if (signal?.aborted) throw stopped(signal);
    const root = rootOf(this.dataset, length > 0 ? this.beginEpoch() : []);
    if (!root) throw new ValueError("run: the loader's dataset must be a TensorDataset or a Subset of one");
    if (length === 0) throw new ValueError(`run: ${this.dataset.length} rows make no batch of ${batchSize}`);
    const { dataset, rows } = root;
    dataset.resident(); // its place in memory cannot be made while tracing
    return {
      rows: Int32Array.from(rows),
      batchSize,
      batches: length,
      dataset,
      batch: (indices) => dataset.resident()(indices),
    };
  }

  /** Begins an epoch: the rows in its order. */
  private beginEpoch(): Uint32Array {
    const n = this.dataset.length;
    const epoch = this.epoch++;
    return this.shuffle ? permutation(n, this.seed, epoch) : consecutive(0, n);
  }

  private async *run(order: Uint32Array): AsyncGenerator<Tensor[], void, undefined> {
    const { dataset, batchSize, length, signal } = this;
    let ahead: Promise<Tensor[]> | undefined;
    let wanted = 0;
    const prepare = (): void => {
      if (ahead || wanted >= length) return;
      const indices = order.subarray(wanted * batchSize, (wanted + 1) * batchSize);
      ahead = (async () => {
        const batch = await dataset.batch(indices);
        checkNotAsync("DataLoader: batch(indices) of the dataset", batch);
        return batch;
      })();
      ahead.catch(() => {}); // reported when it is asked for
    };
    try {
      while (wanted < length) {
        prepare();
        const batch = await unlessAborted(ahead as Promise<Tensor[]>, signal);
        ahead = undefined;
        wanted++;
        // Not now: first the caller starts its step with this batch, then the copying runs beside it.
        later(prepare);
        yield batch;
      }
    } finally {
      wanted = length; // what is still scheduled prepares nothing
    }
  }
}
