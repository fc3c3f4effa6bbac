// Fourlane as a long-lived child: a JSON request a line on standard input, a JSON answer a line on standard output.
//
//   node bench/engines/fourlane.js [--workers N] [--math fast|portable]
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import * as library from "../../dist/node/index.js";
import { fourlaneCommands } from "./commands.js";

const { values: options } = parseArgs({
  options: { workers: { type: "string" }, math: { type: "string" }, vectors: { type: "string" } },
});

const commands = fourlaneCommands(library);
const answer = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

const info = await library.init({
  workers: options.workers ? Number(options.workers) : undefined,
  math: options.math,
  vectors: options.vectors ? Number(options.vectors) : undefined,
});
answer({ info });
for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...args } = JSON.parse(line);
  try {
    answer(await commands[command](args));
  } catch (error) {
    answer({ error: String(error?.stack ?? error) });
  }
}
await library.dispose();
