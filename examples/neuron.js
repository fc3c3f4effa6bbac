// The sigmoid of a neuron, 1 / (1 + exp(-(w0 x0 + w1 x1 + w2))): in simple gates, and as one gate of our own.
// `node examples/neuron.js` after a build.
import { compile, defineOp, explain, grad, hessian, tensor } from "fourlane";

const neuron = { w0: tensor(2), x0: tensor(-1), w1: tensor(-3), x1: tensor(-2), w2: tensor(-3) };
const sum = ({ w0, x0, w1, x1, w2 }) => w0.mul(x0).add(w1.mul(x1)).add(w2);

console.log("in simple gates:");
console.log(String(await explain(sum(neuron).neg().exp().add(1).reciprocal(), neuron)));

// The slope of s = sigmoid(x) is (1 - s) s: no need to go back through exp, + and 1 / x.
const sigmoid = defineOp({
  name: "ourSigmoid",
  pattern: "times (1 - s) s",
  forward: (x) => x.neg().exp().add(1).reciprocal(),
  backward: (dTop, { output: s }) => dTop.mul(s.neg().add(1)).mul(s),
});
console.log("\nas one gate:");
console.log(String(await explain(sigmoid(sum(neuron)), neuron)));

// It is an operation like any other: compiled, and differentiated twice, as the built-in one.
const slope = compile(grad(sigmoid));
const curvature = compile(hessian(sigmoid));
const x = tensor(1);
console.log(`
at x = 1   sigmoid' = ${(await slope(x).item()).toFixed(6)}   sigmoid'' = ${(await curvature(x).item()).toFixed(6)}
built in   sigmoid' = ${(await grad((t) => t.sigmoid())(x).item()).toFixed(6)}   sigmoid'' = ${(
  await hessian((t) => t.sigmoid())(x).item()
).toFixed(6)}`);
