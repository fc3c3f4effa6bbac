/** What pages load: the budgets of the project, one for each kind of page. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { platform } from "#platform";
import { nodeResolve } from "@rollup/plugin-node-resolve";
import { rollup } from "rollup";
import { minify } from "terser";
import { afterAll, expect, test } from "vitest";
import { browserWorker } from "#embedded";
import * as fl from "../src/index.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
const read = (path: string): string => readFileSync(root + path, "utf8");
const gzipped = (text: string): number => gzipSync(text, { level: 9 }).length;

const CONVNET = `
import { compile, crossEntropy, nn, optim, rand, tensor } from "fourlane";
const model = new nn.Sequential(
  new nn.Conv2d(1, 8, 3), new nn.BatchNorm2d(8), new nn.ReLU(), new nn.MaxPool2d(2), new nn.Flatten(), new nn.Linear(288, 10),
);
const optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
const step = compile((x, y) => {
  optimizer.zeroGrad();
  const loss = crossEntropy(model.forward(x), y);
  loss.backward();
  optimizer.step();
  return loss;
});
console.log(await step(rand([4, 1, 14, 14]), tensor([3, 1, 4, 1], { dtype: "int32" })).item());
`;

const TRANSFORMER = `
import { compile, crossEntropy, nn, optim, tensor } from "fourlane";
const embed = new nn.Embedding(16, 8), norm = new nn.LayerNorm(8), qkv = new nn.Linear(8, 24), head = new nn.Linear(8, 16);
const optimizer = new optim.AdamW([embed, norm, qkv, head].flatMap((m) => m.parameters()));
const step = compile((x, y) => {
  optimizer.zeroGrad();
  const h = embed.forward(x);
  const parts = qkv.forward(norm.forward(h)).reshape([2, 5, 3, 2, 4]).permute(2, 0, 3, 1, 4);
  const [q, k, v] = [0, 1, 2].map((i) => parts.select(0, i));
  const a = nn.functional.scaledDotProductAttention(q, k, v, { isCausal: true });
  const loss = crossEntropy(head.forward(nn.functional.gelu(h.add(a.transpose(1, 2).flatten(2)))).flatten(0, 1), y);
  loss.backward();
  optimizer.step();
  return loss;
});
console.log(await step(tensor([[1, 2, 3, 4, 5], [6, 7, 8, 9, 0]], { dtype: "int32" }), tensor(Int32Array.from({ length: 10 }, (_, i) => i))).item());
`;

/** Bytes, gzipped: of the page's JavaScript, with the library's as far as it is used, and of the kernels it asks for. The goal is 60 KB. */
const PAGES: [kind: string, source: string, families: string[], budget: number][] = [
  ["an MLP, the README's quick start", /```js\n([\s\S]*?)```/.exec(read("README.md"))?.[1] as string, ["core"], 78_000],
  ["a ConvNet", CONVNET, ["convolution", "core", "norm", "pooling"], 114_000],
  ["a transformer", TRANSFORMER, ["attention", "core", "norm", "various"], 99_500],
];

/** Whatever can be used, without a bundler. */
const EVERYTHING = 171_000;

/** A family's binary, the larger of the two, by what is in its files. */
const binaries = new Map<string, number>();
const contents = new Map<string, string>();
for (const file of readdirSync(`${root}dist/kernels`)) {
  const family = file.split(".")[0];
  const text = read(`dist/kernels/${file}`);
  contents.set(JSON.parse(/"[^"]*"/.exec(text)?.[0] as string), family);
  binaries.set(family, Math.max(binaries.get(family) ?? 0, gzipped(text)));
}
const sum = (numbers: Iterable<number>): number => [...numbers].reduce((a, b) => a + b, 0);

const { unpack } = platform;
afterAll(async () => {
  platform.unpack = unpack;
  await fl.dispose();
});

/** A page's script, bundled as users do: unused code dropped, minified. The kernels stay outside, and what is imported on use. */
async function bundled(source: string): Promise<string> {
  const entry = `${root}build/page.js`;
  const build = await rollup({
    input: entry,
    external: [/\/kernels\//],
    plugins: [
      { name: "entry", resolveId: (id) => (id === entry ? id : null), load: (id) => (id === entry ? source : null) },
      nodeResolve({ exportConditions: ["browser", "default"] }),
    ],
  });
  const { output } = await build.generate({ format: "es" });
  await build.close();
  const [page] = output;
  expect(page.imports).toEqual([]); // all that is loaded at once is in one file
  return (await minify(page.code, { module: true, ecma: 2020 })).code as string;
}

/** Runs a page's script here, and tells which kernels it asks for. */
async function asked(source: string): Promise<string[]> {
  const families: string[] = [];
  platform.unpack = (packed) => {
    families.push(contents.get(packed) as string);
    return unpack(packed);
  };
  await fl.dispose();
  await fl.init();
  const body = source.replace(/^\s*import (\{[^}]*\}) from "fourlane";/, "const $1 = fl;");
  const AsyncFunction = (async () => {}).constructor as new (
    ...text: string[]
  ) => (...args: unknown[]) => Promise<void>;
  await new AsyncFunction("fl", "console", body)(fl, { log() {} });
  return families.sort();
}

test.each(PAGES)("a page that trains %s loads no more than its budget", async (kind, source, families, budget) => {
  expect(await asked(source)).toEqual(families);
  const worker = gzipped(browserWorker);
  const script = gzipped(await bundled(source));
  const kernels = sum(families.map((family) => binaries.get(family) as number));
  const total = script + kernels;
  console.log(`${kind}: JavaScript ${script - worker} + worker ${worker} + kernels ${kernels} = ${total} of ${budget}`);
  expect(script).toBeGreaterThan(20_000); // the library is in it
  expect(total).toBeLessThan(budget);
});

test("the whole library is no larger than its budget", () => {
  const comlink = gzipped(read("node_modules/comlink/dist/esm/comlink.min.mjs"));
  const script = gzipped(read("dist/browser/index.js")) + comlink;
  const kernels = sum(binaries.values());
  console.log(`everything: JavaScript ${script} + kernels ${kernels} = ${script + kernels} of ${EVERYTHING}`);
  expect(kernels).toBeGreaterThan(20_000);
  expect(script + kernels).toBeLessThan(EVERYTHING);
});
