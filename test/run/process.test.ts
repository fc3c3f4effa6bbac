/** Whole processes, on the package as it is built: they exit by themselves, with and without dispose(). */
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";

const entry = new URL("../../dist/node/index.js", import.meta.url).href;

const TRAIN = `
  import * as fl from ${JSON.stringify(entry)};
  fl.manualSeed(1);
  const model = new fl.nn.Sequential(new fl.nn.Linear(8, 16), new fl.nn.ReLU(), new fl.nn.Linear(16, 3));
  const optimizer = new fl.optim.Adam(model.parameters());
  const step = fl.compile((x, y) => {
    optimizer.zeroGrad();
    const loss = fl.crossEntropy(model.forward(x), y);
    loss.backward();
    optimizer.step();
    return loss;
  });
  const x = fl.rand([12, 8]);
  await x.data();
  const y = fl.tensor(Int32Array.from({ length: 12 }, (_, i) => i % 3));
  const large = fl.tensor(new Float32Array(512 * 512).fill(1e-3), [512, 512]);
  const long = fl.compile((a) => {
    let p = a;
    for (let i = 0; i < 100; i++) p = p.matmul(a);
    return p.sum();
  });
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
`;

interface Exit {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
  readonly ms: number;
}

/** Runs a module; kills it after ten seconds, which shows as code null. */
function run(source: string, ...flags: string[]): Promise<Exit> {
  const start = performance.now();
  const child = spawn(process.execPath, [...flags, "--input-type=module", "-e", TRAIN + source], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 10_000,
    killSignal: "SIGKILL",
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (d) => {
    out += d;
  });
  child.stderr.on("data", (d) => {
    err += d;
  });
  return new Promise((resolve) =>
    child.on("close", (code) =>
      resolve({ code, out: out.trim(), err: err.slice(0, 500), ms: performance.now() - start }),
    ),
  );
}

const THREE = "for (let i = 0; i < 3; i++) await step(x, y).item();";

describe.each([
  ["shared memory", "await fl.dispose(); await fl.init({ workers: 2 });"],
  ["private memory", "await fl.dispose(); await fl.init({ shared: false });"],
])("a process, %s", (_, init) => {
  // The runtime of TRAIN's first line is another one: what it made is made again.
  const begin = `${init}
    const w = new fl.Parameter(fl.tensor([1, 2, 3]));
    const add = fl.compile(() => w.assign(w.add(1)));
    for (let i = 0; i < 3; i++) add();
    console.log(String(await w.data()));`;

  test.each([
    ["without dispose()", begin, 0],
    ["that calls dispose()", `${begin} await fl.dispose();`, 0],
    ["that calls dispose() and does not wait", `${begin} fl.dispose();`, 0],
    ["that does not wait for its last step", `${begin} add(); add();`, 0],
    [
      "that disposes in mid-step",
      `${begin} const p = long(large).item(); p.catch((e) => console.log(e.name));
      await sleep(60); await fl.dispose(); console.log("gone");`,
      0,
    ],
    ["that calls process.exit in mid-step", `${begin} void long(large).item(); await sleep(60); process.exit(5);`, 5],
  ])("%s exits", async (name, source, code) => {
    const exit = await run(source);
    expect(exit.err).toBe("");
    expect(exit.code).toBe(code);
    expect(exit.out.split("\n")[0]).toBe("4,5,6");
    if (name.includes("disposes")) expect(exit.out).toMatch(/DisposedError\ngone$/);
    expect(exit.ms).toBeLessThan(6000);
  });
});

describe("a process with defaults", () => {
  test("trains and exits", async () => {
    const exit = await run(`${THREE} console.log("done");`);
    expect(exit).toMatchObject({ code: 0, out: "done", err: "" });
  });

  test("does without Node's fetch, which takes longer to load than everything else", async () => {
    const exit = await run(
      `${THREE} console.log(process.moduleLoadList.filter((name) => name.includes("undici")).join());`,
    );
    expect(exit).toMatchObject({ code: 0, out: "", err: "" });
  });

  test("waits for a step nobody else keeps it alive for", async () => {
    const exit = await run(`long(large).item().then((v) => console.log(Number.isFinite(v)));`);
    expect(exit).toMatchObject({ code: 0, out: "true", err: "" });
  });

  test("with an error nobody catches exits with it, and does not stay", async () => {
    const exit = await run(`${THREE} await step(x, fl.tensor(new Int32Array(12).fill(3))).item();`);
    expect(exit.code).toBe(1);
    expect(exit.err).toContain("IndexError");
    expect(exit.ms).toBeLessThan(6000);
  });

  test("that only imports exits at once", async () => {
    const exit = await run("");
    expect(exit).toMatchObject({ code: 0, err: "" });
  });
});

test("kernels that cannot be loaded are a typed error, and the next step asks for them again", async () => {
  const folder = mkdtempSync(fileURLToPath(new URL("../../build/incomplete-", import.meta.url)));
  const kernels = fileURLToPath(new URL("../kernels/", entry));
  try {
    cpSync(new URL(".", entry), join(folder, "node"), { recursive: true });
    const exit = await run(`
      const { cpSync } = await import("node:fs");
      const { init, tensor } = await import(${JSON.stringify(pathToFileURL(join(folder, "node/index.js")).href)});
      const failed = (e) => [e.name, e.code, /^kernels.(\\w+).(plain|relaxed).js could not be loaded: .*kernels/.exec(e.message)?.[1]].join(" ");
      console.log(await init({ workers: 1 }).catch(failed));
      console.log(await tensor([1, 2]).sum().item().catch(failed));
      const { join } = await import("node:path");
      const copy = (family) => {
        for (const variant of ["plain", "relaxed"]) {
          const file = family + "." + variant + ".js";
          cpSync(join(${JSON.stringify(kernels)}, file), join(${JSON.stringify(join(folder, "kernels"))}, file));
        }
      };
      copy("core");
      console.log(await tensor([1, 2]).sum().item().catch(failed));
      console.log(await tensor([1, 2]).cumsum(0).sum().item().catch(failed));
      console.log(await tensor([1, 2]).sum().item().catch(failed));
      copy("various");
      console.log(await tensor([1, 2]).cumsum(0).sum().item().catch(failed));
    `);
    const missing = (family: string): string => `FourlaneError LOAD ${family}\n`;
    const out = `${missing("core").repeat(2)}3\n${missing("various")}3\n4`;
    expect(exit).toMatchObject({ code: 0, err: "", out });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
