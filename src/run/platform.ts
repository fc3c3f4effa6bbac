/** @file What the two platforms provide; chosen by the package's conditional imports, never at run time. */
import type { Endpoint } from "comlink";

/** A worker just started, before anything is known of it. */
export interface WorkerHandle {
  /** Sends a message. */
  post(message: unknown, transfer: MessagePort[]): void;
  /** Calls back whenever the worker says that it moves. */
  onPulse(callback: () => void): void;
  /** Calls back at most once, when the worker dies or fails to start, with the reason. */
  onFailure(callback: (cause: Error) => void): void;
  /** Ends the worker; resolves when it is gone, where the platform can say so. */
  terminate(): Promise<unknown>;
  /** Whether the worker keeps the process alive (Node only). */
  hold(alive: boolean): void;
}

/** Whether memory can be shared with workers, and why (not). */
export interface Sharing {
  readonly shared: boolean;
  readonly reason: string;
}

export interface Platform {
  readonly name: "node" | "browser";
  /** Logical cores of the machine. */
  cores(): number;
  sharing(): Sharing;
  spawn(name: string): WorkerHandle;
  /** Has the engine compile kernels for vectors of 256 bits from now on. Returns why it cannot, if it cannot. */
  widen(): string | undefined;
  /** The bytes of a text that is deflated, then base64. */
  unpack(packed: string): Promise<Uint8Array<ArrayBuffer>>;
  /** The port as comlink takes it. */
  endpoint(port: MessagePort): Endpoint;
  /** Stops a port from keeping the process alive (Node only). */
  release(port: MessagePort): void;
}
