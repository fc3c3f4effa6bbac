// Compiles each family of kernels to two binaries from one source: plain and relaxed SIMD. They import a private memory;
// src/run/kernels.ts makes them take a shared one. For benchmarks, the multiply-add ceiling is a binary beside each.
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import asc from "assemblyscript/asc";
import { isa, numbersOf } from "./isa.js";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");

export const VARIANTS = ["plain", "relaxed"];

/** The id of a binary's section of exports. */
const EXPORTS = 7;

/** Names of the families, as their files have them, by number. */
export const FAMILIES = Object.keys(numbersOf("Family")).map((name) => name.toLowerCase());

/** What the worker calls of a family: kernels, by the numbers of their instructions. {name of an export: shipped name} */
export function callsOf(family) {
  const names = family === "core" ? { writeConstants: "writeConstants" } : {};
  for (const [name, opcode] of Object.entries(numbersOf("Opcode")))
    if (opcode > 0 && FAMILIES[Math.floor(opcode / isa.Range.Opcodes)] === family) names[name] = String(opcode);
  return names;
}

/** Builds one variant of a family into build/FAMILY.VARIANT.wasm and returns its bytes. */
export const buildKernels = (family, variant) => compile(`families/${family}`, family, variant);

/** Builds one variant of the ceiling. */
export const buildPeak = (variant) => compile("peak", "peak", variant);

/** Compiles a file of assembly/ and what it imports into build/. */
async function compile(entry, name, variant) {
  const features = ["simd", ...(variant === "relaxed" ? ["relaxed-simd"] : [])];
  const binary = `build/${name}.${variant}.wasm`;
  const args = [
    `assembly/${entry}.ts`,
    "--outFile",
    binary,
    "--textFile",
    `build/${name}.${variant}.wat`,
    "--optimizeLevel",
    "2", // 3 re-nests chains of multiply-adds and costs up to 40 %
    "--shrinkLevel",
    "2", // a tenth less to load than with 0, and not slower
    "--runtime",
    "stub",
    "--noAssert",
    "--importMemory",
    "--noExportMemory",
    "--initialMemory",
    "2",
    "--maximumMemory",
    String(isa.Size.Pages),
    "--enable",
    features.join(","),
  ];
  const outputs = new Map();
  const { error, stderr } = await asc.main(args, {
    readFile: undefined,
    writeFile: async (file, contents, baseDir) => {
      const path = resolve(baseDir ?? root, file);
      outputs.set(file, contents);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, contents);
    },
  });
  if (error) throw new Error(`asc failed on ${name}, ${variant}: ${error.message}\n${stderr.toString()}`);
  return outputs.get(binary);
}

const leb = (value) => (value < 128 ? [value] : [(value & 127) | 128, ...leb(value >> 7)]);

/**
 * The binary with those exports only, under other names: {name: new name}. The others are for tests, and their names a
 * hundredth of what a page loads.
 */
export function withExports(binary, names) {
  let at = 8; // behind magic number and version
  const number = () => {
    for (let value = 0, shift = 0; ; shift += 7) {
      value |= (binary[at] & 127) << shift;
      if (binary[at++] < 128) return value;
    }
  };
  for (;;) {
    const section = at;
    const id = binary[at++];
    const size = number();
    const end = at + size;
    if (id !== EXPORTS) {
      at = end;
      continue;
    }
    const kept = [];
    for (let left = number(); left > 0; left--) {
      const length = number();
      const name = names[Buffer.from(binary.subarray(at, at + length)).toString()];
      const what = (at += length); // kind and index
      at++;
      number();
      if (name) kept.push(Uint8Array.from(leb(name.length)), Buffer.from(name), binary.subarray(what, at));
    }
    const count = kept.length / 3;
    const wanted = Object.keys(names).length;
    if (count !== wanted) throw new Error(`the kernels export ${count} of ${wanted} names`);
    const content = Buffer.concat([Uint8Array.from(leb(count)), ...kept]);
    return Buffer.concat([
      binary.subarray(0, section),
      Uint8Array.from([EXPORTS, ...leb(content.length)]),
      content,
      binary.subarray(end),
    ]);
  }
}

/** Every binary with a name of its own: in turns, for asc runs in this thread. */
export async function buildAll(make, only = VARIANTS) {
  for (const variant of only) {
    await buildPeak(variant);
    for (const family of FAMILIES) await make(family, variant);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.chdir(root);
  const only = process.argv[2];
  await buildAll(
    buildKernels,
    VARIANTS.filter((variant) => !only || variant === only),
  );
}
