// The Jacobian of relu on [100, 4096] has 167,772,160,000 elements. Which of them are worth keeping? The graph knows.
// `node examples/relu-jacobian.js` after a build.
import { arange, dispose, jacobianOperator, linear, manualSeed, randn, tensor } from "fourlane";

manualSeed(1);

/** Random numbers, computed now: drawn once, read often. */
const drawn = async (...shape) => tensor(await randn(shape).data()).reshape(shape);

const UNITS = ["B", "KB", "MB", "GB"];
const bytes = (n) => {
  const k = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(n, 1)) / 3));
  return `${Number((n / 1000 ** k).toPrecision(3))} ${UNITS[k]}`;
};

/** The least time of `make().data()`, in milliseconds. */
async function time(make) {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 50; i++) {
    const start = performance.now();
    await make().data();
    least = Math.min(least, performance.now() - start);
  }
  return least;
}

const relu = (x) => x.relu();
const x = await drawn(100, 4096);
const j = jacobianOperator(relu, x);

console.log(`relu on [${x.shape}]: a Jacobian of ${j.shape.join(" x ")}`);
console.log(`  structure  ${j.structure}`);
console.log(`  bytes      ${bytes(j.bytes)}, dense ${bytes(j.denseBytes)}`);
console.log(`  ones on it ${await j.diagonal().sum().item()}`);
try {
  j.toDense();
} catch (error) {
  console.log(`  ${error.name}: ${error.message}`);
}

console.log("\n        n   J v ms   J^T u ms   J v, ns per element");
for (const columns of [512, 1024, 2048, 4096]) {
  const part = await drawn(100, columns);
  const v = await drawn(100, columns);
  const operator = jacobianOperator(relu, part);
  const jvp = await time(() => operator.jvp(v));
  const vjp = await time(() => operator.vjp(v));
  const n = part.numel();
  console.log(
    `${String(n).padStart(9)} ${jvp.toFixed(2).padStart(8)} ${vjp.toFixed(2).padStart(10)} ${((jvp / n) * 1e6).toFixed(1).padStart(21)}`,
  );
}

const batch = await drawn(64, 784);
const weight = await drawn(128, 784);
const bias = arange(128).float();
const others = {
  "linear, to its input": jacobianOperator((t) => linear(t, weight, bias), batch),
  "linear, to its weight": jacobianOperator((t) => linear(batch, t, bias), weight),
  "linear, to its bias": jacobianOperator((t) => linear(batch, weight, t), bias),
  "linear, then relu": jacobianOperator((t) => linear(t, weight, bias).relu(), batch),
  softmax: jacobianOperator((t) => t.softmax(), batch),
  transpose: jacobianOperator((t) => t.t(), batch),
  sum: jacobianOperator((t) => t.sum(), batch),
};
console.log("\nfunction                   Jacobian        structure           bytes      dense");
for (const [name, { shape, structure, bytes: kept, denseBytes }] of Object.entries(others))
  console.log(
    `${name.padEnd(22)} ${shape.join(" x ").padStart(15)}   ${structure.padEnd(15)} ${bytes(kept).padStart(9)} ${bytes(denseBytes).padStart(10)}`,
  );
await dispose();
