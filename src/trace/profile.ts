/** @file Where the time of a step goes: by instruction and worker, as text and as a trace for chrome://tracing or Perfetto. */
import type { Label } from "../program/program.ts";

/** One instruction of a step. */
export interface ProfiledInstruction {
  /** What it computes, such as "matmul 64x784x128"; "barrier" where workers wait for each other. */
  readonly name: string;
  /** Shapes of its operands. */
  readonly shapes: string;
  /** Instructions of one phase run without waiting for each other. */
  readonly phase: number;
  /** In a loop of all steps together. For each worker: begin, in microseconds from the first worker's first instruction, and duration, in microseconds. */
  readonly workers: readonly { readonly begin: number; readonly duration: number }[];
}

/**
 * Begin and end of each instruction. Those of a loop follow one another, each with what it took in all steps, and the loop has what
 * is left.
 */
function spansOf(labels: readonly Label[], t: Float64Array): [number, number][] {
  const spans = labels.map((_, k): [number, number] => [t[1 + 2 * k], t[2 + 2 * k]]);
  const place = (k: number, begin: number): void => {
    const took = spans[k][1] - spans[k][0];
    const last = k + (labels[k].inside ?? 0);
    let at = begin;
    for (let i = k + 1; i <= last; i += 1 + (labels[i].inside ?? 0)) {
      const length = spans[i][1] - spans[i][0];
      place(i, at);
      at += length;
    }
    spans[k] = [at, Math.max(at, begin + took)];
  };
  for (let k = 0; k < labels.length; k += 1 + (labels[k].inside ?? 0)) place(k, spans[k][0]);
  return spans;
}

/** What `step.profile()` measured. */
export class Profile {
  /** In the order of the program. */
  readonly instructions: readonly ProfiledInstruction[];
  /** From the first begin to the last end, in microseconds. */
  readonly total: number;

  /** @internal `times`: of each worker, as timesOf in run/protocol.ts says. */
  constructor(labels: readonly Label[], times: readonly Float64Array[]) {
    const start = Math.min(...times.map((t) => t[0] - times[0][0] + t[1]));
    const spans = times.map((t) => spansOf(labels, t));
    this.instructions = labels.map((label, k) => ({
      name: label.text,
      shapes: label.shapes,
      phase: label.phase,
      workers: times.map((t, w) => {
        const [begin, end] = spans[w][k];
        return { begin: 1000 * (t[0] - times[0][0] + begin - start), duration: 1000 * (end - begin) };
      }),
    }));
    this.total = Math.max(0, ...this.instructions.flatMap((i) => i.workers.map((w) => w.begin + w.duration)));
  }

  /** A table: an instruction a line, microseconds by worker, and its share of all workers' time. */
  toString(): string {
    const workers = this.instructions[0]?.workers.length ?? 0;
    const sum = (name?: string): number[] =>
      Array.from({ length: workers }, (_, w) =>
        this.instructions.reduce((s, i) => s + (name === undefined || i.name === name ? i.workers[w].duration : 0), 0),
      );
    const all = sum().reduce((a, b) => a + b, 0);
    const waiting = sum("barrier");
    const line = (phase: string, name: string, shapes: string, times: readonly number[]): string => {
      const share = all > 0 ? (100 * times.reduce((a, b) => a + b, 0)) / all : 0;
      const cells = times.map((t) => t.toFixed(1).padStart(10)).join("");
      return `${phase.padEnd(6)}${cells}${share.toFixed(1).padStart(7)} %   ${name} ${shapes}`.trimEnd();
    };
    const heads = Array.from({ length: workers }, (_, w) => `worker ${w}`.padStart(10)).join("");
    return [
      `phase ${heads}    share   microseconds, ${this.total.toFixed(1)} in all`,
      ...this.instructions.map((i) =>
        line(
          String(i.phase),
          i.name,
          i.shapes,
          i.workers.map((w) => w.duration),
        ),
      ),
      line("", "waiting at barriers", "", waiting),
      line(
        "",
        "at work",
        "",
        sum().map((t, w) => t - waiting[w]),
      ),
    ].join("\n");
  }

  /** The text of a trace file (Trace Event Format), a row for each worker. */
  toTrace(): string {
    const traceEvents = this.instructions.flatMap((i) =>
      i.workers.map((w, tid) => ({
        name: i.name,
        cat: i.name === "barrier" ? "wait" : "kernel",
        ph: "X",
        ts: w.begin,
        dur: w.duration,
        pid: 0,
        tid,
        args: { shapes: i.shapes, phase: i.phase },
      })),
    );
    return JSON.stringify({ traceEvents, displayTimeUnit: "ns" });
  }
}
