// How long a program takes to its first loss, in a process that does nothing else: import, init, first step of the MLP.
// Prints milliseconds since the process began (`total`), of that Node's own start (`boot`), and the parts of the rest.
const boot = performance.now();
const { compile, crossEntropy, init, nn, optim, tensor } = await import("../../dist/node/index.js");
const imported = performance.now();
await init();
const ready = performance.now();
const model = new nn.Sequential(new nn.Linear(784, 128), new nn.ReLU(), new nn.Linear(128, 10));
const optimizer = new optim.Adam(model.parameters());
const step = compile((x, y) => {
  optimizer.zeroGrad();
  const loss = crossEntropy(model.forward(x), y);
  loss.backward();
  optimizer.step();
  return loss;
});
const x = tensor(new Float32Array(64 * 784).fill(0.5), [64, 784]);
const y = tensor(new Int32Array(64).fill(3), [64]);
const loss = await step(x, y).item();
const total = performance.now();
if (!Number.isFinite(loss)) throw new Error(`the first loss is ${loss}`);
console.log(JSON.stringify({ total, boot, import: imported - boot, init: ready - imported, step: total - ready }));
