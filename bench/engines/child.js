// A child process that speaks a JSON line per request and answers in order.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** How long one request may take before the child counts as stuck. */
const PATIENCE = 120_000;

export class Child {
  /** Starts a process; its first line is what `hello` resolves to. */
  constructor(command, args, env = process.env) {
    this.waiting = [];
    this.errors = "";
    this.gone = undefined;
    this.process = spawn(command, args, { env, stdio: ["pipe", "pipe", "pipe"] });
    this.process.stderr.on("data", (data) => {
      this.errors = (this.errors + data).slice(-2000);
    });
    this.process.stdin.on("error", () => {}); // its end is noticed below
    this.process.on("error", (error) => this.end(error.message));
    this.process.on("close", (code, signal) => this.end(`ended (${signal ?? `code ${code}`})\n${this.errors}`.trim()));
    createInterface({ input: this.process.stdout }).on("line", (line) => {
      const { resolve, reject, timer } = this.waiting.shift() ?? {};
      clearTimeout(timer);
      const answer = JSON.parse(line);
      if (answer.error) reject?.(new Error(answer.error));
      else resolve?.(answer);
    });
    this.hello = this.next();
    this.hello.catch(() => {}); // reported to whoever awaits it
  }

  next() {
    return new Promise((resolve, reject) => {
      if (this.gone) return reject(new Error(this.gone));
      const timer = setTimeout(() => {
        this.end(`gave no answer within ${PATIENCE / 1000} s`);
        this.process.kill();
      }, PATIENCE);
      this.waiting.push({ resolve, reject, timer });
    });
  }

  request(command, args = {}) {
    const answer = this.next();
    if (!this.gone) this.process.stdin.write(`${JSON.stringify({ command, ...args })}\n`);
    return answer;
  }

  end(reason) {
    this.gone ??= reason;
    for (const { reject, timer } of this.waiting.splice(0)) {
      clearTimeout(timer);
      reject(new Error(this.gone));
    }
  }

  /** Lets the process finish; kills it if it does not. */
  async stop() {
    if (this.process.exitCode !== null || this.process.signalCode !== null || this.process.pid === undefined) return;
    const closed = new Promise((resolve) => this.process.once("close", resolve));
    this.process.stdin.end();
    const timer = setTimeout(() => this.process.kill("SIGKILL"), 3000);
    await closed;
    clearTimeout(timer);
  }
}
