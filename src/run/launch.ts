/** @file A launch put together: where everything lies, what is written before it and read after it. */
import { INPUTS, OUTPUTS, type Program } from "../program/program.ts";
import { allocate, type TypedArray, viewAs } from "../core/dtype.ts";
import { DisposedError } from "../core/errors.ts";
import { numel } from "../core/shape.ts";
import type { Device, Job, Span } from "./device.ts";
import type { Holdings } from "./holdings.ts";
import { adjust, type Image, type Taken } from "./images.ts";
import { timesOf } from "./protocol.ts";
import type { Bound, State } from "./state.ts";

export interface LaunchArgs {
  /** If it failed, the launch fails likewise. */
  readonly after?: Promise<unknown>;
  /** How many times the program runs, one run after the other, each from where the one before left the variables; default 1. */
  readonly count?: number;
  /** Called with the times of each worker that took part, as timesOf in protocol.ts says. */
  readonly onTimes?: (times: Float64Array[]) => void;
  /** One array per input: one value for all runs, or the values of all runs, one after the other. */
  readonly inputs: readonly (TypedArray | Promise<TypedArray>)[];
  readonly residents: readonly Bound[];
  readonly updates: readonly State[];
  /** Which change of each of them it is; the queue counts. */
  readonly changes?: readonly number[];
  /** Whose the updates are: kept until the launch has ended. */
  readonly holders?: readonly object[];
  /** Whether it is begun anew, once, if its workers fail: nobody waits for it who could do that. */
  readonly patient?: boolean;
  /** Whether that was done. */
  readonly tried?: boolean;
  /**
   * Called if the updates did not take place, for the workers were hit or for another reason. Whether the next to use one of them
   * is told why, for nobody else is.
   */
  readonly failed?: (hit: boolean) => boolean;
  /** If it fails, and not for its workers, this takes its place: what comes to the same outputs without the updates. */
  readonly instead?: (why: unknown) => Order;
}

/** A program and what it is to be run with. */
export type Order = readonly [program: Program | Promise<Program>, args: LaunchArgs];

/** A launch whose values are known. */
export interface Prepared {
  readonly program: Program;
  readonly args: LaunchArgs;
  readonly values: readonly TypedArray[];
  readonly count: number;
}

/** A launch that can be given to the device. */
export interface Assembled {
  readonly job: Job;
  readonly taken: Taken;
  /** To be called once the device has it: counts its changes as made. Returns what takes that back. */
  begun(): () => void;
  /** To be called if it began and did not come to its end, after it was taken back. */
  spoiled(): void;
  /** Frees what it alone uses. */
  release(): void;
  /** The device did not take it: frees whatever was taken for it. */
  abort(): void;
}

/** Bytes the host writes before a run. */
type Write = Job["writes"][number];

/** Where states lie in the first run, and in the second; what must be written for that. */
function bind(
  device: Device,
  holdings: Holdings,
  { residents, updates }: LaunchArgs,
  several: boolean,
): { places: [number, number][]; writes: Write[]; uploads: State[]; old: Set<State> } {
  const places: [number, number][] = [];
  const writes: Write[] = [];
  // In memory once the writes are done; until then anything may fail, for want of memory or because a tensor is stale.
  const uploads: State[] = [];
  /** Of several runs: the places of residents that stand for their state's value now. */
  const live = new Map<State, [number, number]>();
  /** Whose value before the current one is read. */
  const old = new Set<State>();
  const upload = (state: State): void => {
    if (state.uploaded || state.empty || uploads.includes(state)) return;
    writes.push({ address: state.slots?.[state.current] as number, data: state.host as TypedArray });
    uploads.push(state);
  };
  for (const { state, seen } of residents) {
    const slot = state.slotOf(seen);
    const slots = holdings.slots(device, state, slot === state.current ? 1 : 2);
    if (slot === state.current) upload(state);
    else {
      old.add(state);
      if (state.before) writes.push({ address: slots[slot], data: state.before });
    }
    const place: [number, number] = [slots[slot], slots[slot]];
    places.push(place);
    if (several && seen === undefined) live.set(state, place);
  }
  for (const state of updates) {
    if (state.disposed) throw new DisposedError("a variable was updated after it was disposed");
    const slots = holdings.slots(device, state, 2);
    const { current } = state;
    upload(state); // as the value before, it may still be read
    places.push([slots[1 - current], slots[current]]);
    // What one run writes, the next one reads.
    const read = live.get(state);
    if (read) read[1] = slots[1 - current];
  }
  return { places, writes, uploads, old };
}

/** Puts a launch together. What it needs is in memory then, or nothing of it. Throws a StaleError or an OutOfMemoryError. */
export function assemble(
  device: Device,
  holdings: Holdings,
  { program, args, values, count }: Prepared,
  busy: (image: Image) => boolean,
): Assembled {
  const { residents, updates } = args;
  const { allocator } = device;
  for (const { state, seen } of residents) state.tell(seen);
  holdings.reserve(device, program.arenaBytes);
  const { places, writes, uploads, old } = bind(device, holdings, args, count > 1);
  const temporary = new Set<number>();
  const take = (bytes: number): number => {
    const address = allocator.alloc(bytes);
    temporary.add(address);
    return address;
  };
  const release = (): void => {
    for (const address of temporary) allocator.free(address);
  };
  const taken = holdings.images.take(program, count > 1 ? 2 : 1, busy, allocator, writes);
  const abort = (): void => {
    release();
    holdings.images.giveBack(taken.made);
  };
  try {
    const { loaded, used } = taken;
    const [own] = used;
    // What is read is not overwritten: the new value goes to a third place, and the place of the old one is free then.
    const elsewhere = updates.map((u, i) => {
      if (!old.has(u)) return undefined;
      const update = places[residents.length + i];
      const [before] = update;
      const place = take(u.bytes);
      update[0] = place;
      return { place, before };
    });
    let { inputs, outputs } = own;
    if (count > 1)
      [inputs, outputs] = [program.inputBytes, program.outputBytes].map((bytes) =>
        bytes > 0 ? take(bytes * count) : 0,
      );
    const patches: number[] = [];
    const bases = used.map((image, run) => {
      const io = [inputs + run * program.inputBytes, outputs + run * program.outputBytes];
      const now = [holdings.arena.address, ...io, ...places.map((p) => p[run])];
      adjust(program, loaded, image, now, patches);
      // Several runs move on through their inputs and outputs.
      return count === 1 ? now : now.map((base, r) => (r === INPUTS || r === OUTPUTS ? -1 : base));
    });
    values.forEach((data, i) => {
      if (count === 1 && own.held[i] === data) return;
      const { offset, bytes } = program.inputs[i];
      const same = data.byteLength === bytes;
      for (let run = 0; run < count; run++) {
        const length = data.length / count;
        const value = same ? data : data.subarray(run * length, (run + 1) * length);
        writes.push({ address: inputs + offset + run * program.inputBytes, data: value });
      }
    });
    const reads = program.outputs.map((o) => ({
      address: outputs + o.offset,
      bytes: count === 1 ? o.bytes : (count - 1) * program.outputBytes + o.bytes,
    }));
    const team = Math.min(device.workers, program.lanes);
    let times: Span | undefined;
    if (args.onTimes) {
      const bytes = 8 * timesOf(program.labels.length);
      times = { address: take(team * bytes), bytes };
      for (let w = 0; w < team; w++) reads.push({ address: times.address + w * bytes, bytes });
    }
    // A private memory dies with its worker: what it updates comes back with every launch.
    if (!device.shared)
      updates.forEach((u, i) => {
        reads.push({ address: places[residents.length + i][(count - 1) & 1], bytes: u.bytes });
      });
    const job: Job = {
      writes,
      patches,
      images: [used[0].address, used[used.length - 1].address],
      length: program.code.length,
      instructions: program.labels.length,
      count,
      lanes: program.lanes,
      times,
      reads,
    };
    const begun = (): (() => void) => {
      used.forEach((image, run) => {
        image.bases = bases[run];
      });
      if (count === 1) own.held = values;
      holdings.images.keep(program, taken);
      for (const state of uploads) state.uploaded = true;
      const exchange = (from: "place" | "before", to: "place" | "before"): void => {
        for (const e of elsewhere) if (e && temporary.delete(e[from])) temporary.add(e[to]);
      };
      const undos = updates.map((u, i) => u.advance(args.changes?.[i] ?? u.enqueued, count, elsewhere[i]?.place));
      exchange("place", "before");
      return () => {
        for (const undo of undos) undo();
        exchange("before", "place");
      };
    };
    const spoiled = (): void => updates.forEach((u, i) => !elsewhere[i] && u.spoiled());
    return { job, taken, begun, spoiled, release, abort };
  } catch (error) {
    abort();
    throw error;
  }
}

/** The results of a completed launch. */
export function outputsOf(
  { program, args, count }: Prepared,
  device: Device,
  reads: readonly ArrayBuffer[],
): TypedArray[] {
  if (!device.shared)
    args.updates.forEach((u, i) => {
      u.host = viewAs(u.dtype, reads[reads.length - args.updates.length + i], 0, numel(u.shape));
    });
  if (args.onTimes) {
    const first = program.outputs.length;
    const team = Math.min(device.workers, program.lanes);
    args.onTimes(reads.slice(first, first + team).map((r) => new Float64Array(r)));
  }
  return program.outputs.map((o, i) => {
    const length = numel(o.shape);
    if (count === 1) return viewAs(o.dtype, reads[i], 0, length);
    const all = allocate(o.dtype, count * length);
    for (let run = 0; run < count; run++)
      all.set(viewAs(o.dtype, reads[i], run * program.outputBytes, length), run * length);
    return all;
  });
}
