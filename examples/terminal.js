// What the examples share that train in a terminal: options, what a person sees while they run, and how they end.
import { parseArgs } from "node:util";
import asciichart from "asciichart";
import progress from "cli-progress";
import { AbortedError, dispose, FourlaneError, ValueError } from "fourlane";
import picocolors from "picocolors";

// Whoever reads the output may stop reading: `npm start | head`.
process.stdout.on("error", (error) => process.exit(error.code === "EPIPE" ? 0 : 1));

// Colours where a person looks; a pipe or a log gets plain text.
export const colors = picocolors.createColors(Boolean(process.stdout.isTTY) && !process.env.NO_COLOR);

export const print = (text = "") => process.stdout.write(`${text}\n`);
export const row = (label, text) => print(`  ${colors.dim(label.padEnd(9))} ${text}`);

export const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;
export const grouped = (n) => Math.round(n).toLocaleString("en-US");
export const rounded = (n, digits) => String(Number(n.toPrecision(digits)));
export const many = (n, what) => `${grouped(n)} ${what}${n === 1 ? "" : "s"}`;

/**
 * The command line by the options that parseArgs takes, and checks of their values. `defaults` stand for options not given;
 * `--help`, `--json`, `--workers`, `--seed` and `--math` are there anyway.
 */
export function readOptions(options, defaultsOf) {
  // parseArgs takes "-1" for an option; here it is a number.
  const args = [];
  for (const arg of process.argv.slice(2)) {
    if (/^-\.?\d/.test(arg) && args.at(-1)?.startsWith("--")) args.push(`${args.pop()}=${arg}`);
    else args.push(arg);
  }
  const { values } = parseArgs({
    args,
    options: {
      ...options,
      workers: { type: "string" },
      seed: { type: "string", default: "1" },
      math: { type: "string", default: "fast" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const number = (name, wanted, fits) => {
    const text = values[name];
    if (text === undefined) return undefined;
    const value = text.trim() === "" ? Number.NaN : Number(text);
    if (!fits(value)) throw new ValueError(`--${name} must be ${wanted}, got ${text || "nothing"}`);
    return value;
  };
  const integer = (name, low, high, range) =>
    number(name, `an integer ${range}`, (v) => Number.isSafeInteger(v) && v >= low && v <= high);
  const choice = (name, choices) => {
    if (!choices.includes(values[name]))
      throw new ValueError(`--${name} must be ${choices.join(" or ")}, got ${values[name] || "nothing"}`);
    return values[name];
  };
  for (const [name, text] of Object.entries(defaultsOf(values, choice))) values[name] ??= text;
  return {
    ...values,
    integer,
    lr: number("lr", "a finite number, 0 or more", (v) => Number.isFinite(v) && v >= 0),
    batch: integer("batch", 1, 2 ** 24, "from 1 to 16777216"),
    workers: integer("workers", 1, 256, "from 1 to 256"),
    seed: integer("seed", 0, Number.MAX_SAFE_INTEGER, "from 0 to 2^53 - 1"),
    math: choice("math", ["fast", "portable"]),
  };
}

/** What the runtime says of itself, as rows. */
export function showMachine({ cores, workers, relaxedSimd, sharedMemory, reason }) {
  print();
  row("machine", `${many(cores, "core")}, ${colors.bold(many(workers, "worker"))}`);
  row(
    "",
    `WebAssembly SIMD, ${relaxedSimd ? "relaxed" : "not relaxed"}; ${sharedMemory ? "shared" : "private"} memory`,
  );
  row("", colors.dim(`(${reason})`));
}

/** A bar that shows how far training is, where a person looks: undefined otherwise. */
export function progressBar(rate) {
  if (!process.stdout.isTTY) return undefined;
  return new progress.SingleBar({
    stream: process.stdout,
    format: `  {label} ${colors.cyan("{bar}")} loss {loss}  {rate} ${rate}/s`,
    barCompleteChar: "━",
    barIncompleteChar: colors.isColorSupported ? " " : "·",
    barsize: 28,
    fps: 20,
  });
}

/** Losses as a chart. On a logarithmic scale: the first steps would flatten all others. */
export function showLosses(losses) {
  const points = resample(losses, 60).map(Math.log10).filter(Number.isFinite);
  if (points.length < 2) return;
  print();
  print(asciichart.plot(points, { height: 8, format: (x) => (10 ** x).toFixed(3).padStart(7) }));
  print(`${" ".repeat(9)}${colors.dim(`loss, ${grouped(losses.length)} steps`)}`);
}

/** The list as at most n means of neighbours. */
function resample(list, n) {
  if (list.length <= n) return list;
  const at = (i) => Math.floor((i * list.length) / n);
  return Array.from({ length: n }, (_, i) => mean(list.slice(at(i), at(i + 1))));
}

/**
 * Runs a command: `read` gives its options, `run(options, signal, show)` its figures, which `show.end` is told; `screen(options)`
 * is what a person sees. With `--json` the figures are one line, and all there is, without the losses and the text.
 */
export async function command(name, { read, help, run, screen }) {
  try {
    const options = read();
    if (options.help) {
      process.stdout.write(help);
      return;
    }
    const silent = new Proxy({}, { get: () => () => {} });
    const show = options.json ? silent : screen(options);
    // Ctrl-C ends training after the step in flight; a second one ends the process.
    const controller = new AbortController();
    const interrupt = () => controller.abort();
    process.once("SIGINT", interrupt);
    try {
      const { losses, sample, ...figures } = await run(options, controller.signal, show);
      show.end({ losses, sample, ...figures });
      if (options.json) process.stdout.write(`${JSON.stringify(figures)}\n`);
    } finally {
      show.stop();
      process.off("SIGINT", interrupt);
      await dispose();
    }
  } catch (error) {
    if (error instanceof AbortedError) {
      process.stderr.write(`${name}: stopped\n`);
      process.exitCode = 130;
      return;
    }
    const isUsage = String(error?.code).startsWith("ERR_PARSE_ARGS");
    // What the user can put right is told in one line; anything else is a bug, and its trace is wanted.
    const [line] = String(error?.message).split(isUsage ? /\n|\. / : "\n");
    process.stderr.write(`${name}: ${isUsage || error instanceof FourlaneError ? line : error?.stack}\n`);
    process.exitCode = 1;
  }
}
