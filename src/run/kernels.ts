/** @file The kernels' binary: which one the engine can take, and how it is loaded. A page loads one only. */
import { platform } from "#platform";
import { FourlaneError } from "../core/errors.ts";

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

/** Loads and compiles the kernels, with relaxed SIMD or without, for a shared memory or a private one. */
export async function loadKernels(relaxed: boolean, shared: boolean): Promise<WebAssembly.Module> {
  try {
    const { default: packed } = await (relaxed ? import("#kernels/relaxed") : import("#kernels/plain"));
    const binary = await platform.unpack(packed);
    return await WebAssembly.compile(shared ? forSharedMemory(binary) : binary);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FourlaneError("LOAD", `the kernels could not be loaded: ${why}`, { cause });
  }
}
