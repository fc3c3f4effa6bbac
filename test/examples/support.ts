/** Running what is in examples/. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";

export interface Outcome {
  readonly code: number | string | null | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs an example; a run that hangs is killed, and its code is null. */
export function example(name: string, ...args: string[]): Promise<Outcome> {
  const script = fileURLToPath(new URL(`../../examples/${name}.js`, import.meta.url));
  return new Promise((resolve) => {
    execFile(process.execPath, [script, ...args], { timeout: 50_000 }, (error, stdout, stderr) =>
      resolve({ code: error ? error.code : 0, stdout, stderr }),
    );
  });
}
