// The main job, as a user runs it: accuracy, time, bits that do not depend on workers; and data of MNIST's full size.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";

const run = promisify(execFile);
const SCRIPT = fileURLToPath(new URL("../examples/digits.js", import.meta.url));

async function train(node, ...args) {
  const { stdout } = await run(node, [SCRIPT, "--json", ...args]);
  return JSON.parse(stdout);
}

/** The ConvNet: one run as users do it, and a short one for each number of workers. */
async function measureConvNet(node) {
  const { testAccuracy, trainSeconds } = await train(node, "--model", "cnn", "--workers", "2");
  const short = [];
  for (const workers of [1, 2, 3, 4])
    short.push(await train(node, "--model", "cnn", "--epochs", "1", "--workers", String(workers)));
  const identical = short.every((r) => r.parametersSha256 === short[0].parametersSha256);
  return { testAccuracy, trainSeconds, identical };
}

/** The transformer, as users run it. */
async function measureText(node) {
  const script = fileURLToPath(new URL("../examples/text.js", import.meta.url));
  const { stdout } = await run(node, [script, "--json", "--workers", "2"]);
  const { finalLoss, bigramEntropy, trainSeconds } = JSON.parse(stdout);
  return { finalLoss, bigramEntropy, trainSeconds };
}

/** An IDX file of bytes: magic number, extents, data, as MNIST has it. */
function idx(extents, data) {
  const head = Buffer.alloc(4 + 4 * extents.length);
  head.writeUInt32BE(0x0800 + extents.length, 0);
  extents.forEach((n, i) => head.writeUInt32BE(n, 4 + 4 * i));
  return gzipSync(Buffer.concat([head, data]), { level: 1 });
}

/** Images one can learn: a bright patch whose place is the label, some noise, and MNIST's share of black. */
function writeFullSize(directory) {
  for (const [part, n] of [
    ["train", 60_000],
    ["t10k", 10_000],
  ]) {
    const images = Buffer.alloc(n * 784);
    const labels = Buffer.alloc(n);
    let s = n;
    const next = () => {
      s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
      return s >>> 8;
    };
    for (let i = 0; i < n; i++) {
      const label = next() % 10;
      labels[i] = label;
      const corner = i * 784 + (2 + 12 * Math.floor(label / 5)) * 28 + 1 + 5 * (label % 5);
      for (let row = 0; row < 12; row++)
        for (let column = 0; column < 8; column++) images[corner + row * 28 + column] = next();
      for (let k = 0; k < 50; k++) images[i * 784 + (next() % 784)] = next();
    }
    writeFileSync(join(directory, `${part}-images-idx3-ubyte.gz`), idx([n, 28, 28], images));
    writeFileSync(join(directory, `${part}-labels-idx1-ubyte.gz`), idx([n], labels));
  }
}

/** The default model in the Node that runs, the ConvNet in `node`. */
export async function measureDigits({ quick, node }) {
  const runs = [];
  for (const workers of [2, 2, 1, 3, 4]) runs.push(await train(process.execPath, "--workers", String(workers)));
  const defaults = runs.slice(0, 2);
  const result = {
    testAccuracy: defaults[0].testAccuracy,
    trainSeconds: Math.min(...defaults.map((r) => r.trainSeconds)),
    parameters: runs.map(({ workers, parametersSha256 }) => ({ workers, sha256: parametersSha256 })),
    identical: runs.every((r) => r.parametersSha256 === runs[0].parametersSha256),
    cnn: await measureConvNet(node),
    text: await measureText(node),
  };
  if (quick) return result;
  const directory = mkdtempSync(join(tmpdir(), "fourlane-bench-"));
  try {
    writeFullSize(directory);
    const epochs = 2;
    const { trainSeconds, testAccuracy } = await train(
      process.execPath,
      "--data",
      directory,
      "--epochs",
      String(epochs),
    );
    result.fullSize = { images: 60_000, secondsPerEpoch: trainSeconds / epochs, testAccuracy };
  } finally {
    rmSync(directory, { recursive: true });
  }
  return result;
}
