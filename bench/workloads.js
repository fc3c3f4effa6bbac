// The networks every engine trains: fully connected with ReLU between, softmax cross-entropy, Adam with its defaults.
export const WORKLOADS = [
  { name: "tiny", sizes: [2, 16, 16, 2], batch: 32 },
  { name: "mlp", sizes: [784, 128, 10], batch: 64 },
  { name: "deep", sizes: [784, 512, 512, 10], batch: 128 },
  { name: "wide", sizes: [1024, 1024, 1024, 10], batch: 256 },
];

/** Steps each engine takes at Adam's own learning rate before it is timed; their losses must agree between engines. */
export const CHECKED_STEPS = 4;

/**
 * Then so little that nothing is ever learnt: a network that knows its batch by heart has gradients that underflow, and
 * what a processor does with subnormal numbers is not what is to be measured.
 */
export const TIMED_LR = 1e-7;

/** Seeds of the data; layer i has 10 + 2i (weight) and 11 + 2i (bias). torch_engine.py has the same. */
const SEED_X = 1;
const SEED_Y = 2;
const SEED_LAYERS = 10;

/** n numbers in [0, 1), the same in every engine: the finaliser of MurmurHash3 over a counter. */
export function uniform(n, seed) {
  const values = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    let h = i + Math.imul(seed, 0x9e3779b1);
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    values[i] = ((h ^ (h >>> 16)) >>> 0) / 2 ** 32;
  }
  return values;
}

/** Images and labels of one batch. */
export function batchOf({ sizes, batch }) {
  const classes = sizes[sizes.length - 1];
  return {
    x: Float32Array.from(uniform(batch * sizes[0], SEED_X)),
    y: Int32Array.from(uniform(batch, SEED_Y), (u) => Math.floor(u * classes)),
  };
}

/** Weights [out, in] and biases of each layer, spread as PyTorch spreads them. */
export function parametersOf({ sizes }) {
  return sizes.slice(1).map((outputs, i) => {
    const bound = 1 / Math.sqrt(sizes[i]);
    const spread = (n, seed) => Float32Array.from(uniform(n, seed), (u) => (2 * u - 1) * bound);
    return {
      weight: spread(outputs * sizes[i], SEED_LAYERS + 2 * i),
      bias: spread(outputs, SEED_LAYERS + 1 + 2 * i),
    };
  });
}

/** Floating-point operations of the matrix products of one step: the first layer needs no gradient of its input. */
export function flopOf({ sizes, batch }) {
  return sizes.slice(1).reduce((sum, outputs, i) => sum + 2 * batch * sizes[i] * outputs * (i === 0 ? 2 : 3), 0);
}
