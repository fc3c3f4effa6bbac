/** @file What a session holds in the device's memory: states, images of programs, the arena; and how room is made there. */
import type { DType, TypedArray } from "../core/dtype.ts";
import type { MemoryUse } from "../core/errors.ts";
import type { Shape } from "../core/shape.ts";
import type { Device } from "./device.ts";
import { collectGarbage } from "./garbage.ts";
import { type Image, Images } from "./images.ts";
import { State } from "./state.ts";

/** Most bytes of programs that are kept in memory while they do not run, and most of the limit. */
const PROGRAM_BYTES = 2 ** 27;
const PROGRAM_SHARE = 1 / 8;
/** After so many bytes of new states, and as much of those there are, a look at which of them nobody needs is due. */
const FRESH_BYTES = 2 ** 26;
const FRESH_SHARE = 1 / 2;
/** Collections of garbage before memory counts as used up. */
const COLLECTIONS = 3;

/** Launches on the device: what they use must stay where it is. */
export interface InUse {
  busy(image: Image): boolean;
  states(): ReadonlySet<State>;
}

export class Holdings {
  readonly images = new Images();
  /** The one place of all intermediate values: programs run one after the other. */
  arena = { address: 0, bytes: 0 };
  private device: Device | undefined;
  private readonly states = new Set<State>();
  /** States to be freed when no launch uses them any more. */
  private readonly doomed = new Set<State>();
  /** Bytes of states that came to memory since the last look at which of them nobody needs. */
  private freshBytes = 0;
  private readonly limit: number;
  /** The queue of launches, once there is one. */
  inUse: InUse = { busy: () => false, states: () => new Set() };

  constructor(limit: number) {
    this.limit = limit;
  }

  /** The memory to use from now on; nothing is in it. */
  moveTo(device: Device): void {
    this.device = device;
  }

  /** Who holds how much. */
  get use(): MemoryUse {
    let [parameters, captured] = [0, 0];
    for (const { slots, bytes, captured: outside } of this.states) {
      const held = slots ? bytes * slots.filter((slot) => slot > 0).length : 0;
      if (outside) captured += held;
      else parameters += held;
    }
    const { limit, images, arena, device } = this;
    const free = device?.allocator.left ?? limit;
    return { limit, parameters, captured, programs: images.bytes, intermediates: arena.bytes, free };
  }

  // --- states ------------------------------------------------------------------------------------------------------------------

  /** A new state with the given value; null: a program is to compute the first one. */
  add(shape: Shape, dtype: DType, value: TypedArray | Promise<TypedArray> | null, captured: boolean): State {
    const state = new State(shape, dtype, value, captured);
    this.states.add(state);
    return state;
  }

  /** Frees a state's memory, as soon as no launch uses it. */
  release(state: State): void {
    if (state.disposed || !this.states.has(state)) return;
    state.disposed = true;
    this.doomed.add(state);
    this.sweep();
  }

  /** Frees the doomed states that no launch uses. */
  sweep(): void {
    if (this.doomed.size === 0) return;
    const used = this.inUse.states();
    for (const state of this.doomed) {
      if (used.has(state)) continue;
      this.doomed.delete(state);
      this.states.delete(state);
      this.freeSlots(state);
      state.host = state.before = null;
    }
  }

  private freeSlots(state: State): void {
    if (state.slots && this.device) for (const slot of state.slots) if (slot) this.device.allocator.free(slot);
    state.leave();
  }

  /** The places of a state: one, or two if it is to be updated. */
  slots(device: Device, state: State, count: 1 | 2): [number, number] {
    const place = (): number => {
      const address = device.allocator.alloc(state.bytes);
      this.freshBytes += state.bytes;
      return address;
    };
    state.slots ??= [place(), 0];
    if (count === 2) state.slots[1 - state.current] ||= place();
    return state.slots;
  }

  /** Brings values of states here, from wherever they are now. */
  async fetch(device: Device, states: readonly State[]): Promise<void> {
    const away = states.flatMap((state) => state.away);
    const spans = away.map(({ address, bytes }) => ({ address, bytes }));
    const buffers = await device.read(spans).catch(() => []); // the worker's end is noticed with the next launch
    buffers.forEach((bytes, i) => away[i].arrived(bytes));
  }

  // --- room --------------------------------------------------------------------------------------------------------------------

  /** Sees to it that the arena has this many bytes; nothing may use it if it has not. */
  reserve(device: Device, bytes: number): void {
    if (this.arena.bytes >= bytes) return;
    this.dropArena();
    this.arena = { address: device.allocator.alloc(bytes), bytes };
  }

  private dropArena(): void {
    if (this.arena.bytes > 0) this.device?.allocator.free(this.arena.address);
    this.arena = { address: 0, bytes: 0 };
  }

  /** After a launch began: programs beyond the bounds are evicted, and what nobody needs is looked for. */
  tidy(device: Device, newImages: boolean): void {
    if (newImages) this.images.trim(Math.min(PROGRAM_BYTES, this.limit * PROGRAM_SHARE), this.inUse.busy);
    if (this.freshBytes <= Math.max(FRESH_BYTES, device.allocator.used * FRESH_SHARE)) return;
    this.freshBytes = 0;
    void collectGarbage();
  }

  /**
   * Makes room after the n-th failure for want of `wanted` bytes; false if there is nothing left to try. `quiet` resolves when
   * nothing is on the device, and nothing comes there before the caller does.
   */
  async relieve(n: number, wanted: number, quiet: () => Promise<void>): Promise<boolean> {
    if (n === 0) {
      this.images.trim(0, this.inUse.busy);
      return true;
    }
    if (n === 1) {
      await quiet();
      this.images.trim(0, this.inUse.busy);
      this.dropArena();
      return true;
    }
    // What nobody refers to any more is freed when finalizers have run. One collection may have begun before it was dropped.
    if (n < 2 + COLLECTIONS && (await collectGarbage())) return true;
    // Enough in all, but in pieces: everything comes here, and goes back side by side when it is used.
    if (this.device === undefined || wanted > this.device.allocator.left || n > 2 + COLLECTIONS) return false;
    await quiet();
    await this.bringHome();
    return true;
  }

  /** Takes the values of all states out of memory, to this side. */
  private async bringHome(): Promise<void> {
    const { device } = this;
    const states = [...this.states].filter((s) => s.slots && !s.disposed);
    if (device) await this.fetch(device, states);
    for (const state of states) if (state.away.length === 0) this.freeSlots(state);
  }

  // --- the end -----------------------------------------------------------------------------------------------------------------

  /** After a fault: takes what the last completed step left out of the memory, which is given up. */
  rescue(): void {
    for (const { away } of this.states)
      for (const { address, bytes, arrived } of away) {
        const value = this.device?.peek(address, bytes);
        if (value) arrived(value);
      }
    this.forgetPlaces();
  }

  /** Gives up everything. */
  end(): void {
    this.forgetPlaces();
    this.states.clear();
    this.doomed.clear();
  }

  private forgetPlaces(): void {
    for (const state of this.states) state.leave();
    this.images.forget();
    this.arena = { address: 0, bytes: 0 };
    this.device = undefined;
  }
}
