/** init({ vectors: 256 }): the same bits where the engine can, said where it cannot. Each in a process of its own: it is for all of it. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);
const library = new URL("../../dist/node/index.js", import.meta.url).href;

/** What a script that is given the library, and whether vectors are wide, prints. */
async function printed(script: string, vectors: string): Promise<string> {
  const source = `import * as fl from ${JSON.stringify(library)};\nconst vectors = ${vectors};\n${script}\nawait fl.dispose();`;
  const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", source]);
  return stdout.trim();
}

const [major, minor] = process.versions.node.split(".").map(Number);
const can = major > 23 || (major === 23 && minor >= 5);

const TRAIN = `
await fl.init({ workers: 2, vectors });
fl.manualSeed(3);
const { nn } = fl;
const model = new nn.Sequential(new nn.Conv2d(3, 16, 3, { padding: 1 }), new nn.BatchNorm2d(16), new nn.GELU(),
  new nn.MaxPool2d(2), new nn.Flatten(), new nn.Linear(16 * 49, 37), new nn.Tanh(), new nn.Linear(37, 10));
const optimizer = new fl.optim.Adam(model.parameters());
const step = fl.compile((x, y) => {
  optimizer.zeroGrad();
  const loss = fl.crossEntropy(model.forward(x), y);
  loss.backward();
  optimizer.step();
  return loss;
});
const x = fl.randn([21, 3, 14, 14]);
const y = fl.arange(21).remainder(10).to("int32");
for (let i = 0; i < 40; i++) await step(x, y).item();
const all = [];
for (const p of model.parameters()) all.push(Buffer.from((await p.data()).buffer).toString("base64"));
console.log(all.join());`;

test(
  can ? "40 steps of training leave the same bits" : "is refused where the engine cannot, by name and version",
  async () => {
    if (can) {
      const [narrow, wide] = await Promise.all([printed(TRAIN, "undefined"), printed(TRAIN, "256")]);
      expect(narrow.length).toBeGreaterThan(1000);
      expect(wide).toBe(narrow);
    } else {
      const text = await printed("await fl.init({ vectors }).catch((e) => console.log(e.name, e.message));", "256");
      expect(text).toMatch(/^ValueError init: vectors cannot be 256 bits wide: Node \S+ cannot, 23.5 and newer can$/);
    }
  },
);

test("is for the whole process: what was compiled before stays as it is", async () => {
  const text = await printed(
    `await fl.init({ workers: 1 });
     await fl.dispose();
     await fl.init({ vectors }).catch((e) => console.log(e.message));`,
    "256",
  );
  expect(text).toBe("init: vectors cannot be 256 bits wide: kernels were compiled for 128 bits in this process");
});

test("other numbers are refused", async () => {
  const text = await printed("await fl.init({ vectors }).catch((e) => console.log(e.message));", "512");
  expect(text).toBe("init: vectors must be 128 or 256, got 512");
});
