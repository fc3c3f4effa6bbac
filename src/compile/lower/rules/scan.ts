/**
 * @file Loops. The body is compiled like any graph, with memory of its own for what lives within a step; what it is given and what
 * it leaves lies in the program's buffers, a step's part behind that of the one before, so that no step copies it. What is carried
 * lies in as many parts as there are steps and one, if a result has all of them, else in two that take turns.
 */
import * as isa from "../../../../assembly/isa.ts";
import { byteLength } from "../../../core/dtype.ts";
import { type Computation, type Node, toposort } from "../../../graph/node.ts";
import { isStacked, type Loop, resultOf, type ScanAttrs, together } from "../../../ops/scan.ts";
import { align } from "../../../program/program.ts";
import type { Allocation, Described, Inner, Instr, Ref, Schedule, Word } from "../../instr.ts";
import { sameSlices } from "../../partition.ts";
import type { Touch } from "../emission.ts";
import type { Body, Lowering } from "../lowering.ts";
import { emitMap } from "../map.ts";

/** Where a buffer of the body lies in the first step, and how many bytes further in the next; there and back if it `turns`. */
interface Place {
  readonly ref: Ref;
  readonly step: number;
  readonly turns?: boolean;
}

const BARRIER: readonly number[] = [isa.Opcode.Barrier, 4, 0, 0];
const BARRIER_LABEL: Described = { op: "barrier", dtype: "float32", shape: [], shapes: "" };

/** What the results need of the loop: of what is carried, and of the leaves. */
function neededOf(loop: Loop, results: readonly Node<ScanAttrs>[]): Set<Node> {
  const roots = results.map((r) => resultOf(r.attrs));
  const wanted = new Set<number>(results.filter((r) => !isStacked(r.attrs)).map((r) => r.attrs.output));
  for (let before = -1; before !== wanted.size; ) {
    before = wanted.size;
    const reached = new Set(toposort([...roots, ...[...wanted].map((i) => loop.next[i])]));
    loop.carry.forEach((c, i) => reached.has(c) && wanted.add(i));
  }
  return new Set(toposort([...roots, ...[...wanted].flatMap((i) => [loop.next[i], loop.carry[i]])]));
}

/**
 * Whether workers must wait for each other after a step: unless each does all that it does in one phase, and finds what it left
 * itself of what is carried.
 */
function mustMeet({ instrs, phases }: Schedule, carried: readonly (readonly [Allocation, Allocation])[]): boolean {
  if (phases > 1) return true;
  return carried.some(([from, to]) =>
    instrs.some((w) =>
      w.writes
        .filter((x) => x.buffer === to)
        .some((x) =>
          instrs.some((r) => r.reads.some((y) => y.buffer === from && !sameSlices(w, { ...x, buffer: from }, r, y))),
        ),
    ),
  );
}

/** The words of the body: addresses in the program's buffers, and which of them move on. */
class Words {
  readonly words: Word[] = [];
  readonly inner: Inner[] = [];
  private readonly steps: number[] = [];
  private readonly turns: number[] = [];

  constructor(private readonly placeOf: (b: Allocation) => Place) {}

  barrier(): void {
    this.inner.push({ word: this.words.length, label: BARRIER_LABEL, text: "barrier", inside: 0 });
    this.words.push(...BARRIER);
  }

  add({ words, label, text, inner = [] }: Instr): void {
    const at = this.words.length;
    this.inner.push({ word: at, label, text, inside: inner.length });
    for (const i of inner) this.inner.push({ ...i, word: at + i.word });
    for (const w of words) {
      if (typeof w === "number") {
        this.words.push(w);
        continue;
      }
      const { ref, step, turns } = this.placeOf(w.buffer);
      if (step !== 0) (turns ? this.turns : this.steps).push(this.words.length, step);
      this.words.push({ buffer: ref.buffer, offset: ref.offset + w.offset });
    }
  }

  /** With what comes behind them. */
  get all(): Word[] {
    return [...this.words, ...this.steps, ...this.turns];
  }

  get counts(): { steps: number; turns: number } {
    return { steps: this.steps.length / 2, turns: this.turns.length / 2 };
  }
}

/** Instructions in their phases as words. */
function wordsOf({ schedule }: Body, placeOf: (b: Allocation) => Place, meet: boolean): Words {
  const words = new Words(placeOf);
  let phase = 0;
  schedule.instrs.forEach((i, k) => {
    if (i.units === 0) return;
    for (; phase < schedule.phaseOf[k]; phase++) words.barrier();
    words.add(i);
  });
  if (meet) words.barrier();
  return words;
}

export function scan(l: Lowering, node: Node<ScanAttrs>): void {
  if (l.places.has(node)) return;
  const { loop } = node.attrs;
  const { length, reverse } = loop;
  const results = l.order.filter((n): n is Node<ScanAttrs> => n.op === node.op && together(n as Node<ScanAttrs>, node));
  const needed = neededOf(loop, results);
  const carry = [...loop.carry.keys()].filter((i) => needed.has(loop.carry[i]));
  const stacks = [...new Set(results.filter((r) => isStacked(r.attrs)).map((r) => resultOf(r.attrs)))];
  const inputs = loop.leaves.filter((x) => needed.has(x));
  const others = stacks.filter((y) => !carry.some((i) => loop.next[i] === y || loop.carry[i] === y));
  const graph: Computation = {
    inputs,
    residents: [],
    outputs: [],
    updates: [...carry.map((i) => loop.next[i]), ...others],
  };
  const body = l.compileBody(graph);

  const places: Place[] = [];
  const at = (b: Allocation, place: Place): void => {
    places[b.id] = place;
  };
  const part = (n: Node): number => byteLength(n.shape, n.dtype);
  const moved = ({ buffer, offset }: Ref, by: number): Ref => ({ buffer, offset: offset + by });
  /** Of what lies in parts, one for each step: that of the first step, and the way to the next. */
  const parts = (ref: Ref, bytes: number): Place =>
    reverse ? { ref: moved(ref, (length - 1) * bytes), step: -bytes } : { ref, step: bytes };
  const reads: Touch[] = [];
  const writes: Touch[] = [];
  const sourceOf = (x: Node): Node => node.src[loop.leaves.indexOf(x)];
  inputs.forEach((x, k) => {
    if (loop.carry.includes(x)) return;
    const ref = l.ref(sourceOf(x));
    reads.push([ref, 0]);
    at(body.inputs[k], loop.xs.includes(x) ? parts(ref, part(x)) : { ref, step: 0 });
  });
  const setResult = (n: Node, ref: Ref): void => {
    for (const r of results) if (isStacked(r.attrs) && resultOf(r.attrs) === n) l.places.set(r, ref);
  };
  carry.forEach((i, k) => {
    const x = loop.carry[i];
    const bytes = part(x);
    const all =
      stacks.includes(x) || (stacks.includes(loop.next[i]) && carry.find((j) => loop.next[j] === loop.next[i]) === i);
    const slots = all ? length + 1 : 2;
    const whole: Ref = { buffer: l.buffer(slots * bytes, x.dtype), offset: 0 };
    const first = all && reverse ? length : 0;
    const step = all && reverse ? -bytes : bytes;
    emitMap(l, node, x.shape, [], [{ node: sourceOf(x), to: moved(whole, first * bytes) }]);
    reads.push([whole, 0]);
    writes.push([whole, 0]);
    const turns = !all;
    at(body.inputs[inputs.indexOf(x)], { ref: moved(whole, first * bytes), step, turns });
    at(body.updates[k], { ref: moved(whole, first * bytes + step), step: turns ? -step : step, turns });
    const end = all ? (reverse ? 0 : length) : length % 2;
    for (const r of results) if (r.attrs.output === i) l.places.set(r, moved(whole, end * bytes));
    if (!all) return;
    // Into a step, and out of it.
    setResult(x, moved(whole, reverse ? bytes : 0));
    if (carry.find((j) => loop.next[j] === loop.next[i]) === i)
      setResult(loop.next[i], moved(whole, reverse ? 0 : bytes));
  });
  others.forEach((y, k) => {
    const all = results.filter((r) => isStacked(r.attrs) && resultOf(r.attrs) === y);
    const ref = l.result(all[0]);
    for (const r of all) l.places.set(r, ref);
    writes.push([ref, 0]);
    at(body.updates[carry.length + k], parts(ref, part(y)));
  });
  const own: Ref = { buffer: l.buffer(body.plan.bytes, "float32"), offset: 0 };
  const placeOf = (b: Allocation): Place =>
    places[b.id] ?? { ref: moved(own, body.plan.offsets.get(b.id) ?? 0), step: 0 };

  const carried = carry.map((i, k) => [body.inputs[inputs.indexOf(loop.carry[i])], body.updates[k]] as const);
  const words = wordsOf(body, placeOf, mustMeet(body.schedule, carried));
  const lanes = body.schedule.instrs.reduce((most, i) => Math.max(most, i.lanes), 1);
  const all = words.all;
  const bytes = align(4 * all.length);
  const copies: Ref = { buffer: l.buffer(lanes * bytes, "int32"), offset: 0 };
  writes.push([own, 0], [copies, 0]);
  const { steps, turns } = words.counts;
  const head = l.words<typeof isa.Loop>({
    [isa.Loop.Count]: length,
    [isa.Loop.Copies]: copies,
    [isa.Loop.Bytes]: bytes,
    [isa.Loop.Words]: words.words.length,
    [isa.Loop.Instructions]: words.inner.length,
    [isa.Loop.Steps]: steps,
    [isa.Loop.Turns]: turns,
  });
  const inner = words.inner.map((i) => ({ ...i, word: i.word + head.length }));
  const cost = length * body.schedule.instrs.reduce((sum, i) => sum + i.cost, 0);
  l.emit(
    isa.Opcode.Loop,
    [...head, ...all],
    lanes,
    node,
    reads,
    writes,
    Math.max(cost, lanes * isa.Lane.Nanoseconds),
    `loop of ${length} steps`,
    inner,
  );
}
