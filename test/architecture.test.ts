/** The invariants of ARCHITECTURE.md that can be read off the source. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { describe, expect, test } from "vitest";
import * as isa from "../assembly/isa.ts";
import { familyOf } from "../src/program/program.ts";

const root = join(new URL(import.meta.url).pathname, "../..");

function files(dir: string): string[] {
  return readdirSync(join(root, dir), { withFileTypes: true }).flatMap((e) =>
    e.isDirectory() ? files(`${dir}/${e.name}`) : e.name.endsWith(".ts") ? [`${dir}/${e.name}`] : [],
  );
}

/** Files a file imports, relative to the root; packages as they are written. */
function imports(file: string): string[] {
  const text = readFileSync(join(root, file), "utf8");
  return [...text.matchAll(/^(?:import|export)\s[^;]*?from\s+"([^"]+)"/gms)].map(([, from]) =>
    from.startsWith(".") ? posix.normalize(posix.join(posix.dirname(file), from)) : from,
  );
}

const FLOORS = [
  "assembly/",
  "src/core/",
  "src/graph/",
  "src/ops/",
  "src/diff/",
  "src/program/",
  "src/compile/",
  "src/run/",
  "src/",
];
const floor = (file: string): number => FLOORS.findIndex((prefix) => file.startsWith(prefix));

const SOURCES = files("src");

describe("floors", () => {
  test("a file imports only from its own floor and those below", () => {
    for (const file of SOURCES)
      for (const target of imports(file))
        if (target.startsWith("src/") || target.startsWith("assembly/"))
          expect(floor(target), `${file} imports ${target}`).toBeLessThanOrEqual(floor(file));
  });

  test("of the kernels, TypeScript sees the instruction set alone", () => {
    for (const file of [...SOURCES, ...files("workers")])
      for (const target of imports(file))
        if (target.startsWith("assembly/")) expect(target, file).toBe("assembly/isa.ts");
  });

  test("kernels import nothing from outside assembly/", () => {
    for (const file of files("assembly"))
      for (const target of imports(file)) expect(target, file).toMatch(/^assembly\//);
  });

  test("imports have no cycles", () => {
    const state = new Map<string, "open" | "done">();
    const visit = (file: string, path: string[]): void => {
      if (state.get(file) === "done") return;
      if (state.get(file) === "open") throw new Error(`cycle: ${[...path, file].join(" -> ")}`);
      state.set(file, "open");
      for (const target of imports(file)) if (target.startsWith("src/")) visit(target, [...path, file]);
      state.set(file, "done");
    };
    for (const file of SOURCES) visit(file, []);
  });

  test("only the lowering knows both operations and kernels", () => {
    for (const file of SOURCES) {
      const targets = imports(file);
      const kernels = targets.includes("assembly/isa.ts");
      const operations = targets.some((t) => t.startsWith("src/ops/"));
      if (kernels && operations) expect(file).toMatch(/^src\/compile\/lower\//);
    }
    // And what is there is read by the pipeline alone.
    for (const file of SOURCES.filter((f) => !f.startsWith("src/compile/")))
      for (const target of imports(file)) expect(target, file).not.toMatch(/^src\/compile\/lower\//);
  });

  test("operations of an extension are used by way of it alone: else the compiler would not know them", () => {
    const extensions = files("src/compile/extensions");
    const theirs = extensions.flatMap(imports).filter((t) => t.startsWith("src/ops/") && !/elementwise/.test(t));
    expect(theirs.length).toBe(extensions.length);
    for (const file of SOURCES.filter((f) => !/^src\/(ops|compile)\//.test(f))) {
      const text = readFileSync(join(root, file), "utf8");
      for (const target of theirs)
        expect(new RegExp(`^import (?!type)[^;]*${target.slice("src/".length)}`, "m").test(text), file).toBe(false);
    }
  });

  test("no file is longer than can be read in one sitting, tables of entries aside", () => {
    for (const file of SOURCES.filter((f) => f !== "src/ops/elementwise.ts"))
      expect(readFileSync(join(root, file), "utf8").split("\n").length, file).toBeLessThan(480);
  });

  test("every file has its room: in src/ itself stand the public names alone", () => {
    const loose = readdirSync(join(root, "src"), { withFileTypes: true }).filter((e) => !e.isDirectory());
    expect(loose.map((e) => e.name)).toEqual(["index.ts"]);
  });

  test("what runs programs knows no operation and no gradient; what makes them knows no worker", () => {
    for (const file of SOURCES.filter((f) => f.startsWith("src/run/")))
      for (const target of imports(file)) expect(target, file).not.toMatch(/^src\/(ops|diff|graph|compile)\//);
    for (const file of SOURCES.filter((f) => f.startsWith("src/compile/")))
      expect(readFileSync(join(root, file), "utf8"), file).not.toMatch(/WebAssembly|comlink|postMessage/);
  });
});

describe("package", () => {
  const pkg = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

  test("comlink is the only runtime dependency, and nothing runs at installation", () => {
    expect(Object.keys(pkg.dependencies)).toEqual(["comlink"]);
    for (const script of ["preinstall", "install", "postinstall", "prepare"])
      expect(pkg.scripts[script]).toBeUndefined();
  });

  test("importing it touches neither DOM nor workers", () => {
    for (const platform of ["node", "browser"]) {
      const code = `
        for (const name of ["Worker", "document", "window", "navigator", "crossOriginIsolated"])
          Object.defineProperty(globalThis, name, { configurable: true, get() { throw new Error(name + " was touched"); } });
        await import(${JSON.stringify(new URL(`../dist/${platform}/index.js`, import.meta.url).href)});
        console.log("imported");`;
      const out = execFileSync(process.execPath, ["--input-type=module", "-e", code], { encoding: "utf8" });
      expect(out.trim()).toBe("imported");
    }
  });

  test("there is no eval, and kernels compute without the engine's Math", () => {
    for (const platform of ["node", "browser"]) {
      const code = readFileSync(join(root, `dist/${platform}/index.js`), "utf8");
      expect(/[^.\w]eval\([^)]|new Function\(/.test(code), platform).toBe(false);
    }
    for (const file of files("assembly"))
      expect(/\bMathf?\./.test(readFileSync(join(root, file), "utf8")), file).toBe(false);
  });

  test("every exported type is reachable from the declarations that are shipped", () => {
    expect(pkg.exports["."].types).toBe("./dist/types/src/index.d.ts");
    expect(readFileSync(join(root, "dist/types/src/index.d.ts"), "utf8")).toContain("compile");
  });
});

describe("the instruction set", () => {
  test("no opcode or micro-operation has a number twice", () => {
    for (const list of [isa.Opcode, isa.Micro]) {
      const numbers = Object.values(list).filter((v) => typeof v === "number");
      expect(new Set(numbers).size).toBe(numbers.length);
    }
  });

  test("opcodes count up from a multiple of their families' range without gaps", () => {
    const numbers = Object.values(isa.Opcode).filter((v) => typeof v === "number");
    const families = Object.values(isa.Family).filter((v) => typeof v === "number");
    expect(families).toEqual(families.map((_, i) => i));
    const byFamily = families.map((family) => numbers.filter((opcode) => familyOf(opcode) === family));
    for (const [family, opcodes] of byFamily.entries()) {
      expect(opcodes.length).toBeGreaterThan(0);
      expect(opcodes).toEqual(opcodes.map((_, i) => family * isa.Range.Opcodes + i));
    }
    const counted = numbers.filter((v) => v >= 0);
    expect(byFamily.flat()).toEqual(counted);
    expect(numbers.filter((v) => v < 0)).toEqual([isa.Opcode.Loop]);
  });
});
