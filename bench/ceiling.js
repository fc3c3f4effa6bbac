// GFLOP/s that one worker's multiply-adds reach at best, with the kernels this engine would take: a number on standard output.
//
//   node bench/ceiling.js
import { Bench, ceilingOf, fastest, hasRelaxed, peakTask } from "./isa.js";

const bench = new Bench(hasRelaxed() ? "relaxed" : "plain", { pages: 64 });
console.log(ceilingOf(await fastest([peakTask(bench)], { bursts: 2000 })));
