// How long compiling takes, pass by pass, as networks grow: in a fresh process (what a user waits for) and once V8 is warm.
//
//   node bench/compile.js [--json] [--quick] [--only TEXT]
//
//   --json        one JSON object on standard output and nothing else
//   --quick       fewer processes, none for the largest graphs
//   --only TEXT   only networks whose name contains TEXT: mlp, residual, fan-out, random, lstm
import { execFile } from "node:child_process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs, promisify } from "node:util";
import { build } from "esbuild";
import { judge } from "./goals.js";
import { number, printGoals, table } from "./table.js";
import { uniform } from "./workloads.js";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const run = promisify(execFile);

/** Nodes of the graphs, roughly: of the whole step, gradients and updates included. */
const SIZES = [100, 1_000, 3_000, 10_000, 30_000];
const BATCH = 16;
const WIDTH = 32;

/** Networks of `depth` blocks: the layers, and what they compute from a batch. Each trains with Adam. */
const NETWORKS = {
  mlp: ({ nn }, depth) => {
    const layers = Array.from({ length: depth }, () => new nn.Linear(WIDTH, WIDTH));
    return { layers, forward: (x) => layers.reduce((h, layer) => layer.forward(h).relu(), x) };
  },
  residual: ({ nn }, depth) => {
    const layers = Array.from({ length: 2 * depth }, () => new nn.Linear(WIDTH, WIDTH));
    const block = (h, i) => h.add(layers[2 * i + 1].forward(layers[2 * i].forward(h).relu()));
    return { layers, forward: (x) => Array.from({ length: depth }, (_, i) => i).reduce(block, x) };
  },
  "fan-out": ({ nn }, depth) => {
    const layers = [new nn.Linear(WIDTH, WIDTH)];
    const forward = (x) => {
      const h = layers[0].forward(x);
      const branches = Array.from({ length: depth }, (_, i) =>
        h
          .mul(1 / (i + 1))
          .tanh()
          .sum(1),
      );
      return h.add(branches.reduce((a, b) => a.add(b)).unsqueeze(1));
    };
    return { layers, forward };
  },
  random: ({ nn }, depth) => {
    const layers = Array.from({ length: 4 }, () => new nn.Linear(WIDTH, WIDTH));
    const forward = (x) => {
      const draws = uniform(6 * depth, 1).values(); // six a node at most
      const draw = (n) => Math.floor(draws.next().value * n);
      const pool = [layers[0].forward(x)];
      // Mostly from what is new, so that depth grows, and sometimes from anywhere.
      const pick = () => pool[draw(4) === 0 ? draw(pool.length) : Math.max(0, pool.length - 1 - draw(8))];
      for (let i = 0; i < depth; i++) {
        const [a, b] = [pick(), pick()];
        const makes = [
          () => a.add(b),
          () => a.mul(b),
          () => a.tanh(),
          () => a.sub(b.mean(1, true)),
          () => a.mul(b.sigmoid()),
          () => layers[draw(4)].forward(a),
        ];
        pool.push(makes[draw(makes.length)]());
      }
      return pool.reduce((a, b) => a.add(b));
    };
    return { layers, forward };
  },
  lstm: ({ nn }, steps) => {
    const layers = [new nn.LSTM(WIDTH, WIDTH)];
    const forward = (x) => layers[0].forward(x.unsqueeze(0).expand([steps, BATCH, WIDTH]))[0].select(0, -1);
    return { layers, forward };
  },
};

/** Networks whose graph does not grow with their size, and what sizes they are measured at: the steps of a loop. */
const LOOPS = { lstm: [8, 512] };

/** Records one training step and compiles it. Returns milliseconds by pass, the nodes of its graph, and the program. */
function compileStep(fourlane, name, depth) {
  const { collect, compileGraph, dataLeaf, nn, optim, Tensor, toposort, Trace, withTrace } = fourlane;
  const { layers, forward } = NETWORKS[name](fourlane, depth);
  const optimizer = new optim.Adam(layers.flatMap((layer) => [...layer.parameters()]));
  const x = new Tensor(dataLeaf([BATCH, WIDTH], "float32", new Float32Array(BATCH * WIDTH)));
  const labels = new Tensor(dataLeaf([BATCH], "int32", new Int32Array(BATCH)));
  const passes = {};
  const clock = (pass, f) => {
    const start = performance.now();
    const result = f();
    passes[pass] = (passes[pass] ?? 0) + performance.now() - start;
    return result;
  };
  const trace = new Trace();
  const graph = withTrace(trace, () => {
    const loss = clock("trace", () => nn.functional.crossEntropy(forward(x), labels));
    clock("gradient", () => {
      optimizer.zeroGrad();
      loss.backward();
    });
    return clock("trace", () => {
      optimizer.step();
      const changed = [...trace.variables.values()].filter((v) => v.value !== v.leaf);
      const values = changed.map((v) => v.value);
      return collect([loss.node], values, ({ kind }) => kind === "state");
    });
  });
  const program = compileGraph(graph, clock);
  const total = Object.values(passes).reduce((sum, ms) => sum + ms, 0);
  return { passes, total, nodes: toposort([...graph.outputs, ...graph.updates]).length, program };
}

/** In a process of its own: the first compile, and the fastest of those after it. */
async function measureHere(bundle, name, depth, warmMs) {
  const fourlane = await import(bundle);
  const first = compileStep(fourlane, name, depth);
  let best = first;
  const until = performance.now() + warmMs;
  for (let i = 0; performance.now() < until; i++) {
    const again = compileStep(fourlane, name, depth);
    if (again.total < best.total) best = again;
  }
  const { bytes, lowerBound } = first.program.plan;
  const of = ({ passes, total }) => ({ passes, total });
  return {
    nodes: first.nodes,
    instructions: first.program.labels.length,
    ratio: lowerBound > 0 ? bytes / lowerBound : 1,
    cold: of(first),
    warm: of(best),
  };
}

/** The library with what only the bench asks for, as one file. Returns its address. */
async function bundleLibrary() {
  const outfile = path("../build/bench-compile.js");
  const contents = [
    `export * from "./src/index.ts";`,
    `export { compileGraph } from "./src/compile/compile.ts";`,
    `export { toposort } from "./src/graph/node.ts";`,
    `export { collect } from "./src/trace/evaluate.ts";`,
    `export { dataLeaf } from "./src/trace/bindings.ts";`,
    `export { Trace, withTrace } from "./src/trace/trace.ts";`,
  ].join("\n");
  await build({
    stdin: { contents, resolveDir: path("..") },
    outfile,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "es2022",
    external: ["comlink"],
    alias: { "comlink/dist/esm/node-adapter": "comlink/dist/esm/node-adapter.mjs" },
  });
  return pathToFileURL(outfile).href;
}

/**
 * Every network at every size, the fastest of a few processes:
 * [{network, size, nodes, instructions, ratio, cold: {passes, total}, warm: {passes, total}}], milliseconds.
 */
export async function measureCompile({ quick = false, only = "", say = () => {} } = {}) {
  const bundle = await bundleLibrary();
  const fourlane = await import(bundle);
  const rows = [];
  for (const network of Object.keys(NETWORKS).filter((name) => name.includes(only))) {
    const sample = 100;
    const { nodes } = compileStep(fourlane, network, sample);
    const steps = LOOPS[network];
    for (const size of steps ?? (quick ? SIZES.slice(0, -1) : SIZES)) {
      say(`${network}, ${size} ${steps ? "steps" : "nodes"} ...`);
      const depth = steps ? size : Math.max(1, Math.round((sample * size) / nodes));
      const args = [path("compile.js"), "--child", bundle, network, String(depth), quick ? "200" : "1000"];
      let best;
      for (let i = 0; i < (quick ? 3 : 6); i++) {
        const row = JSON.parse((await run(process.execPath, args)).stdout);
        best ??= row;
        for (const kind of ["cold", "warm"]) if (row[kind].total < best[kind].total) best[kind] = row[kind];
      }
      rows.push({ network, size, ...best });
    }
  }
  return rows;
}

const PASSES = ["trace", "gradient", "simplify", "fuse", "match", "lower", "partition", "plan", "encode"];

/** The tables of measureCompile's rows, as text. */
export function printCompile(rows) {
  const tableOf = (kind) => {
    const lines = rows.map((row) => {
      const { passes, total } = row[kind];
      const times = [...PASSES.map((pass) => passes[pass]), total, (1000 * total) / row.nodes].map(number);
      return [
        LOOPS[row.network] ? `${row.network}, ${row.size} steps` : row.network,
        row.nodes,
        row.instructions,
        ...times,
        row.ratio.toFixed(3),
      ];
    });
    return table([`${kind}, ms`, "nodes", "instructions", ...PASSES, "total", "us / node", "arena / bound"], lines);
  };
  const head = "Compiling a training step, nodes of the whole graph with gradients and updates";
  return `${head}; first in its process (cold), then fastest of many (warm)\n\n${tableOf("cold")}\n\n${tableOf("warm")}`;
}

if (process.argv[1] === path("compile.js")) {
  if (process.argv[2] === "--child") {
    const [bundle, network, depth, warmMs] = process.argv.slice(3);
    console.log(JSON.stringify(await measureHere(bundle, network, Number(depth), Number(warmMs))));
  } else {
    const options = {
      json: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      only: { type: "string", default: "" },
    };
    const { json, quick, only } = parseArgs({ options }).values;
    const compile = await measureCompile({ quick, only, say: (text) => process.stderr.write(`${text}\n`) });
    if (json) console.log(JSON.stringify({ compile, goals: judge({ compile }) }));
    else console.log(`${printCompile(compile)}\n\n${printGoals(judge({ compile }))}`);
  }
}
