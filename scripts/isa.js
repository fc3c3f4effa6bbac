// The instruction set for programs that are not TypeScript: assembly/isa.ts itself, so no number is written down twice.
import { readFileSync } from "node:fs";
import { transformSync } from "esbuild";

const source = readFileSync(new URL("../assembly/isa.ts", import.meta.url), "utf8");
const { code } = transformSync(source, { loader: "ts", format: "esm" });

export const isa = await import(`data:text/javascript,${encodeURIComponent(code)}`);

/** {name: number} of an enumeration. */
export const numbersOf = (name) =>
  Object.fromEntries(Object.entries(isa[name]).filter(([key]) => Number.isNaN(Number(key))));
