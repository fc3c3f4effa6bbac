/** @file The typed errors. Each names the operation, the argument and the offending shapes or value in its message. */

/** Base of every error this package throws on purpose. `code` is stable, messages may improve. */
export class FourlaneError extends Error {
  /** The class, as text: whatever makes pages smaller may rename classes. */
  override readonly name: string = "FourlaneError";
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Shapes that do not fit each other, or the operation. */
export class ShapeError extends FourlaneError {
  override readonly name: string = "ShapeError";
  constructor(message: string) {
    super("SHAPE", message);
  }
}

/** A dtype the operation does not take. */
export class DTypeError extends FourlaneError {
  override readonly name: string = "DTypeError";
  constructor(message: string) {
    super("DTYPE", message);
  }
}

/** An argument whose value is not allowed: an axis out of range, a learning rate that is not finite, `workers: 0`. */
export class ValueError extends FourlaneError {
  override readonly name: string = "ValueError";
  constructor(message: string) {
    super("VALUE", message);
  }
}

/** An element of an index tensor or a label outside its range, found while a program ran. The step had no effect. */
export class IndexError extends FourlaneError {
  override readonly name: string = "IndexError";
  readonly index: number;
  readonly bound: number;
  readonly position: number;
  constructor(message: string, index: number, bound: number, position: number) {
    super("INDEX", message);
    this.index = index;
    this.bound = bound;
    this.position = position;
  }
}

/** A NaN or an infinity where values must be finite, found by assertFinite or detectAnomaly. The step had no effect. */
export class NonFiniteError extends FourlaneError {
  override readonly name: string = "NonFiniteError";
  constructor(message: string) {
    super("NON_FINITE", message);
  }
}

/** A derivative that is not what finite differences say, found by gradcheck. */
export class GradcheckError extends FourlaneError {
  override readonly name: string = "GradcheckError";
  /** The operation whose own derivative is wrong; undefined if none is. */
  readonly operation: string | undefined;
  constructor(message: string, operation: string | undefined) {
    super("GRADCHECK", message);
    this.operation = operation;
  }
}

/** A file or buffer that breaks its format: truncated, wrong magic number, counts that differ. */
export class FormatError extends FourlaneError {
  override readonly name: string = "FormatError";
  constructor(message: string, options?: ErrorOptions) {
    super("FORMAT", message, options);
  }
}

/** Something used after `dispose()`, or pending when it was called. */
export class DisposedError extends FourlaneError {
  override readonly name: string = "DisposedError";
  constructor(message: string) {
    super("DISPOSED", message);
  }
}

/** Work stopped by an AbortSignal. */
export class AbortedError extends FourlaneError {
  override readonly name: string = "AbortedError";
  constructor(message: string, options?: ErrorOptions) {
    super("ABORTED", message, options);
  }
}

/** A lazy tensor read after a variable it depends on was overwritten. */
export class StaleError extends FourlaneError {
  override readonly name: string = "StaleError";
  constructor(message: string) {
    super("STALE", message);
  }
}

/** What holds the WebAssembly memory, in bytes. */
export interface MemoryUse {
  /** What there may be at the most. */
  readonly limit: number;
  /** Parameters, moments of optimisers, random states: two places for each that training changes. */
  readonly parameters: number;
  /** Tensors from outside that compiled functions use, data sets of step.run(). */
  readonly captured: number;
  /** Code, inputs and outputs of programs, which make room for others when they do not run. */
  readonly programs: number;
  /** Intermediate values: one place for all programs, as large as the largest one needs. */
  readonly intermediates: number;
  /** What is left, in one piece or several. */
  readonly free: number;
}

/** Memory for a program, a parameter or a result could not be had. */
export class OutOfMemoryError extends FourlaneError {
  override readonly name: string = "OutOfMemoryError";
  readonly requested: number;
  readonly limit: number;
  /** Who holds the memory, if it was the limit that ended it. */
  readonly use: MemoryUse | undefined;
  constructor(requested: number, limit: number, use?: MemoryUse, options?: ErrorOptions) {
    const held = use
      ? `: parameters and moments hold ${use.parameters}, tensors from outside ${use.captured}, programs ${use.programs}, ` +
        `intermediate values ${use.intermediates}; ${use.free} are free`
      : "";
    super("OUT_OF_MEMORY", `out of memory: ${requested} more bytes wanted, the limit is ${limit}${held}`, options);
    this.requested = requested;
    this.limit = limit;
    this.use = use;
  }
}

export type WorkerFault = "start" | "crash" | "trap" | "hung";

/** A worker that did not start, died, trapped or stopped moving. Parameters are those of the last completed step. */
export class WorkerError extends FourlaneError {
  override readonly name: string = "WorkerError";
  /** How it failed. */
  readonly fault: WorkerFault;
  /** Which worker, from 0. */
  readonly worker: number;
  /** Number of the step in flight, counted from the start of the pool; -1 if there was none. */
  readonly step: number;
  constructor(fault: WorkerFault, worker: number, step: number, message: string, options?: ErrorOptions) {
    super(`WORKER_${fault.toUpperCase()}`, message, options);
    this.fault = fault;
    this.worker = worker;
    this.step = step;
  }
}
