// Trains 784-128-10 on real digits.
import * as fl from "fourlane";

const { compile, crossEntropy, DataLoader, nn, optim, TensorDataset, tensor } = fl;
const PIXELS = 784;
const BATCH = 64;
const pause = (ms = 0) => new Promise((resolve) => setTimeout(resolve, ms));
const show = (id, text) => {
  document.getElementById(id).textContent = text;
};

async function load(name) {
  const bytes = new Uint8Array(await (await fetch(name)).arrayBuffer());
  const n = bytes.length / (PIXELS + 1);
  const images = new Float32Array(n * PIXELS);
  const labels = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    const at = i * (PIXELS + 1);
    labels[i] = bytes[at];
    for (let p = 0; p < PIXELS; p++) images[i * PIXELS + p] = bytes[at + 1 + p] / 255;
    // Reading files is not training, but a page would not stand still for that either.
    if (i % 200 === 199) await pause();
  }
  return new TensorDataset(tensor(images, [n, PIXELS]), tensor(labels));
}

/** FNV-1a over the bytes of all parameters. */
async function hash(model) {
  let h = 0x811c9dc5;
  for (const p of model.parameters()) {
    const data = await p.data();
    for (const byte of new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
      h = Math.imul(h ^ byte, 0x01000193);
    await pause();
  }
  return (h >>> 0).toString(16).padStart(8, "0");
}

async function accuracy(model, test, predict) {
  let right = 0;
  model.eval();
  for await (const [x, y] of new DataLoader(test, { batchSize: 250 })) right += await predict(x, y).item();
  model.train();
  return right / test.length;
}

/** The whole of it; the test calls it. */
async function train({ epochs = 4, options = {} } = {}) {
  const [digits, test] = await Promise.all([load("/train.bin"), load("/test.bin")]);
  await pause(50);

  const start = performance.now();
  const info = await fl.init(options);
  show("info", `${info.workers} worker${info.workers > 1 ? "s" : ""} of ${info.cores} cores: ${info.reason}`);
  fl.manualSeed(1);
  const model = new nn.Sequential(new nn.Linear(PIXELS, 128), new nn.ReLU(), new nn.Linear(128, 10));
  const optimizer = new optim.Adam(model.parameters(), { lr: 1e-3 });
  const step = compile((x, y) => {
    optimizer.zeroGrad();
    const loss = crossEntropy(model.forward(x), y);
    loss.backward();
    optimizer.step();
    return loss;
  });
  const predict = compile((x, y) => model.forward(x).argmax(1).eq(y).sum());

  const losses = [];
  const rates = [];
  const loader = new DataLoader(digits, { batchSize: BATCH, shuffle: true, seed: 1 });
  let testAccuracy = 0;
  for (let epoch = 0; epoch < epochs; epoch++) {
    const began = performance.now();
    let sum = 0;
    let batches = 0;
    for await (const [x, y] of loader) {
      sum += await step(x, y).item();
      batches++;
      document.getElementById("progress").value = (epoch + batches / loader.length) / epochs;
    }
    losses.push(sum / batches);
    rates.push((digits.length / (performance.now() - began)) * 1000);
    testAccuracy = await accuracy(model, test, predict);
    const row = document.getElementById("epochs").insertRow();
    const cells = [
      epoch + 1,
      losses[epoch].toFixed(4),
      `${(100 * testAccuracy).toFixed(1)} %`,
      Math.round(rates[epoch]),
    ];
    for (const cell of cells) row.insertCell().textContent = String(cell);
  }
  const milliseconds = performance.now() - start;
  show("verdict", `${(milliseconds / 1000).toFixed(2)} s`);
  const parameters = await hash(model);
  await fl.dispose();
  return { isolated: crossOriginIsolated, info, losses, testAccuracy, rates, milliseconds, parameters };
}

window.train = train;
document.documentElement.dataset.ready = "true";
