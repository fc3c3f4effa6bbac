/**
 * @file Garbage collections on request. What the engine's memory holds for a tensor, the garbage collector of JavaScript does
 * not see: it counts some hundred bytes, and feels no need to look. Buffers it does see, so a few large ones, dropped at
 * once and never touched, make it look.
 */

/** What engines count as much, and do not fill: some tens of megabytes of zeros. */
const BYTES = 2 ** 26;
/** Buffers, and milliseconds, after which an engine that has not collected does not do so for this. */
const MOST = 40;
const LONGEST = 2000;

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

async function collect(): Promise<boolean> {
  const seen = { collected: false };
  const registry = new FinalizationRegistry(() => {
    seen.collected = true;
  });
  (() => registry.register({}, undefined))();
  const start = performance.now();
  for (let i = 0; !seen.collected && (i < MOST || performance.now() - start < LONGEST); i++) {
    try {
      void new ArrayBuffer(BYTES);
    } catch {
      // No room for it: the engine has collected what it could.
    }
    await pause();
  }
  if (seen.collected) await pause(); // the finalizers of everybody else
  return seen.collected;
}

let running: Promise<boolean> | undefined;

/** Has the engine collect garbage, and finalizers run. Whether it did. */
export function collectGarbage(): Promise<boolean> {
  running ??= collect().finally(() => {
    running = undefined;
  });
  return running;
}
