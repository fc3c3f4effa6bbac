// What `npm start` runs: digits with the models mlp and cnn, a text with gpt.
const SCRIPTS = { mlp: "./digits.js", cnn: "./digits.js", gpt: "./text.js" };

const at = process.argv.findIndex((arg) => arg === "--model" || arg.startsWith("--model="));
const model = at < 0 ? "mlp" : (process.argv[at].split("=")[1] ?? process.argv[at + 1]);
if (Object.hasOwn(SCRIPTS, model ?? "")) await import(SCRIPTS[model]);
else {
  process.stderr.write(`start: --model must be ${Object.keys(SCRIPTS).join(" or ")}, got ${model || "nothing"}\n`);
  process.exitCode = 1;
}
