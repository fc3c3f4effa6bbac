/** @file Programs that are not what they should be end their step: a worker that did nothing never passes for one that gave zeros. */
import { beforeEach, describe, expect, test } from "vitest";
import * as isa from "../../assembly/isa.ts";
import type { Program } from "../../src/program/program.ts";
import * as fl from "../../src/index.ts";
import { session } from "../../src/run/active.ts";
import { chainInput, chainProgram, eachByItself, fresh, loopProgram, POOLS, recoded, settle } from "./support.ts";

eachByItself();

/** Word addresses of the instructions of a program; that of its first barrier. */
const places = (program: Program): number[] => program.labels.map((l) => l.word);
const barrierOf = (code: number[], program: Program): number =>
  places(program).find((at) => code[at] === isa.Opcode.Barrier) as number;

const INPUT = chainInput();
const good = chainProgram();
const [first, second] = places(good);
const last = places(good).at(-1) as number;
const { Length, Units, Lanes, Opcode } = isa.At;

const DAMAGES: [string, Program][] = [
  ["no words", recoded(good, () => [])],
  ["zeros", recoded(good, (code) => code.map(() => 0))],
  ["no word of its image arrived", recoded(good, (code) => code.fill(-1))],
  ["an instruction of no length", recoded(good, (code) => void (code[second + Length] = 0))],
  ["a length below zero", recoded(good, (code) => void (code[second + Length] = first - second))],
  ["a length beyond the end", recoded(good, (code) => void code[last + Length]++)],
  ["one instruction too few", recoded(good, (code) => void (code[first + Length] += code[second + Length]))],
  ["the last instruction is missing", { ...good, code: good.code.slice(0, last) }],
  ["it ends within an instruction", { ...good, code: good.code.slice(0, last + 4) }],
  ["one instruction too many", recoded(good, (code) => [...code, isa.Opcode.Barrier, 4, 0, 0])],
  ["all but a barrier skipped", recoded(good, (code) => void code.splice(0, 4, isa.Opcode.Barrier, code.length, 0, 0))],
  ["nothing to do in an instruction", recoded(good, (code) => void (code[first + Units] = 0))],
  ["less than nothing to do", recoded(good, (code) => void (code[first + Units] = -4))],
  ["nobody to do it", recoded(good, (code) => void (code[first + Lanes] = 0))],
  ["less than nobody to do it", recoded(good, (code) => void (code[last + Lanes] = -1))],
  ["an unknown opcode", recoded(good, (code) => void (code[last + Opcode] = 999))],
  ["an opcode below zero", recoded(good, (code) => void (code[last + Opcode] = -2))],
];

/** A loop of two products and a barrier, within one of as many steps: words of the outer, of the inner, of what is in it. */
const looped = loopProgram();
const [outer, inner] = looped.labels.filter((l) => (l.inside ?? 0) > 0).map((l) => l.word);
const inside = looped.labels
  .filter((l) => l.word > inner && l.word < inner + looped.code[inner + Length])
  .map((l) => l.word);
const { Loop } = isa;

const LOOP_DAMAGES: [string, (code: number[]) => unknown][] = [
  ["no steps", (code) => (code[outer + Loop.Count] = 0)],
  ["fewer than none", (code) => (code[inner + Loop.Count] = -3)],
  ["nobody to do it", (code) => (code[outer + Lanes] = 0)],
  ["a word too few", (code) => code[outer + Loop.Words]--],
  ["a word too many in the one within", (code) => code[inner + Loop.Words]++],
  ["pairs that are none", (code) => (code[outer + Loop.Steps] += code[outer + Loop.Turns] + 1)],
  ["words that pass for pairs", (code) => ((code[inner + Loop.Words] -= 2), code[inner + Loop.Steps]++)],
  ["one instruction too few", (code) => code[outer + Loop.Instructions]--],
  ["one too many in the one within", (code) => code[inner + Loop.Instructions]++],
  ["nothing to do in an instruction", (code) => (code[inside[0] + Units] = 0)],
  ["an instruction without length", (code) => (code[inside[1] + Length] = 0)],
  ["a length beyond the loop", (code) => (code[(inside.at(-1) as number) + Length] += 400)],
  ["one that skips the next", (code) => (code[inside[0] + Length] += code[inside[1] + Length])],
  ["an unknown opcode", (code) => (code[inside[0] + Opcode] = 999)],
];

const launch = (program: Program, count = 1): Promise<fl.TypedArray[]> =>
  session().launch(program, {
    inputs: [Float32Array.from({ length: count * 64 * 64 }, (_, i) => INPUT[i % INPUT.length])],
    residents: [],
    updates: [],
    count,
  });

test("the program that is damaged has a barrier and several instructions", () => {
  expect(places(good).length).toBeGreaterThan(4);
  expect(barrierOf([...good.code], good)).toBeGreaterThan(second);
});

describe.each(POOLS)("%s", (_, options) => {
  let want: string;
  beforeEach(async () => {
    await fresh(options);
    want = String((await launch(good))[0]);
  });

  test.each(DAMAGES)("%s: the step fails, and it alone", async (_name, bad) => {
    const results = await Promise.all([launch(bad), launch(good)].map((p) => settle(p)));
    expect(results[0].error).toBeInstanceOf(fl.WorkerError);
    expect(results[0].error).toMatchObject({ fault: "trap", code: "WORKER_TRAP" });
    expect(results[0].ms).toBeLessThan(2000);
    expect(String((results[1].value as fl.TypedArray[])[0]) === want).toBe(true);
  });

  test.each(LOOP_DAMAGES)("a loop with %s: the step fails, and it alone", async (_name, damage) => {
    const bad = recoded(looped, (code) => void damage(code));
    const results = await Promise.all([launch(looped), launch(bad), launch(looped)].map((p) => settle(p)));
    expect(results[1].error).toMatchObject({ fault: "trap", code: "WORKER_TRAP" });
    expect(results[1].ms).toBeLessThan(2000);
    expect(String(results[0].value)).toMatch(/^[\d.e-]+,/);
    expect(String(results[2].value) === String(results[0].value)).toBe(true);
  });

  test("in a launch of several runs", async () => {
    const bad = recoded(good, (code) => void (code[first + Length] += code[second + Length]));
    expect((await settle(launch(bad, 5))).error).toMatchObject({ fault: "trap" });
    expect((await settle(launch(good, 5))).error).toBeUndefined();
  });

  test("programs with nothing to compute are none of these", async () => {
    const x = fl.tensor(new Float32Array(0), [0, 3]);
    const weight = new fl.Parameter(fl.ones([3]));
    expect(await x.mul(2).array()).toEqual([]);
    expect(await fl.zeros([0]).array()).toEqual([]);
    const empty = fl.compile((t: fl.Tensor) => t.exp().mul(weight));
    expect((await empty(x).data()).length).toBe(0);
    expect((await empty(x).data()).length).toBe(0);
    const both = fl.compile((t: fl.Tensor) => [t.exp(), weight.mul(2)]);
    const [none, some] = both(x);
    expect([await none.array(), await some.array()]).toEqual([[], [2, 2, 2]]);
    const same = fl.compile((t: fl.Tensor) => t);
    expect((await same(x).data()).length).toBe(0);
    expect(await same(fl.tensor([1, 2])).array()).toEqual([1, 2]);
    expect((await empty.profile(x)).instructions.map((i) => i.name)).toEqual(["barrier"]);
  });
});
