import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AbortedError, ValueError } from "../../src/core/errors.ts";
import { DataLoader, type Dataset, TensorDataset } from "../../src/data/index.ts";
import { tensor } from "../../src/tensor/creation.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";

const counting = (n: number): TensorDataset =>
  new TensorDataset(
    Int32Array.from({ length: n }, (_, i) => i),
    { data: Float32Array.from({ length: 2 * n }, (_, i) => i / 2), shape: [n, 2] },
  );

/** Row numbers of one epoch, batch by batch; checks that the columns stay together. */
async function epoch(loader: DataLoader): Promise<number[][]> {
  const batches: number[][] = [];
  for await (const [rows, values] of loader) {
    const list = [...(await rows.data())];
    expect(values.shape).toEqual([list.length, 2]);
    expect([...(await values.data())]).toEqual(list.flatMap((r) => [r, r + 0.5]));
    batches.push(list);
  }
  return batches;
}

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const sorted = (list: number[]): number[] => [...list].sort((a, b) => a - b);
const macrotask = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

/** A dataset that notes what is asked of it. */
function spy(n: number, batch: (indices: number[]) => Tensor[] | Promise<Tensor[]> = (i) => [tensor(i)]) {
  const asked: number[][] = [];
  const dataset: Dataset = {
    length: n,
    batch(indices) {
      asked.push(Array.from(indices));
      return batch(Array.from(indices));
    },
  };
  return { asked, dataset };
}

describe("DataLoader", () => {
  it("goes through the rows in order, one by one by default", async () => {
    expect(await epoch(new DataLoader(counting(3)))).toEqual([[0], [1], [2]]);
    expect(await epoch(new DataLoader(counting(7), { batchSize: 3 }))).toEqual([[0, 1, 2], [3, 4, 5], [6]]);
  });

  it("drops the last batch if it is not full and dropLast is set", async () => {
    const options = { batchSize: 3, dropLast: true };
    expect(await epoch(new DataLoader(counting(7), options))).toEqual([
      [0, 1, 2],
      [3, 4, 5],
    ]);
    expect(await epoch(new DataLoader(counting(6), options))).toHaveLength(2);
    expect(await epoch(new DataLoader(counting(2), options))).toEqual([]);
  });

  it("has as many batches as it says, and every row once", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(40),
        fc.integer({ min: 1, max: 12 }),
        fc.boolean(),
        fc.boolean(),
        fc.nat(),
        async (n, batchSize, shuffle, dropLast, seed) => {
          const loader = new DataLoader(counting(n), { batchSize, shuffle, dropLast, seed });
          const batches = await epoch(loader);
          expect(batches.length).toBe(loader.length);
          expect(batches.slice(0, -1).every((b) => b.length === batchSize)).toBe(true);
          const rows = sorted(batches.flat());
          if (dropLast) expect(new Set(rows).size).toBe(n - (n % batchSize));
          else expect(rows).toEqual(range(n));
        },
      ),
      { numRuns: 60 },
    );
  });

  it("shuffles each epoch anew, the same way for the same seed", async () => {
    const make = (seed?: number): DataLoader => new DataLoader(counting(40), { batchSize: 8, shuffle: true, seed });
    const epochs = async (loader: DataLoader): Promise<string[]> => [
      String(await epoch(loader)),
      String(await epoch(loader)),
      String(await epoch(loader)),
    ];
    const a = await epochs(make(0));
    expect(new Set([...a, String(range(40))]).size).toBe(4);
    expect(await epochs(make(0))).toEqual(a);
    expect(await epochs(make())).toEqual(a);
    const b = await epochs(make(1));
    expect(new Set([...a, ...b]).size).toBe(6);
    const late = make(0);
    late.epoch = 2;
    expect(String(await epoch(late))).toBe(a[2]);
    expect(late.epoch).toBe(3);
  });

  it("shuffles evenly", async () => {
    // Each of 6 rows should come first in about a sixth of the epochs: 100 of 600, with a deviation of 9.
    const loader = new DataLoader(counting(6), { batchSize: 6, shuffle: true, seed: 5 });
    const first = new Array<number>(6).fill(0);
    for (let e = 0; e < 600; e++) for await (const [rows] of loader) first[(await rows.data())[0]]++;
    for (const count of first) expect(Math.abs(count - 100)).toBeLessThan(45);
  });

  it("can be iterated twice at once", async () => {
    const loader = new DataLoader(counting(9), { batchSize: 2, shuffle: true, seed: 3 });
    const both = await Promise.all([epoch(loader), epoch(loader)]);
    const alone = new DataLoader(counting(9), { batchSize: 2, shuffle: true, seed: 3 });
    expect(both).toEqual([await epoch(alone), await epoch(alone)]);
  });

  it("prepares one batch ahead, after the caller went on with the last", async () => {
    const { asked, dataset } = spy(6);
    const iterator = new DataLoader(dataset, { batchSize: 2 })[Symbol.asyncIterator]();
    expect(asked).toEqual([]);
    await iterator.next();
    expect(asked).toEqual([[0, 1]]); // the caller's code comes first
    await macrotask();
    expect(asked).toEqual([
      [0, 1],
      [2, 3],
    ]);
    await macrotask();
    expect(asked).toHaveLength(2);
    await iterator.next();
    await iterator.next();
    expect((await iterator.next()).done).toBe(true);
    await macrotask();
    expect(asked).toEqual([
      [0, 1],
      [2, 3],
      [4, 5],
    ]);
  });

  it("prepares nothing after the caller left the loop", async () => {
    const { asked, dataset } = spy(6);
    for await (const batch of new DataLoader(dataset, { batchSize: 2 })) {
      expect(batch).toHaveLength(1);
      break;
    }
    await macrotask();
    expect(asked).toEqual([[0, 1]]);
  });

  it("takes datasets that answer later, and reports their errors where the batch is due", async () => {
    const failing = spy(4, async ([i]) => {
      await macrotask();
      if (i === 2) throw new Error("row 2 is broken");
      return [tensor([i])];
    });
    const seen: number[] = [];
    const loop = async (): Promise<void> => {
      for await (const [x] of new DataLoader(failing.dataset)) {
        seen.push((await x.data())[0]);
        await macrotask();
        await macrotask();
      }
    };
    await expect(loop()).rejects.toThrow("row 2 is broken");
    expect(seen).toEqual([0, 1]);
  });

  it("passes on what a dataset throws at once", async () => {
    const { dataset } = spy(2, () => {
      throw new Error("at once");
    });
    await expect(epoch(new DataLoader(dataset))).rejects.toThrow("at once");
  });

  it("stops between batches with an AbortedError", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const seen: number[] = [];
    const loop = async (): Promise<void> => {
      for await (const [rows] of new DataLoader(counting(10), { signal: controller.signal })) {
        seen.push((await rows.data())[0]);
        if (seen.length === 3) {
          await macrotask(); // the next batch is ready, and must not come
          controller.abort(reason);
        }
      }
    };
    const error = await loop().catch((e) => e);
    expect(error).toBeInstanceOf(AbortedError);
    expect(error.cause).toBe(reason);
    expect(seen).toEqual([0, 1, 2]);
    await expect(epoch(new DataLoader(counting(1), { signal: AbortSignal.abort() }))).rejects.toThrow(AbortedError);
  });

  it("stops waiting for a batch that never comes", async () => {
    const { dataset } = spy(2, () => new Promise(() => {}));
    const controller = new AbortController();
    const waiting = epoch(new DataLoader(dataset, { signal: controller.signal }));
    setTimeout(() => controller.abort(), 5);
    await expect(waiting).rejects.toThrow(AbortedError);
  });

  it("leaves no listener on the signal", async () => {
    const { signal } = new AbortController();
    let listeners = 0;
    const { addEventListener, removeEventListener } = signal;
    signal.addEventListener = (...args: unknown[]) => {
      listeners++;
      Reflect.apply(addEventListener, signal, args);
    };
    signal.removeEventListener = (...args: unknown[]) => {
      listeners--;
      Reflect.apply(removeEventListener, signal, args);
    };
    await epoch(new DataLoader(counting(5), { signal }));
    expect(listeners).toBe(0);
  });

  it("goes through an empty dataset without a batch", async () => {
    expect(await epoch(new DataLoader(counting(0), { batchSize: 4, shuffle: true }))).toEqual([]);
  });

  it("refuses bad options with a ValueError that names them", () => {
    const make = (options: object) => () => new DataLoader(counting(4), options);
    for (const batchSize of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, "8", null])
      expect(make({ batchSize }), `batchSize ${batchSize}`).toThrow(
        new ValueError(`DataLoader: batchSize must be a positive integer, got ${batchSize}`),
      );
    for (const seed of [-1, 0.5, Number.NaN, 2 ** 53, "1"])
      expect(make({ seed }), `seed ${seed}`).toThrow(/seed must be an integer/);
    expect(make({ signal: {} })).toThrow(ValueError);
    for (const dataset of [null, {}, [1, 2], { length: 1.5, batch: () => [] }])
      expect(() => new DataLoader(dataset as unknown as Dataset)).toThrow(ValueError);
  });
});
