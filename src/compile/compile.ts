/** @file The pipeline, one line a pass. */
import type { Computation } from "../graph/node.ts";
import type { Program } from "../program/program.ts";
import { accumulate } from "./accumulate.ts";
import { encode } from "./encode.ts";
import { fuse } from "./fuse.ts";
import { lower } from "./lower/index.ts";
import type { Body, Lowered } from "./lower/lowering.ts";
import { match } from "./match.ts";
import { evenLanes, partition } from "./partition.ts";
import { plan } from "./plan.ts";
import { rewrite } from "./rewrite.ts";
import { simplify } from "./simplify.ts";

/** Runs one pass: what the bench puts its clock around. */
export type RunPass = <T>(name: string, pass: () => T) => T;

/** Up to instructions. */
function lowered(graph: Computation, run: RunPass): Lowered {
  const simple = run("simplify", () => simplify(graph));
  const written = run("rewrite", () => rewrite(simple));
  const summed = run("accumulate", () => accumulate(written));
  const groups = run("fuse", () => fuse(summed));
  const matched = run("match", () => match(summed, groups));
  return run("lower", () => lower(summed, matched, compileBody));
}

/** The body of a loop, up to where its buffers lie: what the rule that lowers the loop makes words of. */
export function compileBody(graph: Computation): Body {
  const low = lowered(graph, (_, pass) => pass());
  const schedule = partition(evenLanes(low.instrs));
  return { ...low, schedule, plan: plan(low.buffers, low.homes, schedule) };
}

/** A graph as a program for any number of workers. */
export function compileGraph(graph: Computation, run: RunPass = (_, pass) => pass()): Program {
  const low = lowered(graph, run);
  const schedule = run("partition", () => partition(low.instrs));
  const memory = run("plan", () => plan(low.buffers, low.homes, schedule));
  return run("encode", () => encode(low, schedule, memory));
}
