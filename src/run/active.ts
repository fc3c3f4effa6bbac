/** @file The session in use: what init() starts, and everything else finds. */
import { ValueError } from "../core/errors.ts";
import type { Info, InitOptions } from "./options.ts";
import { Session } from "./session.ts";

let active: Session | undefined;

/** @internal The session in use; the first use starts one with defaults. */
export function session(): Session {
  active ??= new Session();
  return active;
}

/** @internal Runs f with another session in use: what it makes belongs to that one. */
export function using<T>(other: Session, f: () => T): T {
  const before = active;
  active = other;
  try {
    return f();
  } finally {
    active = before;
  }
}

/**
 * Chooses workers and arithmetic, and starts the workers. Optional: the first computation does it with defaults. Call it
 * before anything is computed, or after dispose().
 */
export async function init(options: InitOptions = {}): Promise<Info> {
  const next = new Session(options); // checks the options
  if (active && !active.disposed) throw new ValueError("init: the runtime is already in use; call dispose() first");
  active = next;
  try {
    await next.ready();
  } catch (error) {
    if (active === next) active = undefined; // so that it can be tried again, with other options
    throw error;
  }
  return next.info();
}

/** What runs here, and why: workers, SIMD, shared memory. Starts nothing. */
export function info(): Promise<Info> {
  return session().info();
}

/**
 * Ends the workers and frees their memory. What is pending rejects with a DisposedError, and so does what is used later,
 * until init() is called again. Parameters made before cannot be used after.
 */
export async function dispose(): Promise<void> {
  active ??= new Session();
  await active.dispose();
}
