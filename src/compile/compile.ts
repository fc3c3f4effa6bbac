/** @file The pipeline, one line a pass. */
import type { Computation } from "../graph/node.ts";
import type { Program } from "../program/program.ts";
import { accumulate } from "./accumulate.ts";
import { encode } from "./encode.ts";
import { fuse } from "./fuse.ts";
import { lower } from "./lower/index.ts";
import { match } from "./match.ts";
import { partition } from "./partition.ts";
import { plan } from "./plan.ts";
import { simplify } from "./simplify.ts";

/** Runs one pass: what the bench puts its clock around. */
export type RunPass = <T>(name: string, pass: () => T) => T;

/** A graph as a program for any number of workers. */
export function compileGraph(graph: Computation, run: RunPass = (_, pass) => pass()): Program {
  const simple = run("simplify", () => simplify(graph));
  const summed = run("accumulate", () => accumulate(simple));
  const groups = run("fuse", () => fuse(summed));
  const matched = run("match", () => match(summed, groups));
  const low = run("lower", () => lower(summed, matched));
  const schedule = run("partition", () => partition(low.instrs));
  const memory = run("plan", () => plan(low.buffers, low.homes, schedule));
  return run("encode", () => encode(low, schedule, memory));
}
