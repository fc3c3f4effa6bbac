import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as isa from "../../assembly/isa.ts";
import { accumulate } from "../../src/compile/accumulate.ts";
import { lower } from "../../src/compile/lower/index.ts";
import type { Body, Lowered } from "../../src/compile/lower/lowering.ts";
import type { Allocation, Homes, Instr, Ref, Schedule, Word } from "../../src/compile/instr.ts";
import { compileBody } from "../../src/compile/compile.ts";
import { loops } from "../../src/compile/extensions/scan.ts";
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

interface Placed {
  readonly low: Lowered;
  readonly schedule: Schedule;
  readonly plan: Pick<Plan, "offsets">;
}

interface Planned extends Placed {
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

type Range = [from: number, to: number];

const isIn = (b: Allocation, w: Word): w is Ref => typeof w === "object" && w.buffer === b;

/** The bytes of a buffer that a Map's view of it has at elements [from, to), in runs. `view`: where its words begin. */
function viewed({ words }: Instr, b: Allocation, view: number, from: number, to: number): Range[] {
  const origin = words[view];
  if (!isIn(b, origin)) return [];
  const [bytes, rank, ...sizes] = words.slice(view + 1, view + 3 + 2 * (words[view + 2] as number)) as number[];
  const [dims, strides] = [sizes.slice(0, rank), sizes.slice(rank)];
  // Runs of elements that lie side by side.
  const run = strides[rank - 1] === 1 ? dims[rank - 1] : 1;
  const ranges: Range[] = [];
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
  return ranges;
}

/** The bytes of a buffer that a Map loads, or stores, by views in units [first, last), read off its words. */
function byViews(i: Instr, b: Allocation, micro: isa.Micro, first: number, last: number): Range[] {
  if (i.opcode !== isa.Opcode.Map) return [];
  const words = i.words as number[];
  const [from, to] = [first, last].map((u) => Math.min(words[isa.Map.N], u * words[isa.Map.Grain]));
  return Array.from({ length: words[isa.Map.Micros] }, (_, m) => words[isa.Map.MicrosAt] + 5 * m)
    .filter((at) => words[at] === micro)
    .flatMap((at) => {
      const slot = words[at + (micro === isa.Micro.StoreView ? 1 : 2)];
      return viewed(i, b, words[words[isa.Map.SlotsAt] + 2 * slot + 1], from, to);
    });
}

/**
 * The bytes of its parts of a buffer that an instruction writes in units [first, last), read off its words: by strided stores,
 * or where the place it is given says that it is a part. All of the buffer if it says neither.
 */
function written(i: Instr, b: Allocation, first: number, last: number): Range[] {
  const words = i.words as number[];
  const ranges = byViews(i, b, isa.Micro.StoreView, first, last);
  if (i.opcode !== isa.Opcode.Map) {
    for (const w of i.words) if (isIn(b, w) && w.part) ranges.push([w.offset, w.offset + 4 * numel(i.label.shape)]);
  } else {
    const [from, to] = [first, last].map((u) => Math.min(words[isa.Map.N], u * words[isa.Map.Grain]));
    for (let m = 0; m < words[isa.Map.Micros]; m++) {
      const slot = words[isa.Map.SlotsAt] + 2 * words[words[isa.Map.MicrosAt] + 5 * m + 1];
      const w = i.words[slot + 1];
      if (words[slot] === isa.Slot.Dense && isIn(b, w)) ranges.push([w.offset + 4 * from, w.offset + 4 * to]);
    }
  }
  return ranges.length > 0 ? ranges : [[0, b.bytes]];
}

/** The arena bytes each worker touches in an instruction, as the kernels cut the work. `at`: where buffers lie, if not as planned. */
function touches(
  i: Instr,
  workers: number,
  { low, plan: { offsets } }: Placed,
  at = (b: Allocation) => place(b, low.homes, offsets),
): Touch[] {
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
        const base = at(buffer);
        if (base === undefined) continue;
        const own = [Math.min(buffer.bytes, first * unit), Math.min(buffer.bytes, last * unit)];
        const exact = write ? written(i, buffer, first, last) : [[0, buffer.bytes]];
        const isPart = i.opcode === isa.Opcode.Map && exact.every(([from, to]) => to - from < buffer.bytes);
        // Of rows, what is written may be some columns, or not the last row.
        const ranges = unit === 0 || (write && isPart) ? exact : [own];
        const strided = write ? (isPart ? exact : []) : byViews(i, buffer, isa.Micro.LoadView, first, last);
        if (unit > 0) expect(strided.filter(([from, to]) => from < own[0] || to > own[1])).toEqual([]);
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
function byPhase({ schedule: { instrs, phaseOf, phases } }: Placed): Instr[][] {
  return Array.from({ length: phases }, (_, phase) => instrs.filter((_i, k) => phaseOf[k] === phase));
}

/** Whether an instruction reads what it writes: a product, each element of which is added to what was there. */
const isAdded = ({ opcode, words }: Instr): boolean => opcode === isa.Opcode.Gemm && words[isa.Gemm.Add] === 1;

/** Workers do not wait for each other inside a phase: what one writes there, no other may touch. */
function expectNoRaces(
  p: Placed,
  workers: number,
  phases: readonly (readonly Instr[])[] = byPhase(p),
  at?: (b: Allocation) => number | undefined,
): void {
  for (const [phase, instrs] of phases.entries()) {
    const all = instrs.flatMap((i) => touches(i, workers, p, at)).sort((a, b) => a.from - b.from);
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
function expectDataflow(p: Placed): void {
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

  // A stack of random instructions over matrices: some for one worker, some for all.
  const recipes = (maxLength: number, kinds: fc.Arbitrary<number> = fc.integer({ min: 0, max: 25 })) =>
    fc.record({
      rows: fc.oneof(fc.integer({ min: 1, max: 70 }), fc.integer({ min: 200, max: 500 })),
      cols: fc.integer({ min: 2, max: 40 }),
      steps: fc.array(fc.tuple(kinds, fc.nat(), fc.nat()), { minLength: 1, maxLength }),
    });
  type Recipe = { rows: number; cols: number; steps: readonly (readonly [number, number, number])[] };
  const poolOf = ({ rows, cols, steps }: Recipe, x: Node, v: Node, w: Node): Node[] => {
    const pool: Node[] = [x, v];
    /** Columns of a matrix, from one to another. */
    const columns = (n: Node, from: number, to: number): Node => slice(n, [0, from], [rows, to - from]);
    const half = cols >> 1;
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
        () => flip(transposeLast(concat([transposeLast(sub(a, b)), mul(transposeLast(a), transposeLast(b))], 0)), [0]),
        // What flows back to slices, whether they overlap or leave gaps.
        () => quarters(a, (i, j) => [i * (rows >> 1), j * (cols >> 1)], [(rows + 1) >> 1, (cols + 1) >> 1]),
        () => quarters(b, (i, j) => [i, j * (cols >> 1)], [rows - 1, cols >> 1]),
        // Zeros on one worker, what goes between them on all.
        () => slice(pad(softmax(a), [3, 0], [rows + 5, cols]), [2, 0], [rows, cols]),
        // All rows but one, over what is as large as all.
        () => beside(apply(UNARY.tanh, slice(beside(softmax(a), b), [0, 0], [rows, cols])), a),
        // Products added to each other.
        () => add(add(matmul(a, w), matmul(apply(UNARY.tanh, b), w)), matmul(b, transposeLast(w))),
        // Columns side by side, as gates of a cell are.
        () => {
          const gates = concat([matmul(a, w), matmul(b, transposeLast(w))], 1);
          return mul(
            apply(UNARY.tanh, columns(gates, half, half + cols)),
            columns(gates, cols - half, 2 * cols - half),
          );
        },
        () => concat([columns(b, 0, half), apply(UNARY.tanh, columns(a, half, cols))], 1),
        () => concat([mul(columns(a, cols - half, cols), columns(b, 0, half)), columns(softmax(a), half, cols)], 1),
        () => add(a, pad(apply(UNARY.exp, columns(b, half, cols)), [0, half], [rows, cols])),
        () =>
          sumCotangents([padAll([{ x: columns(mul(a, b), 0, half), begin: [0, 0], step: [1, 1] }], [rows, cols]), a]),
        // Rows and columns: of another matrix, and of the rows behind the first.
        () => slice(concat([a, apply(UNARY.tanh, b)], 0), [rows, 0], [rows, cols]),
        () =>
          concat([columns(a, 0, half), slice(concat([softmax(b), a], 0), [rows >> 1, half], [rows, cols - half])], 1),
      ][kind]();
      pool.push(sameShape(made.shape, x.shape) ? made : slice(made, [0, 0], x.shape));
    }
    return pool;
  };
  const graphs = recipes(40).map((recipe): Computation => {
    const { rows, cols } = recipe;
    const [x, v] = [leaf([rows, cols], "float32"), leaf([rows, cols], "float32")];
    const w = leaf([cols, cols], "float32");
    const pool = poolOf(recipe, x, v, w);
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

  test("no random loop races, from step to step either: workers meet, or each finds what it left itself", () => {
    let [met, free] = [0, 0];
    const byRows = fc.constantFrom(0, 1, 2, 3, 4, 5, 7, 18, 19, 20, 21, 22, 23);
    const bodies = fc.record({
      recipe: fc.oneof(recipes(8), recipes(8, byRows)),
      reverse: fc.boolean(),
      picks: fc.array(fc.nat(), { minLength: 3 }),
    });
    fc.assert(
      fc.property(bodies, ({ recipe, reverse, picks: [i, j, k] }) => {
        const { rows, cols } = recipe;
        const [h, g, x] = [0, 1, 2].map(() => leaf([rows, cols], "float32"));
        const w = leaf([cols, cols], "float32");
        const pool = poolOf(recipe, h, x, w);
        const nexts = [pool[pool.length - 1], [g, h, pool[i % pool.length]][j % 3]];
        const loop = new loops.Loop(5, reverse, [h, g], [x], [w], nexts);
        const src = [
          leaf(h.shape, "float32"),
          leaf(h.shape, "float32"),
          leaf([5, rows, cols], "float32"),
          leaf(w.shape, "float32"),
        ];
        const outputs = [
          loops.lastOf(loop, src, 0),
          loops.lastOf(loop, src, 1),
          loops.stackOf(loop, src, add(pool[k % pool.length], g)),
        ];
        const simple = accumulate(simplify({ inputs: src, residents: [], outputs, updates: [] }));
        const bodies: [Computation, Body][] = [];
        const outer = lower(simple, match(simple, fuse(simple)), (graph) => {
          bodies.push([graph, compileBody(graph)]);
          return bodies[0][1];
        });
        const [[graph, low]] = bodies;
        const { inner = [] } = outer.instrs.find((o) => o.opcode === isa.Opcode.Loop) as Instr;
        const p: Placed = { low, schedule: low.schedule, plan: low.plan };
        for (const workers of [2, 3, 5]) expectNoRaces(p, workers);
        expectDataflow(p);
        if (inner.some(({ text }) => text === "barrier")) {
          expect(inner[inner.length - 1].text).toBe("barrier");
          met++;
          return;
        }
        // Any step of one worker may be beside any other of another; what is carried lies in one place, and in all others in turn.
        const carried = new Map<Allocation, number>();
        loop.carry.forEach((c, n) => {
          const base = low.plan.bytes + n * (low.buffers[0].bytes + 64 * rows * cols);
          carried.set(low.inputs[graph.inputs.indexOf(c)], base).set(low.updates[n], base);
        });
        const at = (b: Allocation): number | undefined => carried.get(b) ?? place(b, low.homes, low.plan.offsets);
        for (const workers of [2, 3, 5]) expectNoRaces(p, workers, [low.schedule.instrs], at);
        free += low.schedule.instrs.some(({ lanes }) => lanes > 1) ? 1 : 0;
      }),
      { numRuns: 200 },
    );
    expect(met).toBeGreaterThan(0);
    expect(free).toBeGreaterThan(0);
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
