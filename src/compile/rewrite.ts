/** @file Passes over simplified graphs that come with operations few programs have. */
import type { Computation } from "../graph/node.ts";

export type Pass = (graph: Computation) => Computation;

const PASSES: Pass[] = [];

export function addPass(pass: Pass): void {
  PASSES.push(pass);
}

export const rewrite: Pass = (graph) => PASSES.reduce((g, pass) => pass(g), graph);
