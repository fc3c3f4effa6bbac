/** @file The pipeline, one line a pass. */
import type { Graph } from "../graph/node.ts";
import { lower } from "./lower.ts";
import { partition } from "./partition.ts";
import { plan } from "./plan.ts";
import { encode, type Program } from "./program.ts";
import { simplify } from "./simplify.ts";

/** A graph as a program for any number of workers. */
export function compileGraph(graph: Graph): Program {
  const simple = simplify(graph);
  const low = lower(simple);
  const phases = partition(low.instrs);
  const memory = plan(low.buffers, low.instrs, phases);
  return encode(low, phases, memory);
}
