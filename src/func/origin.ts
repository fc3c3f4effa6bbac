/** @file Where operations come from: the user's lines, and in the backward pass the operation whose gradient is computed. */
import { show } from "../core/shape.ts";
import { walk } from "../diff/vjp.ts";
import { type Node, observed } from "../graph/node.ts";
import { operandsOf } from "../ops/structure.ts";

interface Origin {
  readonly stack: string;
  readonly backwardOf?: Node;
}

/** The file of a stack's line, as V8, Firefox and Safari write it. */
function fileOf(line: string): string {
  return /([^()@\s]+):\d+:\d+\)?$/.exec(line)?.[1] ?? "";
}

/** The user's lines of a stack taken here, innermost first: those in other files than the library's. */
function userFrames(stack: string): string[] {
  const lines = stack.split("\n").filter(fileOf);
  const own = fileOf(lines[0] ?? "").replace(/func\/origin\.ts$/, "");
  const users = lines.filter((line) => !fileOf(line).startsWith(own));
  return (users.length > 0 ? users : lines.slice(1)).map((line) => line.trim());
}

export class Origins {
  private readonly of = new Map<number, Origin>();

  /** Runs f, and remembers where each node it makes is made. Slow: a stack is taken for each. */
  record<T>(f: () => T): T {
    const limit = Error.stackTraceLimit;
    try {
      Error.stackTraceLimit = 60;
      return observed((n) => this.of.set(n.id, { stack: new Error().stack ?? "", backwardOf: walk.at }), f);
    } finally {
      Error.stackTraceLimit = limit;
    }
  }

  private frames(n: Node): string[] {
    const origin = this.of.get(n.id);
    return origin
      ? userFrames(origin.stack)
          .slice(0, 3)
          .map((line) => `    ${line}`)
      : [];
  }

  /** Lines for a message: where a node was made, and for one of the backward pass what for. */
  lines(n: Node): string[] {
    const forward = this.of.get(n.id)?.backwardOf;
    if (!forward) return ["  made", ...this.frames(n)];
    const operands = operandsOf(forward)
      .map((s) => show(s.shape))
      .join(" and ");
    const backward = `  in the backward pass of ${forward.op.name} on ${operands}, made`;
    return [backward, ...this.frames(forward), "  called for", ...this.frames(n)];
  }
}
