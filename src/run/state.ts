/** @file Values that outlive steps. */
import { byteLength, type DType, type TypedArray, viewAs } from "../core/dtype.ts";
import { DisposedError, FourlaneError, StaleError } from "../core/errors.ts";
import { numel, type Shape, show } from "../core/shape.ts";

/** The failure of a launch, to be told once to one of those who use what it was to change. */
export interface Notice {
  readonly why: unknown;
  told: boolean;
}

/** A value that outlives steps: a parameter, a moment of an optimiser, a learning rate, a captured tensor. */
export class State {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly bytes: number;
  /** Changes asked for so far; what refers to an older value knows by this count. */
  enqueued = 0;
  /** A tensor from outside; otherwise a parameter, a moment or a random state. */
  readonly captured: boolean;
  /** The value on this side, if it is known here; and the one before it, if it left memory. */
  host: TypedArray | null;
  before: TypedArray | null = null;
  /** The value while it is being computed elsewhere. */
  arriving: Promise<void> | undefined;
  /** The two places in memory; the second exists once a program updates the state. */
  slots: [number, number] | null = null;
  current: 0 | 1 = 0;
  /** Whether memory holds what `host` holds. */
  uploaded = false;
  /** Which change made the current value; a change that failed made none. */
  changedAt = 0;
  /** Which change made the value before, in the other slot; Infinity if there is none. */
  previousAt = Number.POSITIVE_INFINITY;
  /** Whether a program has yet to compute the first value. */
  empty: boolean;
  /** Why the last change that failed did so. */
  failure: unknown;
  /** A change that failed when nobody was there to be told: which one. */
  private untold: { readonly change: number; readonly notice: Notice } | undefined;
  disposed = false;

  /** `value`: null if a program is to compute the first one. */
  constructor(shape: Shape, dtype: DType, value: TypedArray | Promise<TypedArray> | null, captured: boolean) {
    this.shape = shape;
    this.dtype = dtype;
    this.captured = captured;
    this.bytes = byteLength(shape, dtype);
    this.host = ArrayBuffer.isView(value) ? value : null;
    this.empty = value === null;
    if (!(value instanceof Promise)) return;
    this.arriving = value.then((array) => {
      this.host = array;
      this.arriving = undefined;
    });
    this.arriving.catch(() => {}); // reported by the launches that need it
  }

  /** Throws the failure of a change that the value after `seen` changes depends on, unless somebody was told of it. */
  tell(seen: number | undefined): void {
    const { untold } = this;
    if (!untold || (seen !== undefined && seen < untold.change)) return;
    this.untold = undefined;
    if (untold.notice.told) return;
    untold.notice.told = true;
    throw untold.notice.why;
  }

  /** Somebody was told of this failure. */
  forgive(why: unknown): void {
    if (this.untold && this.untold.notice.why === why) this.untold.notice.told = true;
  }

  /** A change set the value from outside. */
  replaced(change: number): void {
    this.untold = undefined;
    this.previousAt = Number.POSITIVE_INFINITY;
    this.before = null;
    this.changedAt = change;
    this.empty = false;
  }

  /**
   * Takes a change as carried out by `steps` steps, each of which writes the other slot; or one that wrote to a new place,
   * since it read what is there, and which takes its place. Returns what takes it back.
   */
  advance(change: number, steps: number, place?: number): () => void {
    const { host, before, uploaded, current, slots, changedAt, previousAt, empty, untold } = this;
    this.untold = undefined;
    this.previousAt = steps === 1 && !empty ? changedAt : Number.POSITIVE_INFINITY;
    // However often the first value was tried: it is the one that was meant since the beginning.
    this.changedAt = empty ? 0 : change;
    this.empty = false;
    this.before = null;
    this.current = ((current + steps) & 1) as 0 | 1;
    if (place && slots) this.slots = current === 0 ? [slots[0], place] : [place, slots[1]];
    this.host = null;
    this.uploaded = true;
    return () => {
      const since = this.untold; // of one that came behind and did not even begin
      Object.assign(this, { host, before, uploaded, current, slots, changedAt, previousAt, empty });
      this.untold = since ?? untold;
    };
  }

  /** After a step that was taken back, but may have written the other slot. */
  spoiled(): void {
    if (!this.before) this.previousAt = Number.POSITIVE_INFINITY;
  }

  /** A change did not take place; with a notice whoever uses the state next is told. */
  failed(change: number, why: unknown, notice?: Notice): void {
    this.failure = why;
    if (notice) this.untold = { change, notice };
  }

  /**
   * Which of its places has the value after `seen` changes; the value now without.
   * @throws StaleError if later changes overwrote it.
   */
  slotOf(seen: number | undefined): 0 | 1 {
    if (this.disposed) throw new DisposedError("a tensor was used after it was disposed");
    if (this.empty) throw this.failure ?? new FourlaneError("INTERNAL", "a variable has no value yet");
    if (seen === undefined || seen >= this.changedAt) return this.current;
    if (seen >= this.previousAt) return (1 - this.current) as 0 | 1;
    throw new StaleError(
      `a tensor depends on a value of a variable of shape ${show(this.shape)} that later changes overwrote; ` +
        "read it before the variable changes again",
    );
  }

  /** What one of its places has to hold, if it is known on this side. */
  hostOf(slot: 0 | 1): TypedArray | null {
    return slot === this.current ? this.host : this.before;
  }

  /** Values that are in memory alone, and what to do with their bytes. */
  get away(): { address: number; bytes: number; arrived: (value: ArrayBuffer) => void }[] {
    const { slots, current, bytes, uploaded, previousAt } = this;
    if (!slots) return [];
    const view = (value: ArrayBuffer): TypedArray => viewAs(this.dtype, value, 0, numel(this.shape));
    const all = [];
    if (uploaded && !this.host)
      all.push({ address: slots[current], bytes, arrived: (v: ArrayBuffer) => void (this.host = view(v)) });
    if (previousAt < Number.POSITIVE_INFINITY && !this.before)
      all.push({ address: slots[1 - current], bytes, arrived: (v: ArrayBuffer) => void (this.before = view(v)) });
    return all;
  }

  /** Forgets its places in memory. */
  leave(): void {
    this.slots = null;
    this.current = 0;
    this.uploaded = false;
    if (!this.before) this.previousAt = Number.POSITIVE_INFINITY;
  }
}

/** A state as a leaf of a program: its current value, or that after `seen` changes. */
export interface Bound {
  readonly state: State;
  readonly seen?: number;
  /** Whose state it is: kept until the launch has ended. */
  readonly holder?: object;
}
