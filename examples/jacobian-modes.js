// The Jacobian of a network with n inputs and m outputs in forward and in reverse mode: time, memory, and where one becomes
// cheaper than the other. `node examples/jacobian-modes.js` after a build; some seconds.
import { compile, jacfwd, jacobian, jacrev, manualSeed, randn } from "fourlane";

const SHAPES = [1, 4, 16, 64].map((n) => [n, 256]);
SHAPES.push([256, 256], ...SHAPES.map(([n, m]) => [m, n]).reverse());
const HIDDEN = 64;
const BURSTS = 40;

/** Milliseconds of a call, for each function the least of many; they take turns, so that what disturbs disturbs all. */
async function times(functions, x) {
  const best = functions.map(() => Number.POSITIVE_INFINITY);
  for (let i = 0; i < BURSTS; i++)
    for (const [k, f] of functions.entries()) {
      const start = performance.now();
      await f(x).data();
      best[k] = Math.min(best[k], performance.now() - start);
    }
  return best;
}

/** A tensor with its values known: what is compiled keeps it in memory. */
const known = async (t) => {
  await t.data();
  return t;
};

manualSeed(0);
console.log(`the Jacobian of tanh(tanh(x A) B), x of n elements, A n x ${HIDDEN}, B ${HIDDEN} x m`);
console.log("ms: the least of many calls; KB: the workers' memory its intermediate values take");
console.log("    n     m   forward ms   KB   reverse ms   KB   jacobian picks   the other takes");
for (const [n, m] of SHAPES) {
  const [x, a, b] = await Promise.all([[n], [n, HIDDEN], [HIDDEN, m]].map((shape) => known(randn(shape))));
  const f = (t) => t.matmul(a).tanh().matmul(b).tanh();
  const modes = [compile(jacfwd(f)), compile(jacrev(f))];
  const ms = await times(modes, x);
  const kilobytes = modes.map((mode) => mode.plan().bytes / 1024);
  const picked = jacobian(f).explain(x).startsWith("forward") ? 0 : 1;
  const cell = (value, digits, width) => value.toFixed(digits).padStart(width);
  const numbers = modes.map((_, k) => cell(ms[k], 3, 11) + cell(kilobytes[k], 0, 7)).join("");
  const other = `${(ms[1 - picked] / ms[picked]).toFixed(1)} times as long`;
  console.log(`${cell(n, 0, 5)} ${cell(m, 0, 5)}${numbers}   ${["forward", "reverse"][picked].padEnd(16)} ${other}`);
}
console.log(`
forward mode sends n vectors through the network, reverse mode m: they cross where n = m, and jacobian picks by that.
A loss has one output: its gradient is the last line's case, whatever the number of parameters.`);
