/** @file Programs in memory, as images: their code, adjusted to where everything lies, with their own inputs and outputs. */
import type { TypedArray } from "../core/dtype.ts";
import { align, INPUTS, OUTPUTS, type Program } from "../program/program.ts";
import type { Allocator } from "./memory.ts";

/** The program's code in memory. */
export interface Image {
  readonly address: number;
  /** Its own inputs and outputs, for launches of one run. */
  readonly inputs: number;
  readonly outputs: number;
  /** Address of each region the code is adjusted to. */
  bases: readonly number[];
  /** What its own inputs hold. */
  held: readonly TypedArray[];
}

/** A program in memory; twice if it is called while it runs: one image may be in use while the other is adjusted. */
export interface Loaded {
  readonly images: Image[];
  /** Words to adjust, by region. */
  readonly words: readonly (readonly number[])[];
  /** What an image begins with. */
  readonly text: Int32Array;
  /** Of an image. */
  readonly bytes: number;
}

/** Images to be run, and those of them that are new. */
export interface Taken {
  readonly loaded: Loaded;
  readonly used: readonly Image[];
  readonly made: readonly Image[];
}

type Busy = (image: Image) => boolean;

/** All images of a session. What does not run may be evicted: a program that comes again is copied to memory again. */
export class Images {
  private readonly programs = new WeakMap<Program, Loaded>();
  /** The program that was used last is the last one. What is not here was evicted. */
  private readonly loaded = new Set<Loaded>();
  private newest: Loaded | undefined;
  private readonly collected = new FinalizationRegistry<Loaded>((loaded) => this.evict(loaded));
  private allocator: Allocator | undefined;

  /** Bytes of all images. */
  get bytes(): number {
    let sum = 0;
    for (const { images, bytes } of this.loaded) sum += images.length * bytes;
    return sum;
  }

  private of(program: Program): Loaded | undefined {
    const loaded = this.programs.get(program);
    return loaded && this.loaded.has(loaded) ? loaded : undefined;
  }

  /** How many images of a program may be adjusted now, or made: two of them are enough. */
  idle(program: Program, busy: Busy): number {
    let idle = 2;
    const loaded = this.of(program);
    if (loaded) for (const image of loaded.images) if (busy(image)) idle--;
    return idle;
  }

  /** `count` images of a program that are not busy; new ones are among the writes. Throws an OutOfMemoryError. */
  take(
    program: Program,
    count: number,
    busy: Busy,
    allocator: Allocator,
    writes: { address: number; data: ArrayBufferView }[],
  ): Taken {
    this.allocator = allocator;
    const loaded = this.of(program) ?? prepare(program);
    const used: Image[] = [];
    const made: Image[] = [];
    for (const image of loaded.images) if (used.length < count && !busy(image)) used.push(image);
    try {
      while (used.length < count) {
        const image = imageAt(allocator.alloc(loaded.bytes), program, loaded);
        writes.push({ address: image.address, data: loaded.text });
        made.push(image);
        used.push(image);
      }
    } catch (error) {
      this.giveBack(made);
      throw error;
    }
    return { loaded, used, made };
  }

  /** Frees new images that are not needed after all. */
  giveBack(made: readonly Image[]): void {
    for (const { address } of made) this.allocator?.free(address);
  }

  /** What was taken is in memory from now on, and was used last. */
  keep(program: Program, { loaded, made }: Taken): void {
    loaded.images.push(...made);
    if (this.newest === loaded) return;
    this.newest = loaded;
    if (!this.loaded.delete(loaded)) {
      this.programs.set(program, loaded);
      this.collected.register(program, loaded);
    }
    this.loaded.add(loaded);
  }

  /** Evicts programs that do not run, the one that was used longest ago first, until all take `most` bytes. */
  trim(most: number, busy: Busy): void {
    let total = this.bytes;
    for (const loaded of this.loaded) {
      if (total <= most) return;
      if (loaded.images.some(busy)) continue;
      total -= loaded.images.length * loaded.bytes;
      this.evict(loaded);
    }
  }

  private evict(loaded: Loaded): void {
    if (!this.loaded.delete(loaded)) return;
    if (this.newest === loaded) this.newest = undefined;
    this.giveBack(loaded.images);
  }

  /** The memory is gone, with all that was in it. */
  forget(): void {
    this.loaded.clear();
    this.newest = undefined;
    this.allocator = undefined;
  }
}

/** What images of a program are made from. */
function prepare(program: Program): Loaded {
  const words: number[][] = [];
  const advances: number[] = [];
  const stride = [0, 2 * program.inputBytes, 2 * program.outputBytes];
  const { relocations, code } = program;
  for (let i = 0; i < relocations.length; i += 2) {
    const [word, region] = [relocations[i], relocations[i + 1]];
    words[region] ??= [];
    words[region].push(word);
    if (region === INPUTS || region === OUTPUTS) advances.push(word, stride[region]);
  }
  const text = new Int32Array(code.length + 1 + advances.length);
  text.set(code);
  text.set([advances.length / 2, ...advances], code.length);
  return { images: [], words, text, bytes: align(text.byteLength) + program.inputBytes + program.outputBytes };
}

/** An image that lies at an address. */
function imageAt(address: number, program: Program, { text }: Loaded): Image {
  const inputs = address + align(text.byteLength);
  return { address, inputs, outputs: inputs + program.inputBytes, bases: [], held: [] };
}

/** Notes the words to write for an image whose regions are to lie at `bases`. */
export function adjust(
  program: Program,
  loaded: Loaded,
  image: Image,
  bases: readonly number[],
  patches: number[],
): void {
  for (let r = 0; r < bases.length; r++) {
    if (bases[r] === image.bases[r]) continue;
    for (const w of loaded.words[r] ?? []) patches.push(image.address + w * 4, (program.code[w] + bases[r]) | 0);
  }
}
