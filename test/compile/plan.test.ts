import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as isa from "../../assembly/isa.ts";
import { accumulate } from "../../src/compile/accumulate.ts";
import { lower } from "../../src/compile/lower/index.ts";
import type { Lowered } from "../../src/compile/lower/lowering.ts";
import type { Allocation, Homes, Instr, Ref, Schedule, Word } from "../../src/compile/instr.ts";
import { compileBody } from "../../src/compile/compile.ts";
import { fuse } from "../../src/compile/fuse.ts";
import { match } from "../../src/compile/match.ts";
import { partition } from "../../src/compile/partition.ts";
import { type Plan, plan } from "../../src/compile/plan.ts";
import { simplify } from "../../src/compile/simplify.ts";
import { numel, sameShape } from "../../src/core/shape.ts";
import { gradients } from "../../src/diff/vjp.ts";
import type { Computation, Node } from "../../src/graph/node.ts";
import { matmul } from "../../src/ops/contract.ts";
import { add, apply, mul, scale, sub, UNARY } from "../../src/ops/elementwise.ts";
import { crossEntropyRows, softmax } from "../../src/ops/fused.ts";
import { leaf } from "../../src/ops/leaf.ts";
import { sumCotangents } from "../../src/ops/cotangents.ts";
import { concat, expand, expandBack, flip, pad, padAll, slice, sum, transposeLast } from "../../src/ops/movement.ts";
import { max, mean } from "../../src/ops/reduction.ts";

interface Planned {
  readonly low: Lowered;
  readonly schedule: Schedule;
  readonly plan: Plan;
}

function planned(graph: Computation): Planned {
  const simple = accumulate(simplify(graph));
  const low = lower(simple, match(simple, fuse(simple)), compileBody);
  const schedule = partition(low.instrs);
  return { low, schedule, plan: plan(low.buffers, low.homes, schedule) };
}

interface Touch {
  readonly worker: number;
  readonly from: number;
  readonly to: number;
  readonly write: boolean;
  readonly what: string;
  readonly instr: Instr;
}

/**
 * The bytes of its parts of a buffer that an instruction writes in units [first, last), read off its words: by strided stores,
 * or where the place it is given says that it is a part. All of the buffer if it says neither.
 */
function written(i: Instr, b: Allocation, first: number, last: number): [from: number, to: number][] {
  const ranges: [number, number][] = [];
  const isIn = (w: Word): w is Ref => typeof w === "object" && w.buffer === b;
  const words = i.words as number[];
  if (i.opcode !== isa.Opcode.Map) {
    for (const w of i.words) if (isIn(w) && w.part) ranges.push([w.offset, w.offset + 4 * numel(i.label.shape)]);
    return ranges.length > 0 ? ranges : [[0, b.bytes]];
  }
  const [from, to] = [first, last].map((u) => Math.min(words[isa.Map.N], u * words[isa.Map.Grain]));
  for (let m = 0; m < words[isa.Map.Micros]; m++) {
    const at = words[isa.Map.MicrosAt] + 5 * m;
    const slot = words[isa.Map.SlotsAt] + 2 * words[at + 1];
    const w = i.words[slot + 1];
    if (words[slot] === isa.Slot.Dense && isIn(w)) ranges.push([w.offset + 4 * from, w.offset + 4 * to]);
    if (words[at] !== isa.Micro.StoreView) continue;
    const view = words[slot + 1];
    const origin = i.words[view];
    if (!isIn(origin)) continue;
    const [bytes, rank] = [words[view + 1], words[view + 2]];
    const dims = words.slice(view + 3, view + 3 + rank);
    const strides = words.slice(view + 3 + rank, view + 3 + 2 * rank);
    // Runs of elements that lie side by side.
    const run = strides[rank - 1] === 1 ? dims[rank - 1] : 1;
    for (let e = from; e < to; ) {
      const next = Math.min(to, e + run - (e % run));
      let [rest, place] = [e, 0];
      for (let d = rank - 1; d >= 0; d--) {
        place += (rest % dims[d]) * strides[d];
        rest = Math.floor(rest / dims[d]);
      }
      const start = origin.offset + place * bytes;
      ranges.push([start, start + (next - e) * bytes]);
      e = next;
    }
  }
  return ranges.length > 0 ? ranges : [[0, b.bytes]];
}

/** The arena bytes each worker touches in an instruction, as the kernels cut the work. */
function touches(i: Instr, workers: number, { low, plan: { offsets } }: Planned): Touch[] {
  const lanes = Math.min(workers, i.lanes);
  const list: Touch[] = [];
  for (let w = 0; w < lanes; w++) {
    const first = Math.floor((i.units * w) / lanes);
    const last = Math.floor((i.units * (w + 1)) / lanes);
    if (first >= last) continue;
    for (const [accesses, write] of [
      [i.reads, false],
      [i.writes, true],
    ] as const)
      for (const { buffer, unit } of accesses) {
        const base = place(buffer, low.homes, offsets);
        if (base === undefined) continue;
        const own = [Math.min(buffer.bytes, first * unit), Math.min(buffer.bytes, last * unit)];
        const exact = write ? written(i, buffer, first, last) : [[0, buffer.bytes]];
        const isPart = i.opcode === isa.Opcode.Map && exact.every(([from, to]) => to - from < buffer.bytes);
        // Of rows, what is written may be some columns, or not the last row.
        const ranges = unit === 0 || (write && isPart) ? exact : [own];
        for (const [from, to] of exact)
          if (unit > 0 && write && isPart) expect(from >= own[0] && to <= own[1]).toBe(true);
        for (const [from, to] of ranges)
          list.push({ worker: w, from: base + from, to: base + to, write, what: i.text, instr: i });
      }
  }
  return list;
}

function place(b: Allocation, homes: Homes, offsets: ReadonlyMap<number, number>): number | undefined {
  return homes[b.id] ? undefined : offsets.get(b.id);
}

/** The instructions of each phase. */
function byPhase({ schedule: { instrs, phaseOf, phases } }: Planned): Instr[][] {
  return Array.from({ length: phases }, (_, phase) => instrs.filter((_i, k) => phaseOf[k] === phase));
}

/** Whether an instruction reads what it writes: a product, each element of which is added to what was there. */
const isAdded = ({ opcode, words }: Instr): boolean => opcode === isa.Opcode.Gemm && words[isa.Gemm.Add] === 1;

/** Workers do not wait for each other inside a phase: what one writes there, no other may touch. */
function expectNoRaces(p: Planned, workers: number): void {
  for (const [phase, instrs] of byPhase(p).entries()) {
    const all = instrs.flatMap((i) => touches(i, workers, p)).sort((a, b) => a.from - b.from);
    all.forEach((a, k) => {
      for (let j = k + 1; j < all.length && all[j].from < a.to; j++) {
        const b = all[j];
        if (a.worker === b.worker || !(a.write || b.write) || a.from === a.to || b.from === b.to) continue;
        // Workers of one instruction write disjoint parts (columns, say): the kernels' tests see to that.
        if (a.instr === b.instr && ((a.write && b.write) || isAdded(a.instr))) continue;
        throw new Error(`phase ${phase}: worker ${a.worker} (${a.what}) and ${b.worker} (${b.what}) race`);
      }
    });
  }
}

/** Each read finds what its writer wrote: replays the program on labelled bytes (one label per 64-byte line). */
function expectDataflow(p: Planned): void {
  const owner = new Map<number, number>();
  const lines = (b: Allocation): number[] => {
    const base = place(b, p.low.homes, p.plan.offsets);
    if (base === undefined) return [];
    return Array.from({ length: Math.ceil(b.bytes / 64) }, (_, k) => base / 64 + k);
  };
  for (const instrs of byPhase(p))
    for (const i of instrs) {
      if (i.units === 0) continue;
      for (const r of i.reads)
        for (const l of lines(r.buffer))
          if (owner.get(l) !== r.buffer.id)
            throw new Error(`${i.text} reads buffer ${r.buffer.id} and finds buffer ${owner.get(l)}`);
      for (const w of i.writes) for (const l of lines(w.buffer)) owner.set(l, w.buffer.id);
    }
}

function mlp(batch: number, sizes: number[]): Computation {
  const x = leaf([batch, sizes[0]], "float32");
  const labels = leaf([batch], "int32");
  const weights: Node[] = [];
  let h: Node = x;
  for (let i = 0; i + 1 < sizes.length; i++) {
    const w = leaf([sizes[i + 1], sizes[i]], "float32");
    const b = leaf([sizes[i + 1]], "float32");
    weights.push(w, b);
    h = matmul(h, transposeLast(w));
    h = add(h, expand(b, h.shape));
    if (i + 2 < sizes.length) h = apply(UNARY.relu, h);
  }
  const loss = mean(crossEntropyRows(h, labels, -100), [0]);
  const updates = gradients(loss, weights).map((g, i) => sub(weights[i], scale(g, 0.1)));
  return { inputs: [x, labels], residents: weights, outputs: [loss], updates };
}

describe("phases", () => {
  test("a training step of a network has two barriers: row-local chains need none", () => {
    const { schedule } = planned(mlp(64, [784, 128, 10]));
    expect(schedule.phases).toBeLessThanOrEqual(3);
  });

  test("work too small to share stays on one worker", () => {
    const { low } = planned(mlp(32, [2, 16, 16, 2]));
    expect(Math.max(...low.instrs.map((i) => i.lanes))).toBe(1);
  });
});

describe("memory plan", () => {
  const nets: [string, Computation][] = [
    ["mlp", mlp(64, [784, 128, 10])],
    ["deep", mlp(128, [784, 512, 512, 10])],
    ["tiny", mlp(32, [2, 16, 16, 2])],
    ["64 layers", mlp(32, new Array(65).fill(48))],
  ];
  test.each(nets)("%s: at most 1.1 x the lower bound, sound for any number of workers", (_, graph) => {
    const p = planned(graph);
    expect(p.plan.bytes).toBeLessThanOrEqual(1.1 * p.plan.lowerBound);
    for (const workers of [1, 2, 3, 4, 7]) expectNoRaces(p, workers);
    expectDataflow(p);
  });

  test("an elementwise chain runs in place", () => {
    const x = leaf([1024], "float32");
    const y = apply(UNARY.exp, sum(expand(scale(x, 2), [3, 1024]), [0]));
    const z = sum(expand(y, [3, 1024]), [0]);
    const p = planned({ inputs: [x], residents: [], outputs: [z], updates: [] });
    const sizes = p.low.buffers.filter((b) => !p.low.homes[b.id]).length;
    expect(sizes).toBeGreaterThan(1);
    expect(p.plan.bytes).toBeLessThan(p.plan.unshared);
  });

  test("on one worker, what is not needed any more makes room at once", () => {
    const x = leaf([8, 8], "float32");
    let y: Node = x;
    for (let i = 0; i < 100; i++) y = matmul(softmax(y), x);
    const p = planned({ inputs: [x], residents: [], outputs: [y], updates: [] });
    expect(p.schedule.phases).toBe(1);
    expect(p.plan.bytes).toBe(2 * 256);
    expectDataflow(p);
  });

  test("beside what all workers do in the same phase, it makes none", () => {
    const [x, v] = [leaf([256, 256], "float32"), leaf([1, 16], "float32")];
    const small = softmax(v); // one worker, before
    const big = softmax(x); // all workers
    const late = softmax(apply(UNARY.tanh, small)); // one worker, after
    const p = planned({ inputs: [x, v], residents: [], outputs: [big, late], updates: [] });
    expect(p.schedule.instrs.map((i, k) => [p.schedule.phaseOf[k], i.lanes > 1])).toContainEqual([0, true]);
    for (const workers of [2, 3, 7]) expectNoRaces(p, workers);
    expectDataflow(p);
  });

  /** The sum of tanh of four slices of x, each in a tensor of zeros. */
  const quarters = (x: Node, begin: (i: number, j: number) => number[], size: number[]): Node =>
    sumCotangents(
      [0, 1].flatMap((i) =>
        [0, 1].map((j) => {
          const at = begin(i, j).map((b, axis) => Math.min(b, x.shape[axis] - size[axis]));
          return padAll([{ x: apply(UNARY.tanh, slice(x, at, size)), begin: at, step: [1, 1] }], x.shape);
        }),
      ),
    );

  /** x, and under it a row made from another's first. */
  const beside = (x: Node, y: Node): Node => concat([x, softmax(slice(y, [0, 0], [1, y.shape[1]]))], 0);

  // A stack of random instructions over matrices, as a graph: some for one worker, some for all.
  const graphs = fc
    .record({
      rows: fc.oneof(fc.integer({ min: 1, max: 70 }), fc.integer({ min: 200, max: 500 })),
      cols: fc.integer({ min: 1, max: 40 }),
      steps: fc.array(fc.tuple(fc.integer({ min: 0, max: 18 }), fc.nat(), fc.nat()), { minLength: 1, maxLength: 40 }),
    })
    .map(({ rows, cols, steps }): Computation => {
      const x = leaf([rows, cols], "float32");
      const w = leaf([cols, cols], "float32");
      const v = leaf([rows, cols], "float32");
      const pool: Node[] = [x, v];
      for (const [kind, i, j] of steps) {
        const a = pool[i % pool.length];
        const b = pool[j % pool.length];
        const made = [
          () => add(a, b),
          () => mul(a, b),
          () => apply(UNARY.tanh, a),
          () => matmul(a, w),
          () => matmul(a, transposeLast(w)),
          () => softmax(a),
          () => expandBack(sum(a, [0]), a.shape, [0]),
          () => expandBack(max(a, [1]), a.shape, [1]),
          () => pad(slice(a, [0, 0], [Math.ceil(rows / 2), cols]), [0, 0], [rows, cols]),
          () => slice(concat([a, b], 0), [rows >> 1, 0], [rows, cols]),
          // Pieces that are written where they go.
          () => slice(concat([apply(UNARY.tanh, a), mul(a, b)], 1), [0, cols >> 1], [rows, cols]),
          () => slice(concat([matmul(a, w), softmax(b)], 0), [rows >> 1, 0], [rows, cols]),
          () => slice(concat([mul(a, b), add(matmul(a, w), matmul(b, w))], 0), [rows >> 1, 0], [rows, cols]),
          () =>
            flip(transposeLast(concat([transposeLast(sub(a, b)), mul(transposeLast(a), transposeLast(b))], 0)), [0]),
          // What flows back to slices, whether they overlap or leave gaps.
          () => quarters(a, (i, j) => [i * (rows >> 1), j * (cols >> 1)], [(rows + 1) >> 1, (cols + 1) >> 1]),
          () => quarters(b, (i, j) => [i, j * (cols >> 1)], [rows - 1, cols >> 1]),
          // Zeros on one worker, what goes between them on all.
          () => slice(pad(softmax(a), [3, 0], [rows + 5, cols]), [2, 0], [rows, cols]),
          // All rows but one, over what is as large as all.
          () => beside(apply(UNARY.tanh, slice(beside(softmax(a), b), [0, 0], [rows, cols])), a),
          // Products added to each other.
          () => add(add(matmul(a, w), matmul(apply(UNARY.tanh, b), w)), matmul(b, transposeLast(w))),
        ][kind]();
        pool.push(sameShape(made.shape, x.shape) ? made : slice(made, [0, 0], x.shape));
      }
      const last = pool[pool.length - 1];
      const outputs = [sum(last, [0, 1]), pool[pool.length >> 1]];
      return { inputs: [x, v], residents: [w], outputs, updates: [add(w, matmul(transposeLast(last), x))] };
    });

  test("no random program races or loses a value, whatever the number of workers", () => {
    fc.assert(
      fc.property(graphs, (graph) => {
        const p = planned(graph);
        for (const workers of [2, 3, 5]) expectNoRaces(p, workers);
        expectDataflow(p);
      }),
      { numRuns: 300 },
    );
  });

  test("graphs may be deeper than the stack: 20,000 operations in a row, and their gradient", () => {
    const x = leaf([4, 4], "float32");
    let y: Node = x;
    for (let i = 0; i < 4000; i++) y = transposeLast(apply(UNARY.tanh, matmul(y, x)));
    for (let i = 0; i < 10_000; i++) y = transposeLast(y);
    const outputs = gradients(sum(y, [0, 1]), [x]);
    const p = planned({ inputs: [x], residents: [], outputs, updates: [] });
    expect(p.low.instrs.length).toBeGreaterThan(8000);
    expect(p.plan.bytes).toBeLessThan(p.plan.unshared);
  });
});
