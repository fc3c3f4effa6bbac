/** @file The programs of a compiled function, by the signatures of its calls. */
import type { Tensor } from "../tensor/tensor.ts";
import { type Entry, isArgument, record } from "./record.ts";
import { signatureOf } from "./signature.ts";

/** Finds the program for the arguments, and the tensors among them. */
export type Recorder<Args extends unknown[]> = (args: Args) => { entry: Entry; tensors: Tensor[] };

/** Signatures of a function that are kept. */
export const SIGNATURES = 64;
/** Records of a function after which something is wrong with how it is called. */
const MANY = 32;

/** Finds the program for the signature of the arguments; records it if there is none. */
export function recorder<Args extends unknown[]>(fn: (...args: Args) => unknown, cacheSize: number): Recorder<Args> {
  /** The entry that was used last is the last one. */
  const entries = new Map<Entry, string>();
  let newest: Entry | undefined;
  const bySignature = new Map<string, Set<Entry>>();
  const changes = new Changes(fn.name);
  return (args) => {
    const { leaves, text } = signatureOf("compile", args, isArgument);
    const list = bySignature.get(text) ?? new Set();
    let entry: Entry | undefined;
    for (const e of list) if (!entry && e.guards.every((g) => g())) entry = e;
    if (!entry) {
      changes.note(args);
      // Entries whose guards failed may hold again (train and eval take turns), so they stay.
      entry = record(fn, args);
      bySignature.set(text, list.add(entry));
    }
    if (entry !== newest) {
      entries.delete(entry);
      entries.set(entry, text);
      newest = entry;
    }
    if (entries.size > cacheSize) {
      const [[oldest, signature]] = entries;
      const others = bySignature.get(signature);
      others?.delete(oldest);
      if (others?.size === 0) bySignature.delete(signature);
      entries.delete(oldest);
    }
    return { entry, tensors: leaves };
  };
}

/** Why a function is recorded again and again: said once, for it costs milliseconds where a call takes microseconds. */
class Changes {
  private readonly name: string;
  private count = 0;
  /** What stood at each place of the arguments. */
  private readonly seen = new Map<string, Set<string>>();

  constructor(name: string) {
    this.name = name || "the function";
  }

  note(args: readonly unknown[]): void {
    if (this.count > MANY) return;
    this.count++;
    signatureOf("compile", args, isArgument, (path, text) => {
      let texts = this.seen.get(path);
      if (!texts) this.seen.set(path, (texts = new Set()));
      texts.add(text.length > 80 ? `${text.slice(0, 60)}... ${text.length}` : text);
    });
    if (this.count <= MANY) return;
    let [most, where] = [1, ""];
    for (const [path, { size }] of this.seen) if (size > most) [most, where] = [size, path];
    const why =
      where === ""
        ? "what it read from outside changed (train, eval, requiresGrad)"
        : `${where} keeps changing (${[...(this.seen.get(where) as Set<string>)].slice(-3).join(", ")}): ` +
          ([...(this.seen.get(where) as Set<string>)][0].startsWith("T")
            ? "each shape is another program; pad to a few sizes"
            : "make it a tensor, then one program serves all values");
    console.warn(`fourlane: ${this.name} was compiled more than ${MANY} times; ${why}`);
    this.seen.clear();
  }
}
