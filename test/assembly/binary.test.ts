/** Properties of the binaries themselves, for either kind of memory: no state, no static data, the right imports, exports and features. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { familyOf } from "../../src/program/program.ts";
import { forSharedMemory, hasRelaxedSimd, relaxedProbe } from "../../src/run/kernels.ts";
import { FAMILIES, isa, wasmBytes } from "./harness.ts";

const variants = FAMILIES.flatMap((family) =>
  [false, true].flatMap((relaxed) =>
    [false, true].map((shared) => ({ family, name: relaxed ? "relaxed" : "plain", relaxed, shared })),
  ),
);

/** Families that multiply and add in float32, or choose by masks: their two binaries differ. */
const FUSED = ["core", "convolution", "pooling", "attention"];

const header = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];

class Reader {
  private at = 0;
  constructor(private readonly bytes: Uint8Array) {}

  get done(): boolean {
    return this.at >= this.bytes.length;
  }

  byte(): number {
    if (this.done) throw new RangeError("end of section");
    return this.bytes[this.at++];
  }

  /** A LEB128 number; the value is right for unsigned ones, the length for signed ones too. */
  leb(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.byte();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  }

  take(n: number): Uint8Array {
    if (this.at + n > this.bytes.length) throw new RangeError("end of section");
    this.at += n;
    return this.bytes.subarray(this.at - n, this.at);
  }

  name(): string {
    return new TextDecoder().decode(this.take(this.leb()));
  }

  vector<T>(item: () => T): T[] {
    return Array.from({ length: this.leb() }, item);
  }
}

enum Section {
  Import = 2,
  Memory = 5,
  Global = 6,
  Export = 7,
  Start = 8,
  Data = 11,
  DataCount = 12,
}

/** The sections of a module by number, custom ones left out. */
function sections(bytes: Uint8Array): Map<number, Uint8Array> {
  const reader = new Reader(bytes);
  expect(Array.from(reader.take(8))).toEqual(header);
  const found = new Map<number, Uint8Array>();
  while (!reader.done) {
    const id = reader.byte();
    const contents = reader.take(reader.leb());
    if (id !== 0) found.set(id, contents);
  }
  return found;
}

function section<T>(bytes: Uint8Array, id: Section, item: (reader: Reader) => T): T[] {
  const contents = sections(bytes).get(id);
  if (!contents) return [];
  const reader = new Reader(contents);
  const items = reader.vector(() => item(reader));
  expect(reader.done).toBe(true);
  return items;
}

function readImport(reader: Reader) {
  const name = `${reader.name()}.${reader.name()}`;
  const kind = reader.byte();
  if (kind === 0) reader.leb(); // the function's type
  if (kind !== 2) return { name, kind };
  const flags = reader.byte();
  return {
    name,
    kind,
    shared: (flags & 2) !== 0,
    minimum: reader.leb(),
    maximum: flags & 1 ? reader.leb() : undefined,
  };
}

function readGlobal(reader: Reader) {
  reader.byte(); // type
  const mutable = reader.byte() === 1;
  for (let op = reader.byte(); op !== 0x0b; op = reader.byte()) {
    if (op === 0x41 || op === 0x42 || op === 0x23) reader.leb();
    else if (op === 0x43) reader.take(4);
    else if (op === 0x44) reader.take(8);
    else if (op === 0xfd && reader.leb() === 0x0c) reader.take(16);
    else throw new Error(`unexpected opcode ${op} in the value of a global`);
  }
  return { mutable };
}

function readExport(reader: Reader) {
  return { name: reader.name(), kind: reader.byte(), index: reader.leb() };
}

const names = (list: object) => Object.keys(list).filter((name) => Number.isNaN(Number(name)));

it("reads sections rightly", () => {
  expect([...sections(relaxedProbe()).keys()]).toEqual([1, 3, 10]);
  const globals = Uint8Array.of(2, 0x7f, 1, 0x41, 0x80, 0x01, 0x0b, 0x7c, 0, 0x44, ...Array<number>(8).fill(0), 0x0b);
  const module = Uint8Array.of(...header, Section.Global, globals.length, ...globals);
  expect(WebAssembly.validate(module)).toBe(true);
  expect(section(module, Section.Global, readGlobal)).toEqual([{ mutable: true }, { mutable: false }]);
});

describe.each(variants)("$family.$name, shared memory: $shared", ({ family, name, relaxed, shared }) => {
  const built = wasmBytes(name, family);
  const bytes = shared ? forSharedMemory(built) : built;

  it(`is the binary as built${shared ? " but for one bit" : ""}`, () => {
    const changed = [...bytes].flatMap((byte, i) => (byte === built[i] ? [] : [byte ^ built[i]]));
    expect(bytes.length).toBe(built.length);
    expect(changed).toEqual(shared ? [2] : []);
  });

  it("holds no data segment, no start function and no mutable global", () => {
    const found = sections(bytes);
    for (const id of [Section.Data, Section.DataCount, Section.Start, Section.Memory])
      expect(found.has(id)).toBe(false);
    expect(section(bytes, Section.Global, readGlobal).filter((global) => global.mutable)).toEqual([]);
  });

  it("imports env.memory, and env.beat for a sign of life, alone", () => {
    expect(section(bytes, Section.Import, readImport)).toEqual([
      { name: "env.beat", kind: 0 },
      { name: "env.memory", kind: 2, shared, minimum: 2, maximum: 65536 },
    ]);
  });

  it("exports functions alone: of all kernels those of its family, by its opcodes", () => {
    const exported = section(bytes, Section.Export, readExport);
    expect(exported.filter((item) => item.kind !== 0)).toEqual([]);
    const present = new Set(exported.map((item) => item.name));
    const kernels = names(isa.Opcode).filter((name) => isa.Opcode[name as keyof typeof isa.Opcode] > 0);
    const own = (opcode: string) => FAMILIES[familyOf(isa.Opcode[opcode as keyof typeof isa.Opcode])] === family;
    expect(kernels.filter((opcode) => present.has(opcode))).toEqual(kernels.filter(own));
    const micros = names(isa.Micro)
      .filter((micro) => isa.Micro[micro as keyof typeof isa.Micro] >= isa.Micro.Copy)
      .map((micro) => `micro${micro}`);
    const once = ["writeConstants", ...micros];
    expect(once.filter((name) => present.has(name))).toEqual(family === "core" ? once : []);
  });

  const fused = relaxed && FUSED.includes(family);
  it(`uses relaxed SIMD: ${fused}`, () => {
    const text = readFileSync(new URL(`../../build/${family}.${name}.wat`, import.meta.url), "utf8");
    expect(text.startsWith("(module")).toBe(true);
    expect(text.includes("relaxed_")).toBe(fused);
    // An engine without relaxed SIMD takes the plain binaries and refuses the others.
    expect(WebAssembly.validate(bytes)).toBe(!fused || hasRelaxedSimd());
  });

  it("leaves memory alone when it is instantiated", () => {
    if (fused && !hasRelaxedSimd()) {
      expect(() => new WebAssembly.Module(bytes)).toThrow(WebAssembly.CompileError);
      return;
    }
    const memory = new WebAssembly.Memory({ initial: 2, maximum: 65536, shared });
    new Uint8Array(memory.buffer).fill(0xa5);
    new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory, beat() {} } });
    expect(new Uint8Array(memory.buffer).every((byte) => byte === 0xa5)).toBe(true);
  });
});
