import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { OutOfMemoryError } from "../../src/core/errors.ts";
import { Allocator } from "../../src/run/memory.ts";

const START = 1000;
const FIRST = 1024; // the next cache line
const LIMIT = 1 << 16;

/** Sizes to allocate, or which of the live blocks to free. */
const commands = fc.array(
  fc.oneof(
    fc.record({ alloc: fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: LIMIT >> 2 })) }),
    fc.record({ free: fc.nat() }),
  ),
  { maxLength: 120 },
);

describe("Allocator", () => {
  test("blocks are aligned, inside the limit, and never overlap, whatever is allocated and freed", () => {
    fc.assert(
      fc.property(commands, (list) => {
        const allocator = new Allocator(START, LIMIT);
        const live: { address: number; bytes: number }[] = [];
        for (const c of list) {
          if ("free" in c) {
            if (live.length > 0) allocator.free(live.splice(c.free % live.length, 1)[0].address);
          } else {
            const { top } = allocator;
            let address: number;
            try {
              address = allocator.alloc(c.alloc);
            } catch (error) {
              // Refusing is only right where no hole would do, the rest below the limit included, and changes nothing.
              expect(error).toBeInstanceOf(OutOfMemoryError);
              expect(allocator.top).toBe(top);
              const size = Math.max(64, Math.ceil(c.alloc / 64) * 64);
              const sorted = [...live].sort((a, b) => a.address - b.address);
              let end = FIRST;
              for (const b of [...sorted, { address: LIMIT, bytes: 0 }]) {
                expect(b.address - end).toBeLessThan(size);
                end = b.address + Math.max(64, Math.ceil(b.bytes / 64) * 64);
              }
              continue;
            }
            expect(address % 64).toBe(0);
            expect(address).toBeGreaterThanOrEqual(FIRST);
            expect(address + c.alloc).toBeLessThanOrEqual(allocator.top);
            for (const b of live)
              expect(address + Math.max(1, c.alloc) <= b.address || b.address + Math.max(1, b.bytes) <= address).toBe(
                true,
              );
            live.push({ address, bytes: c.alloc });
          }
          expect(allocator.top).toBeLessThanOrEqual(LIMIT);
          const used = live.reduce((s, b) => s + Math.max(64, Math.ceil(b.bytes / 64) * 64), 0);
          expect(allocator.used).toBe(used);
        }
        // Everything freed is one hole again.
        const { top } = allocator;
        for (const b of live) allocator.free(b.address);
        expect(allocator.used).toBe(0);
        if (top > FIRST) {
          expect(allocator.alloc(top - FIRST)).toBe(FIRST);
          expect(allocator.top).toBe(top);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("freed neighbours merge, in any order", () => {
    for (const order of [
      [0, 1, 2],
      [2, 1, 0],
      [0, 2, 1],
      [1, 0, 2],
    ]) {
      const allocator = new Allocator(0, LIMIT);
      const blocks = [allocator.alloc(64), allocator.alloc(128), allocator.alloc(64)];
      const last = allocator.alloc(64);
      for (const i of order) allocator.free(blocks[i]);
      expect(allocator.alloc(256)).toBe(blocks[0]);
      expect(allocator.alloc(64)).toBeGreaterThan(last);
    }
  });

  test("the limit is exact, the error says what was wanted, and the allocator goes on", () => {
    const allocator = new Allocator(0, 1024);
    const block = allocator.alloc(1024);
    let error: unknown;
    try {
      allocator.alloc(1);
    } catch (e) {
      error = e;
    }
    expect(error).toBeInstanceOf(OutOfMemoryError);
    expect(error).toMatchObject({ requested: 64, limit: 1024, code: "OUT_OF_MEMORY" });
    allocator.free(block);
    expect(allocator.alloc(1000)).toBe(block);
  });

  test("freeing what was never handed out, or twice, does nothing", () => {
    const allocator = new Allocator(0, 1024);
    const block = allocator.alloc(64);
    allocator.free(block + 64);
    allocator.free(block);
    allocator.free(block);
    expect(allocator.used).toBe(0);
    expect(allocator.alloc(64)).not.toBe(allocator.alloc(64));
  });
});
