/** Random lives of parameters: assigned, set, trained, copied, read late, in any order and any number in flight, against a model. */
import { describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { random } from "../assembly/harness.ts";
import { eachByItself, fresh, settle } from "../run/support.ts";

eachByItself();

const WIDTH = 3;
const COUNT = 4;

/** One life: what was read, and what the model says; a read may be too late, but never wrong. */
async function live(seed: number, steps: number): Promise<{ stale: number; read: number }> {
  const next = random(seed);
  const pick = (n: number): number => Math.floor(next() * n);
  const model = Array.from({ length: COUNT }, (_, i) => new Array<number>(WIDTH).fill(i + 1));
  const parameters = model.map((v, i) => new fl.Parameter(i % 2 ? fl.tensor(v) : fl.full([WIDTH], v[0])));
  const mod = (v: number): number => ((v % 251) + 251) % 251;
  const expression = (a: fl.Tensor, b: fl.Tensor): fl.Tensor => a.mul(3).add(b).add(1).remainder(251);
  const value = (a: number[], b: number[]): number[] => a.map((v, k) => mod(v * 3 + b[k] + 1));
  const compiled = new Map<string, () => fl.Tensor>();
  const step = (i: number, j: number): fl.Tensor => {
    const key = `${i} ${j}`;
    let f = compiled.get(key);
    if (!f) {
      f = fl.compile(() => {
        const before = parameters[i].mul(1);
        parameters[i].assign(expression(parameters[i], parameters[j]));
        return before;
      });
      compiled.set(key, f);
    }
    return f();
  };
  const copies: { t: fl.Tensor; want: number[] }[] = [];
  const checks: Promise<void>[] = [];
  let [stale, read] = [0, 0];
  const check = (t: fl.Tensor, want: number[], late = false): void => {
    checks.push(
      settle(t.array(), 20_000).then(({ value: got, error }) => {
        read++;
        if (late && error instanceof fl.StaleError) stale++;
        else expect(error ?? got, `seed ${seed}`).toEqual(want);
      }),
    );
  };
  for (let s = 0; s < steps; s++) {
    const [i, j] = [pick(COUNT), pick(COUNT)];
    const p = parameters[i];
    switch (pick(9)) {
      case 0:
      case 1:
        p.assign(expression(p, parameters[j]));
        model[i] = value(model[i], model[j]);
        break;
      case 2:
        model[i] = model[i].map(() => pick(100));
        p.assign(model[i]);
        break;
      case 3:
      case 4:
        check(step(i, j), model[i]);
        model[i] = value(model[i], model[j]);
        break;
      case 5:
        copies.push({
          t: [p.float(), p.mul(1), p.reshape(-1), expression(p, p).mul(0).add(p)][pick(4)],
          want: model[i],
        });
        break;
      case 6:
        if (copies.length > 0) {
          const [{ t, want }] = copies.splice(pick(copies.length), 1);
          check(t, want, true);
        }
        break;
      case 7:
        check(p, model[i]);
        break;
      default:
        if (pick(2)) await Promise.all(checks.splice(0));
        else check(fl.tensor([i]).add(j), [i + j]);
    }
  }
  parameters.forEach((p, i) => check(p, model[i]));
  await Promise.all(checks);
  return { stale, read };
}

describe.each([
  ["2 workers", { workers: 2 }],
  ["private memory", { shared: false }],
  ["little memory", { workers: 2, memoryLimit: 3 * 2 ** 20 }],
] as [string, fl.InitOptions][])("%s", (_, options) => {
  test("every value that is read is the one that was there", async () => {
    await fresh(options);
    let [stale, read] = [0, 0];
    for (let seed = 1; seed <= 60; seed++) {
      const life = await live(seed, 60);
      stale += life.stale;
      read += life.read;
    }
    // Some come too late, most do not.
    expect(read).toBeGreaterThan(1500);
    expect(stale).toBeLessThan(0.2 * read);
    expect(stale).toBeGreaterThan(0);
  });
});
