/** @file Where operations come from: the user's lines, and in a derivative the operation that was differentiated. */
import { show } from "../core/shape.ts";
import { walk } from "../diff/vjp.ts";
import { type Node, observed } from "../graph/node.ts";
import { operandsOf } from "../ops/identity.ts";

interface Origin {
  readonly stack: string;
  /** Of one that is part of a derivative: what it is the derivative of. */
  readonly of?: Node;
  readonly mode: string;
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
  private readonly all = new Map<number, Origin>();

  /** Runs f, and remembers where each node it makes is made. Slow: a stack is taken for each. */
  record<T>(f: () => T): T {
    const limit = Error.stackTraceLimit;
    try {
      Error.stackTraceLimit = 60;
      return observed((n, copied) => this.all.set(n.id, (copied && this.all.get(copied.id)) ?? this.now()), f);
    } finally {
      Error.stackTraceLimit = limit;
    }
  }

  private now(): Origin {
    const { at, as } = walk;
    // What is computed for all examples, or once more for backward, was written for one, and once.
    const first = as === "again" && at && this.all.get(at.id);
    if (first) return first;
    const mode = as === "forward" ? "forward-mode derivative" : "backward pass";
    return { stack: new Error().stack ?? "", of: as === "again" ? undefined : at, mode };
  }

  private frames(n: Node): string[] {
    const origin = this.all.get(n.id);
    return origin
      ? userFrames(origin.stack)
          .slice(0, 3)
          .map((line) => `    ${line}`)
      : [];
  }

  /** Lines for a message: where a node was made, and for one of a derivative what for. */
  lines(n: Node): string[] {
    let what = "";
    let at = n;
    for (let origin = this.all.get(n.id); origin?.of; origin = this.all.get(at.id)) {
      at = origin.of;
      const operands = operandsOf(at).map((s) => show(s.shape));
      what += ` in the ${origin.mode} of ${at.op.name} on ${operands.join(" and ")}`;
    }
    if (at === n) return ["  made", ...this.frames(n)];
    return [` ${what}, made`, ...this.frames(at), "  called for", ...this.frames(n)];
  }
}
