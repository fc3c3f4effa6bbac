/** @file Programs that are not what they should be end their step: a worker that did nothing never passes for one that gave zeros. */
import { beforeEach, describe, expect, test } from "vitest";
import * as isa from "../../assembly/isa.ts";
import type { Program } from "../../src/program/program.ts";
import * as fl from "../../src/index.ts";
import { session } from "../../src/run/active.ts";
import { chainInput, chainProgram, eachByItself, fresh, POOLS, recoded, settle } from "./support.ts";

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
