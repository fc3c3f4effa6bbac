/**
 * @file The order of things: launches one after the other, and what becomes of them. A launch is a transaction: new values of
 * variables go to a second place and only a completed launch makes it the current one, so one that fails, for whatever reason,
 * leaves every variable as the last completed one left it. While one runs the next is prepared and begun behind it, as if the
 * first had completed; if that turns out wrong, it is taken back and begun anew, before any other.
 */
import type { TypedArray } from "../core/dtype.ts";
import { DisposedError, OutOfMemoryError, WorkerError } from "../core/errors.ts";
import type { Program } from "../program/program.ts";
import type { Device, JobResult } from "./device.ts";
import { faultError } from "./faults.ts";
import type { Holdings, InUse } from "./holdings.ts";
import type { Image, Taken } from "./images.ts";
import { assemble, type LaunchArgs, type Order, outputsOf, type Prepared } from "./launch.ts";
import type { State } from "./state.ts";

/** A launch on the device. */
interface Started {
  readonly result: Promise<JobResult>;
  /** Takes back what was assumed of its completion. */
  readonly undo: () => void;
  /** Whether that was done: it is to be begun anew, or has failed. */
  undone: boolean;
  /** To be called when it was taken back, if it ran. */
  readonly spoiled: () => void;
  /** The images it runs: not to be adjusted meanwhile. */
  readonly taken: Taken;
  /** Frees what it alone used. */
  readonly release: () => void;
  readonly device: Device;
  /** What it reads and writes, and whose that is. */
  readonly args: LaunchArgs;
}

/** A launch that has begun. */
type Begun = [Prepared, Started];

/** What the queue needs of the session. */
export interface Workplace {
  /** The device, started if need be, replaced if it failed. */
  ready(): Promise<Device>;
  /** Gives the device's workers the kernels of a program; resolves, too, if they are of no more use. */
  equip(device: Device, program: Program): Promise<void>;
  isFailed(): boolean;
  isDisposed(): boolean;
  /** After a fault: takes what the last completed launch left out of the memory, and gives the device up. */
  abandon(device: Device): void;
}

/** The launch's own workers failed; what it depends on may have failed with the same kind of error. */
class Hit {
  readonly why: unknown;
  constructor(why: unknown) {
    this.why = why;
  }

  /** Whether none started. */
  get atStart(): boolean {
    return this.why instanceof WorkerError && this.why.fault === "start";
  }
}

export class Queue implements InUse {
  /** Whose turn it is to use the device ends when this resolves. */
  private turn: Promise<unknown> = Promise.resolve();
  /** Launches on the device, oldest first. */
  private readonly inFlight: Started[] = [];
  /** Launches that are to be begun anew, before any other: how many, and when those so far have begun. */
  private restarting = 0;
  private restarts: Promise<unknown> = Promise.resolve();
  /** Launches that nobody waits for, and for which no worker started: begun before all others once some do, or given up. */
  private readonly parked: { order: Order; settle: (begun: Promise<Begun>) => void }[] = [];
  /** Called when a launch has settled. */
  private readonly watchers: (() => void)[] = [];
  private readonly holdings: Holdings;
  private readonly home: Workplace;

  constructor(holdings: Holdings, home: Workplace) {
    this.holdings = holdings;
    this.home = home;
    holdings.inUse = this;
  }

  /** In the order of calls: waits until `launches` at most are on the device, then does the job. */
  private async inTurn<T>(launches: number, job: () => T | Promise<T>): Promise<T> {
    const before = this.turn;
    let end = (): void => {};
    this.turn = new Promise<void>((resolve) => {
      end = resolve;
    });
    try {
      await before;
      await this.room(launches);
      if (this.home.isDisposed()) throw new DisposedError("the runtime was disposed");
      return await job();
    } finally {
      end();
    }
  }

  /** Whether at most `launches` are on the device, and none is to be begun anew before a launch; `anew`: before one of these. */
  private hasRoom(launches: number, anew: boolean): boolean {
    return this.inFlight.length <= launches && !this.inFlight.some((l) => l.undone) && (anew || this.restarting === 0);
  }

  /** Waits until there is. */
  private async room(launches: number, anew = false): Promise<void> {
    while (!this.hasRoom(launches, anew)) await new Promise<void>((resolve) => this.watchers.push(resolve));
  }

  private wake(): void {
    for (const wake of this.watchers.splice(0)) wake();
  }

  /** Does a job when nothing runs. `anyway`: even if what comes before it waits for workers that do not start. */
  enqueue<T>(job: () => T | Promise<T>, anyway = false): Promise<T> {
    return this.inTurn(0, async () => {
      if (this.parked.length > 0) {
        await this.unpark(false).catch((error) => {
          const why = error instanceof Hit ? error.why : error;
          if (!anyway) throw why;
          this.giveUp(why);
        });
        await this.room(0);
      }
      return job();
    });
  }

  /** Runs a program after everything before it. Resolves to its outputs; of several runs, one after the other. */
  async launch(program: Program | Promise<Program>, args: LaunchArgs): Promise<TypedArray[]> {
    const changes = args.updates.map((u) => ++u.enqueued);
    for (const x of args.inputs) if (x instanceof Promise) x.catch(() => {}); // if it comes to that, the launch fails with it
    // Counted as a change once it has begun; taken back if it fails.
    const { begun } = await this.inTurn(Number.POSITIVE_INFINITY, () =>
      this.attemptOrPark(false, program, { ...args, changes }),
    );
    return this.finish(...(await begun));
  }

  /** Begins a launch; one that nobody waits for is parked if no workers start. */
  private async attemptOrPark(anew: boolean, ...order: Order): Promise<{ begun: Promise<Begun> }> {
    const parks = order[1].patient;
    // Behind others that are parked, it is.
    let begun = parks && this.parked.length > 0 ? undefined : this.attempt(...order, anew);
    try {
      await begun;
    } catch (error) {
      if (!(error instanceof Hit)) throw error;
      if (!parks || this.home.isDisposed()) throw error.why;
      begun = undefined;
    }
    return { begun: begun ?? new Promise((settle) => this.parked.push({ order, settle })) };
  }

  /** The device. Rejects with a Hit if no workers start. */
  private ready(): Promise<Device> {
    return this.home.ready().catch((why) => {
      throw why instanceof WorkerError ? new Hit(why) : why;
    });
  }

  /** Begins what is parked. Rejects with a Hit if there still are no workers. */
  private async unpark(anew: boolean): Promise<void> {
    while (this.parked.length > 0) {
      await this.ready();
      for (const { order, settle } of this.parked.splice(0)) {
        const attempt = this.attemptOrPark(anew, ...order);
        settle(attempt.then(({ begun }) => begun));
        await attempt.catch(() => {});
      }
    }
  }

  /** Fails what is parked. */
  giveUp(why: unknown): void {
    for (const { order, settle } of this.parked.splice(0)) {
      const [program, args] = order;
      settle(new Promise(() => this.instead(program, { ...args, patient: false }, why, 0)));
    }
  }

  /** Begins a launch, or what takes its place if it cannot be begun; `anew`: before all that were not begun yet. */
  private async attempt(program: Order[0], args: LaunchArgs, anew: boolean): Promise<Begun> {
    const { after, inputs, residents, count = 1 } = args;
    try {
      const ready = program instanceof Promise ? await program : program;
      if (after) await after;
      const values: TypedArray[] = [];
      for (const x of inputs) values.push(x instanceof Promise ? await x : x);
      for (const { state } of residents) if (state.arriving) await state.arriving;
      const made: Prepared = { program: ready, args, values, count };
      return [made, await this.start(made, anew)];
    } catch (error) {
      return this.attempt(...this.instead(program, args, error, 0), anew);
    }
  }

  /**
   * What takes the place of a launch that failed after some runs. Throws why it failed if nothing does; the Hit itself if it is
   * to be parked.
   */
  private instead(program: Order[0], args: LaunchArgs, error: unknown, completed: number): Order {
    const hit = error instanceof Hit;
    const why = hit ? error.why : error;
    if (hit && args.patient) {
      if (error.atStart) throw error;
      if (!args.tried) return [program, { ...args, tried: true }];
    }
    const notice = args.failed?.(hit) ? { why, told: false } : undefined;
    args.updates.forEach((u, i) => {
      if (completed > 0) u.failure = why;
      else u.failed(args.changes?.[i] ?? u.enqueued, why, notice);
    });
    if (hit || !args.instead) throw why;
    return args.instead(why);
  }

  /** Begins what was passed over, or is tried again, before any other: one after the other, in the order of calls. */
  private restart(...order: Order): Promise<Begun> {
    this.restarting++;
    const attempt = this.restarts
      .then(() => this.attemptOrPark(true, ...order))
      .finally(() => {
        this.restarting--;
        this.wake();
      });
    this.restarts = attempt.catch(() => {});
    return attempt.then(({ begun }) => begun);
  }

  /** Has the device begin a launch, and counts its changes as made. */
  private async start(job: Prepared, anew: boolean): Promise<Started> {
    for (let failures = 0; ; ) {
      if (this.home.isFailed()) await this.room(0, anew); // what it harmed is settled first
      const device = await this.ready();
      if (this.home.isDisposed()) throw new DisposedError("the runtime was disposed");
      if (job.program.families.some((family) => !device.families.has(family))) {
        await this.home.equip(device, job.program);
        continue;
      }
      // A larger arena takes the place of the one in use; a launch of several runs needs both images.
      const most = this.fits(job.program, job.count > 1 ? 2 : 1) ? device.depth - 1 : 0;
      if (!this.hasRoom(most, anew)) {
        await this.room(most, anew);
        continue;
      }
      if (this.parked.length > 0) {
        await this.unpark(anew); // they are older
        continue;
      }
      try {
        return this.begin(device, job);
      } catch (error) {
        if (!(error instanceof OutOfMemoryError)) throw error;
        if (!(await this.holdings.relieve(failures++, error.requested, () => this.room(0, anew))))
          throw new OutOfMemoryError(error.requested, error.limit, this.holdings.use);
      }
    }
  }

  /** Whether an image runs. */
  readonly busy = (image: Image): boolean => {
    for (const { taken } of this.inFlight) if (taken.used.includes(image)) return true;
    return false;
  };

  /** What launches on the device read and write. */
  states(): ReadonlySet<State> {
    return new Set(this.inFlight.flatMap(({ args }) => [...args.residents.map((r) => r.state), ...args.updates]));
  }

  /** Whether a program may be prepared while another one runs. */
  private fits(program: Program, images: number): boolean {
    const { holdings } = this;
    return holdings.arena.bytes >= program.arenaBytes && holdings.images.idle(program, this.busy) >= images;
  }

  /** The synchronous part of start(): either all of it happens, or nothing. */
  private begin(device: Device, job: Prepared): Started {
    const { job: order, taken, begun, spoiled, abort, release } = assemble(device, this.holdings, job, this.busy);
    let result: Promise<JobResult>;
    try {
      result = device.launch(order);
    } catch (error) {
      abort();
      throw error;
    }
    const started: Started = { result, undo: begun(), undone: false, spoiled, release, device, taken, args: job.args };
    this.inFlight.push(started);
    this.holdings.tidy(device, taken.made.length > 0);
    return started;
  }

  /** Waits for a launch to end. Begins it anew if it was passed over because of the one before it. */
  private async finish(job: Prepared, started: Started): Promise<TypedArray[]> {
    const { program, args, count } = job;
    const { device, taken, release } = started;
    const { completed, fault, error, reads } = await started.result;
    const all = completed === count;
    if (!all) {
      // What was assumed is taken back, the latest first.
      const assumed = this.inFlight.slice(this.inFlight.indexOf(started)).filter((launch) => !launch.undone);
      for (const launch of assumed.reverse()) {
        launch.undo();
        launch.undone = true;
      }
      if (completed > 0) args.updates.forEach((u, i) => u.advance(args.changes?.[i] ?? u.enqueued, completed));
      if (fault || error) started.spoiled();
      if (completed > 0 && !device.shared && !error) await this.holdings.fetch(device, args.updates);
    }
    release();
    this.inFlight.splice(this.inFlight.indexOf(started), 1);
    let again: Promise<Begun>;
    try {
      if (all) return outputsOf(job, device, reads);
      if (error instanceof WorkerError) this.home.abandon(device);
      const why =
        error instanceof WorkerError ? new Hit(error) : (error ?? (fault && faultError(program, taken.loaded, fault)));
      again = this.restart(...(why ? this.instead(program, args, why, completed) : ([program, args] as const)));
    } finally {
      this.holdings.sweep();
      this.wake();
    }
    return this.finish(...(await again));
  }
}
