// y = x1 x2 + sin(x1) differentiated in forward and in reverse mode, with what each costs. `node examples/modes.js`
import { compile, Graph, jvp, tensor, vjp } from "fourlane";

const x = [tensor(2), tensor(5)];
const zero = tensor(0);
const one = tensor(1);
const f = (x1, x2) => {
  const v1 = x1.mul(x2);
  const v2 = x1.sin();
  return { v1, v2, y: v1.add(v2) };
};
const print = async (what, values) => {
  const numbers = await Promise.all(
    Object.entries(values).map(async ([k, t]) => `${k} = ${(await t.item()).toFixed(4)}`),
  );
  console.log(`${what.padEnd(26)}${numbers.join("   ")}`);
};

console.log("y = x1 x2 + sin(x1) at x1 = 2, x2 = 5: dy/dx1 = x2 + cos(x1) = 4.5839, dy/dx2 = x1 = 2\n");
await print("values", f(...x));

console.log("\nforward mode: the derivatives of all values with respect to one input; a pass for each input");
await print("  d/dx1", jvp(f, x, [one, zero])[1]);
await print("  d/dx2", jvp(f, x, [zero, one])[1]);

console.log("\nreverse mode: the derivatives of one output with respect to all values; a pass for each output");
const net = new Graph((x1, x2) => f(x1, x2).y, ...x);
net.forward(...x);
const [d1, d2] = net.backward();
const [v1, v2] = net.output.inputs;
await print("  dy/d...", { v1: v1.gradient, v2: v2.gradient, x1: d1, x2: d2 });

/** Arithmetic operations in what a function records: no inputs, constants, or operations that only pass a value on. */
const operations = (g, ...args) => {
  const step = compile(g);
  const names = step.graph(...args).matchAll(/ = (\w+)/g);
  return [...names].filter(([, name]) => !["leaf", "constant", "alias"].includes(name)).length;
};
const value = operations((...a) => f(...a).y, ...x);
const forward = operations((...a) => jvp((...b) => f(...b).y, a.slice(0, 2), a.slice(2))[1], ...x, one, zero);
const reverse = operations((...a) => vjp((...b) => f(...b).y, ...a.slice(0, 2))[1](a[2]), ...x, one);
console.log(`
the cost of the gradient, in operations recorded beside the ${value} of y:
  forward mode   2 passes of ${forward}: ${2 * forward}
  reverse mode   1 pass of ${reverse}
With n inputs forward mode takes n passes, reverse mode still one: it is how networks are trained.`);
