// What the numbers should be. Each goal looks into the results and is left out where they lack what it needs.

const atMost = (text, goal, measured) => ({ text, goal: `<= ${goal}`, measured, pass: measured <= goal });
const atLeast = (text, goal, measured) => ({ text, goal: `>= ${goal}`, measured, pass: measured >= goal });

const same = (text, identical) => ({
  text,
  goal: "identical",
  measured: identical ? "identical" : "different",
  pass: identical,
});

/** What a step may take, as a share of other engines' time, and its share of the ceiling. */
const STEPS = {
  tiny: { torch: 0.1, tfjs: 0.1, jax: 0.1 },
  mlp: { torch: 0.5, tfjs: 0.1, jax: 0.1 },
  deep: { torch: 0.75, tfjs: 0.1, jax: 0.5 },
  wide: { torch: 0.75, tfjs: 0.1, jax: 0.5 },
  cnn: { torch: 0.5, jax: 0.02, share: 0.6 },
  cifar: { torch: 0.65, jax: 0.02, share: 1.3 },
  resnet: { torch: 0.7, share: 0.6 },
  gpt: { torch: 0.65, share: 0.6 },
  mobile: { torch: 0.7, share: 0.35 },
  lstm: { torch: 0.65, share: 0.6 },
};

/** Shares of the ceiling of single convolutions on one worker, by how their names begin: all directions, or each. */
const CONVOLUTIONS = [
  ["3x3 64-64, 28x28", { forward: 2.2, input: 2.2, kernels: 1.6 }],
  ["5x5 ", 0.8],
  ["3x3, stride 2,", 0.8],
  ["1x1 ", 0.9],
  ["depthwise ", 0.25],
];

const engine = (step, host, threads, math = "fast") =>
  step?.engines.find((e) => e.family === "fourlane" && e.host === host && e.threads === threads && e.math === math);

/** [{text, goal, measured, pass}] */
export function judge({
  digits,
  gemm = [],
  steps = [],
  start = [],
  overhead = [],
  compile = [],
  convolution = [],
  blas,
}) {
  const goals = [];
  const add = (make, ...values) => {
    if (values.every((v) => v !== undefined && v !== null)) goals.push(make());
  };
  const { testAccuracy, trainSeconds, fullSize, identical } = digits ?? {};
  add(() => atLeast("digits: test accuracy with the defaults", 0.94, testAccuracy), testAccuracy);
  add(() => atMost("digits: training, 2 workers, s", 4, trainSeconds), trainSeconds);
  add(() => atMost("digits: 60,000 images, s per epoch", 1.5, fullSize.secondsPerEpoch), fullSize);
  add(() => same("digits: same parameters for 1, 2, 3, 4 workers, and again", identical), identical);

  const { cnn } = digits ?? {};
  add(() => atLeast("digits, cnn: test accuracy", 0.975, cnn.testAccuracy), cnn);
  add(() => atMost("digits, cnn: training, 2 workers, s", 10, cnn.trainSeconds), cnn);
  add(() => same("digits, cnn: same parameters for 1, 2, 3, 4 workers", cnn.identical), cnn);

  const { text } = digits ?? {};
  add(() => atMost("text, gpt: loss / entropy of pairs, held out", 1, text.finalLoss / text.bigramEntropy), text);
  add(() => atMost("text, gpt: training, 2 workers, s", 60, text.trainSeconds), text);

  for (const { host, variant, rows } of gemm) {
    const row = rows.find(({ m, k, n }) => m === 256 && k === 256 && n === 256);
    // The relaxed goal is for engines that have it, the portable one for the oldest Node.
    const goal = variant.endsWith("relaxed") ? 0.92 : host === "Node 20" ? 0.6 : undefined;
    if (!row || !goal) continue;
    const kind = variant.endsWith("relaxed") ? "relaxed" : "portable";
    goals.push(atLeast(`matmul 256x256x256 NN, ${host}, ${kind}, share of the ceiling`, goal, row.ratio.NN));
    for (const layout of ["NT", "TN"]) {
      const off = Math.abs(row.ratio[layout] / row.ratio.NN - 1);
      goals.push(atMost(`matmul 256x256x256 ${layout} against NN, ${host}, ${kind}, difference`, 0.1, off));
    }
  }

  const step = (name) => steps.find((s) => s.workload === name);
  for (const [name, { torch, tfjs, jax, share }] of Object.entries(STEPS)) {
    for (const host of ["Node 24", "Chromium"]) {
      const own = engine(step(name), host, 2);
      if (!own) continue;
      const text = `${name}: step / PyTorch's, ${host}, 2 workers`;
      // A goal nobody could check is not a goal met.
      if (own.ratio === undefined) goals.push({ text, goal: `<= ${torch}`, remark: "no PyTorch" });
      else
        goals.push({
          ...atMost(text, torch, own.ratio),
          ...(blas === "reference" && { remark: "PyTorch with reference BLAS" }),
        });
      add(() => atLeast(`${name}: share of the ceiling, ${host}, 2 workers`, share, own.share), share);
    }
    const inPage = engine(step(name), "Chromium", 2);
    add(() => atMost(`${name}: step / TensorFlow.js's, Chromium`, tfjs, inPage.tfjsRatio), tfjs, inPage?.tfjsRatio);
    add(() => atMost(`${name}: step / jax-js's, Chromium`, jax, inPage.jaxRatio), jax, inPage?.jaxRatio);
  }
  const wider = engine(step("wide"), "Node 24, 256 bits", 2);
  add(() => atMost("wide: step / PyTorch's, Node 24, 256 bits, 2 workers", 0.6, wider.ratio), wider?.ratio);
  for (const name of ["deep", "wide"])
    for (const { host, math, awaited } of step(name)?.speedups ?? [])
      if (math === "fast") goals.push(atLeast(`${name}: two workers against one, ${host}`, 1.8, awaited));
  for (const host of ["Node 20", "Node 24"]) {
    const one = engine(step("tiny"), host, 1);
    add(
      () => atMost(`tiny: a step of many in one launch, ${host}, 1 worker, us`, 25, one.residentMs * 1000),
      one?.residentMs,
    );
  }
  for (const { host, label, p50 } of overhead)
    if (host.startsWith("Node")) goals.push(atMost(`an awaited empty step, p50, ${label}, us`, 40, p50));
  for (const { workload, plan } of steps) add(() => atMost(`${workload}: arena / lower bound`, 1.05, plan.ratio), plan);
  // Relaxed SIMD is what the goals of single operations are for.
  for (const { host, variant, convolutions, pools } of convolution.filter((c) => c.variant === "relaxed")) {
    for (const [begin, goal] of CONVOLUTIONS)
      for (const { name, ratio } of convolutions.filter((c) => c.name.startsWith(begin)))
        for (const [direction, { 1: measured }] of Object.entries(ratio)) {
          const text = `conv ${name}, ${direction}, ${host}, ${variant}, share of the ceiling`;
          add(() => atLeast(text, goal[direction] ?? goal, measured), measured);
        }
    for (const { name, ratio } of pools)
      for (const [workers, measured] of Object.entries(ratio))
        goals.push(atMost(`2x2 max pooling ${name}, ${host}, ${workers} worker(s), / copying as much`, 2, measured));
  }
  for (const { host, min } of start)
    add(() => atMost(`import, init, first step of the MLP, ${host}, ms`, 300, min.withoutBoot), min);
  const [few, many] = [8, 512].map((steps) => compile.find((row) => row.network === "lstm" && row.size === steps));
  if (few && many) {
    goals.push(atMost("compile: lstm, time of 512 steps / time of 8", 1.5, many.cold.total / few.cold.total));
    goals.push(same("compile: lstm, instructions of 512 steps and of 8", many.instructions === few.instructions));
  }
  for (const { network, size, nodes, cold } of compile) {
    const limit = { 1000: 50, 10000: 500 }[size];
    if (limit) goals.push(atMost(`compile: ${network}, ${nodes} nodes, first in its process, ms`, limit, cold.total));
    const thousand = compile.find((row) => row.network === network && row.size === 1000);
    if (size !== 10000 || !thousand) continue;
    const growth = (10 * (cold.total / nodes)) / (thousand.cold.total / thousand.nodes);
    goals.push(atMost(`compile: ${network}, time of 10,000 nodes / time of 1,000`, 12, growth));
  }
  return goals;
}
