/** @file Looks whether work still moves. */

/** Calls back when nothing has changed for a time; a clock that was itself held up, or slept, accuses nobody. */
export class Watchdog {
  private timer: ReturnType<typeof setInterval> | undefined;
  private readonly limit: number;
  private readonly look: () => string | undefined;
  private readonly hung: (milliseconds: number) => void;

  /** `look` tells what changes while work moves; undefined: there is none, and the watch is over. */
  constructor(limit: number, look: () => string | undefined, hung: (milliseconds: number) => void) {
    this.limit = limit;
    this.look = look;
    this.hung = hung;
  }

  /** Watches, if it does not already. */
  watch(): void {
    if (this.timer !== undefined) return;
    const period = Math.min(1000, this.limit / 4);
    let seen: string | undefined;
    let still = 0;
    let last = performance.now();
    this.timer = setInterval(() => {
      const now = this.look();
      if (now === undefined) {
        this.stop();
        return;
      }
      const time = performance.now();
      const onTime = time - last < 2 * period;
      last = time;
      if (now !== seen) still = 0;
      else if (onTime) still += period;
      seen = now;
      if (still >= this.limit) this.hung(Math.round(still));
    }, period);
    (this.timer as { unref?: () => void }).unref?.();
  }

  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }
}
