/** @file The pipeline, one line a pass. */
import type { Computation } from "../graph/node.ts";
import type { Program } from "../program/program.ts";
import { accumulate } from "./accumulate.ts";
import { encode } from "./encode.ts";
import { fuse } from "./fuse.ts";
import { lower } from "./lower/index.ts";
import type { Body } from "./lower/lowering.ts";
import { match } from "./match.ts";
import { evenLanes, partition } from "./partition.ts";
import { plan } from "./plan.ts";
import { rewrite } from "./rewrite.ts";
import { simplify } from "./simplify.ts";

/** Runs one pass: what the bench puts its clock around. */
export type RunPass = <T>(name: string, pass: () => T) => T;

/** The body of a loop, up to where its buffers lie: what the rule that lowers the loop makes words of. */
export function compileBody(graph: Computation): Body {
  const summed = accumulate(simplify(graph));
  const low = lower(summed, match(summed, fuse(summed)), compileBody);
  const schedule = partition(evenLanes(low.instrs));
  return { ...low, schedule, plan: plan(low.buffers, low.homes, schedule) };
}

/** A graph as a program for any number of workers. */
export function compileGraph(graph: Computation, run: RunPass = (_, pass) => pass()): Program {
  const simple = run("simplify", () => simplify(graph));
  const written = run("rewrite", () => rewrite(simple));
  const summed = run("accumulate", () => accumulate(written));
  const groups = run("fuse", () => fuse(summed));
  const matched = run("match", () => match(summed, groups));
  const low = run("lower", () => lower(summed, matched, compileBody));
  const schedule = run("partition", () => partition(low.instrs));
  const memory = run("plan", () => plan(low.buffers, low.homes, schedule));
  return run("encode", () => encode(low, schedule, memory));
}
