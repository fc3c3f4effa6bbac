// Compiles assembly/ to two binaries from one source: plain and relaxed SIMD. They import a private memory; src/run/kernels.ts
// makes them take a shared one.
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import asc from "assemblyscript/asc";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");

export const VARIANTS = ["plain", "relaxed"];

/** Builds one variant into build/kernels.NAME.wasm and returns its bytes. */
export async function buildKernels(name) {
  const features = ["simd", ...(name === "relaxed" ? ["relaxed-simd"] : [])];
  const args = [
    "assembly/index.ts",
    "--outFile",
    `build/kernels.${name}.wasm`,
    "--textFile",
    `build/kernels.${name}.wat`,
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
    "65536",
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
  if (error) throw new Error(`asc failed on ${name}: ${error.message}\n${stderr.toString()}`);
  return outputs.get(`build/kernels.${name}.wasm`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.chdir(root);
  const only = process.argv[2];
  for (const variant of VARIANTS) if (!only || variant === only) await buildKernels(variant);
}
