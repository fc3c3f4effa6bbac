// What the numbers should be. Each goal looks into the results and is left out where they lack what it needs.

const atMost = (text, goal, measured) => ({ text, goal: `<= ${goal}`, measured, pass: measured <= goal });
const atLeast = (text, goal, measured) => ({ text, goal: `>= ${goal}`, measured, pass: measured >= goal });

const engine = (step, host, threads, math = "fast") =>
  step?.engines.find((e) => e.family === "fourlane" && e.host === host && e.threads === threads && e.math === math);

/** [{text, goal, measured, pass}] */
export function judge({ digits, gemm = [], steps = [], start = [], overhead = [], compile = [], blas }) {
  const goals = [];
  const add = (make, ...values) => {
    if (values.every((v) => v !== undefined && v !== null)) goals.push(make());
  };
  const { testAccuracy, trainSeconds, fullSize, identical } = digits ?? {};
  add(() => atLeast("digits: test accuracy with the defaults", 0.94, testAccuracy), testAccuracy);
  add(() => atMost("digits: training, 2 workers, s", 4, trainSeconds), trainSeconds);
  add(() => atMost("digits: 60,000 images, s per epoch", 1.5, fullSize.secondsPerEpoch), fullSize);
  add(
    () => ({
      text: "digits: same parameters for 1, 2, 3, 4 workers, and again",
      goal: "identical",
      measured: identical ? "identical" : "different",
      pass: identical,
    }),
    identical,
  );

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
  for (const [name, torch, tfjs, jax] of [
    ["tiny", 0.1, 0.1, 0.1],
    ["mlp", 0.5, 0.1, 0.1],
    ["deep", 0.75, 0.1, 0.5],
    ["wide", 0.75, 0.1, 0.5],
  ]) {
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
    }
    const inPage = engine(step(name), "Chromium", 2);
    add(() => atMost(`${name}: step / TensorFlow.js's, Chromium`, tfjs, inPage.tfjsRatio), inPage?.tfjsRatio);
    add(() => atMost(`${name}: step / jax-js's, Chromium`, jax, inPage.jaxRatio), inPage?.jaxRatio);
  }
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
  for (const { workload, plan } of steps) add(() => atMost(`${workload}: arena / lower bound`, 1.1, plan.ratio), plan);
  for (const { host, min } of start)
    add(() => atMost(`import, init, first step of the MLP, ${host}, ms`, 300, min.withoutBoot), min);
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
