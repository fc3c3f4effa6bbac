/** @file The pipeline, one line a pass. */
import type { Graph } from "../graph/node.ts";
import { lower } from "./lower.ts";
import { partition } from "./partition.ts";
import { plan } from "./plan.ts";
import { encode, type Program } from "./program.ts";
import { simplify } from "./simplify.ts";

/** Runs one pass: what the bench puts its clock around. */
export type RunPass = <T>(name: string, pass: () => T) => T;

/** A graph as a program for any number of workers. */
export function compileGraph(graph: Graph, run: RunPass = (_, pass) => pass()): Program {
  const simple = run("simplify", () => simplify(graph));
  const low = run("lower", () => lower(simple));
  const phases = run("partition", () => partition(low.instrs));
  const memory = run("plan", () => plan(low.buffers, low.instrs));
  return run("encode", () => encode(low, phases, memory));
}
