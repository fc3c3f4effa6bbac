/** @file The kernels' binaries: which the engine can take, and how those are loaded that programs need. */
import * as isa from "../../assembly/isa.ts";
import { platform } from "#platform";
import { FourlaneError, ValueError } from "../core/errors.ts";

/** A module of one function, `f32x4.relaxed_madd` of three zero vectors: engines without relaxed SIMD refuse it. */
export function relaxedProbe(): Uint8Array<ArrayBuffer> {
  const zeros = [0xfd, 0x0c, ...new Array<number>(16).fill(0)];
  const body = [0, ...zeros, ...zeros, ...zeros, 0xfd, 0x85, 0x02, 0x1a, 0x0b];
  const head = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0];
  return Uint8Array.of(...head, 10, body.length + 2, 1, body.length, ...body);
}

export function hasRelaxedSimd(): boolean {
  return WebAssembly.validate(relaxedProbe());
}

/** How the binary's import of its memory begins; the flags of the memory's limits follow. */
const IMPORT = "\x03env\x06memory\x02";
const SHARED = 2;

/** The binary for a memory that is shared: a flag of the import says so, and nothing else differs. */
export function forSharedMemory(binary: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const copy = binary.slice();
  const at = String.fromCharCode(...copy.subarray(0, 4096)).indexOf(IMPORT);
  copy[at + IMPORT.length] |= SHARED;
  return copy;
}

type Load = () => Promise<{ default: string }>;

/** What the files of each family are called, and how the plain and the relaxed one are imported: in a way that bundlers see. */
const BINARIES: Readonly<Record<isa.Family, readonly [name: string, plain: Load, relaxed: Load]>> = {
  [isa.Family.Core]: ["core", () => import("#kernels/core.plain"), () => import("#kernels/core.relaxed")],
  [isa.Family.Various]: ["various", () => import("#kernels/various.plain"), () => import("#kernels/various.relaxed")],
  [isa.Family.Convolution]: [
    "convolution",
    () => import("#kernels/convolution.plain"),
    () => import("#kernels/convolution.relaxed"),
  ],
  [isa.Family.Pooling]: ["pooling", () => import("#kernels/pooling.plain"), () => import("#kernels/pooling.relaxed")],
  [isa.Family.Norm]: ["norm", () => import("#kernels/norm.plain"), () => import("#kernels/norm.relaxed")],
  [isa.Family.Attention]: [
    "attention",
    () => import("#kernels/attention.plain"),
    () => import("#kernels/attention.relaxed"),
  ],
};

/** How wide the vectors are that kernels are compiled for: the first ones decide, for engines keep what they compiled. */
let width: number | undefined;

/** Has kernels compiled for vectors of so many bits. @throws ValueError if that cannot be. */
function setWidth(bits: number): void {
  if (width === bits || (bits === 128 && width === undefined)) return;
  const why = width === undefined ? platform.widen() : `kernels were compiled for ${width} bits in this process`;
  if (why !== undefined) throw new ValueError(`init: vectors cannot be ${bits} bits wide: ${why}`);
  width = bits;
}

/** Compiled kernels, by family. */
export type Modules = ReadonlyMap<isa.Family, WebAssembly.Module>;

/** The kernels of a session: with relaxed SIMD or without, for a shared memory or a private one. Each family is loaded once. */
export class Kernels {
  private readonly modules = new Map<isa.Family, WebAssembly.Module>();
  private readonly loading = new Map<isa.Family, Promise<void>>();
  private readonly relaxed: boolean;
  private readonly shared: boolean;

  /** @throws ValueError if the engine cannot have vectors that wide. */
  constructor(relaxed: boolean, shared: boolean, bits?: number) {
    if (bits !== undefined) setWidth(bits);
    this.relaxed = relaxed;
    this.shared = shared;
  }

  /**
   * Loads and compiles these families, side by side, unless that was done. Resolves to all there are by then. Rejects
   * with an error that names the file; the next call tries again.
   */
  async load(families: readonly isa.Family[]): Promise<Modules> {
    await Promise.all(
      families.map((family) => {
        let loading = this.loading.get(family);
        if (!loading) {
          loading = this.compile(family);
          this.loading.set(family, loading);
          loading.catch(() => this.loading.delete(family));
        }
        return loading;
      }),
    );
    return this.modules;
  }

  /** Whether all of them are there. */
  has(families: readonly isa.Family[]): boolean {
    return families.every((family) => this.modules.has(family));
  }

  private async compile(family: isa.Family): Promise<void> {
    const { relaxed, shared } = this;
    width ??= 128;
    const [name, plain, fast] = BINARIES[family];
    try {
      const { default: packed } = await (relaxed ? fast : plain)();
      const binary = await platform.unpack(packed);
      this.modules.set(family, await WebAssembly.compile(shared ? forSharedMemory(binary) : binary));
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      const file = `kernels/${name}.${relaxed ? "relaxed" : "plain"}.js`;
      throw new FourlaneError("LOAD", `${file} could not be loaded: ${why}`, { cause });
    }
  }
}
