/** explain: what is printed is what the gates compute, and the words are those of the op table. */
import { expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { OPS } from "../../src/ops/table.ts";

const { explain, tensor } = fl;
type T = fl.Tensor;

const point = { x: tensor(-2), y: tensor(5), z: tensor(-4) };
const lecture = (): T => point.x.add(point.y).mul(point.z);

test("prints gates in topological order with value, gradient and pattern", async () => {
  expect(String(await explain(lecture(), point)).split("\n")).toEqual([
    "gate  op    from  shape  value  gradient  backward",
    "x     leaf        []     -2     -4",
    "y     leaf        []     5      -4",
    "%2    add   x y   []     3      -4        distributes",
    "z     leaf        []     -4     3",
    "%4    mul   %2 z  []     -12    1         switches",
  ]);
});

test("is a graph for Graphviz and for Mermaid, an edge with its value and its gradient", async () => {
  const e = await explain(lecture(), point);
  expect(e.toDot()).toBe(`digraph {
  rankdir=LR;
  g0 [shape=ellipse, label="x\\nfloat32[]"];
  g1 [shape=ellipse, label="y\\nfloat32[]"];
  g2 [shape=box, label="add\\ndistributes"];
  g3 [shape=ellipse, label="z\\nfloat32[]"];
  g4 [shape=box, label="mul\\nswitches"];
  g0 -> g2 [label=<<font color="darkgreen">-2</font><br/><font color="red">-4</font>>];
  g1 -> g2 [label=<<font color="darkgreen">5</font><br/><font color="red">-4</font>>];
  g2 -> g4 [label=<<font color="darkgreen">3</font><br/><font color="red">-4</font>>];
  g3 -> g4 [label=<<font color="darkgreen">-4</font><br/><font color="red">3</font>>];
  g4 -> out [label=<<font color="darkgreen">-12</font><br/><font color="red">1</font>>];
  out [shape=plaintext];
}`);
  expect(e.toMermaid()).toBe(`flowchart LR
  g0(["x<br/>float32[]"])
  g1(["y<br/>float32[]"])
  g2["add<br/>distributes"]
  g3(["z<br/>float32[]"])
  g4["mul<br/>switches"]
  g0 -->|"-2 / -4"| g2
  g1 -->|"5 / -4"| g2
  g2 -->|"3 / -4"| g4
  g3 -->|"-4 / 3"| g4
  g4 -->|"-12 / 1"| out`);
});

test("named constants and random draws are inputs, with a gradient", async () => {
  fl.manualSeed(1);
  const [w, r, h] = [fl.ones([2]), fl.randn([2]), point.x.mul(3)];
  const e = await explain(w.mul(r).mul(h).add(fl.full([], 2)).sum(), { w, r, h });
  const gate = (name: string) => e.gates.find((g) => g.name === name) as fl.ExplainedGate;
  expect([gate("w").op, gate("r").op, gate("h").op]).toEqual(["leaf", "leaf", "mul"]);
  const drawn = await r.data();
  expect(gate("w").gradient).toEqual(drawn.map((v) => v * -6));
  expect(gate("r").gradient).toEqual(Float32Array.of(-6, -6));
  expect(e.gates.map((g) => g.op)).not.toContain("uniform");
  expect(e.gates.find((g) => g.op === "constant" && g.value?.[0] === 2)?.gradient).toBeNull();
  // A constant alone is a loss, too.
  expect((await explain(w.sum(), { w })).gates[0].gradient).toEqual(Float32Array.of(1, 1));
});

test("names that would end a label do not", async () => {
  const e = await explain(point.x.mul(2), { 'a"\\<b>': point.x });
  expect(e.toDot()).toContain('label="a\\"\\\\<b>\\nfloat32[]"');
  expect(e.toMermaid()).toContain('(["a#34;\\#60;b#62;<br/>float32[]"])');
  expect((await explain(point.x.mul(2), { "a\n b": point.x })).toMermaid()).toContain('(["a#10; b<br/>float32[]"])');
});

test("of a network: values and gradients as data, whether or not its parameters were computed before", async () => {
  fl.manualSeed(2);
  const model = new fl.nn.Sequential(new fl.nn.Linear(3, 4), new fl.nn.ReLU(), new fl.nn.Linear(4, 1));
  const x = tensor([
    [1, 2, 3],
    [-1, 0, 1],
  ]);
  const loss = model.forward(x).square().mean();
  const before = await explain(loss, { x, ...model.stateDict() });
  loss.backward();
  const after = await explain(model.forward(x).square().mean(), { x, ...model.stateDict() });
  expect(String(after)).toBe(String(before));
  for (const [name, p] of model.namedParameters()) {
    const gate = before.gates.find((g) => g.name === name) as fl.ExplainedGate;
    expect([gate.op, gate.pattern, gate.shape]).toEqual(["leaf", "", p.shape]);
    expect(gate.value).toEqual(await p.data());
    expect(gate.gradient).toEqual(await (p.grad as T).data());
  }
  const words = Object.fromEntries(before.gates.map((g) => [g.op, g.pattern]));
  expect(words).toMatchObject({
    relu: "masks",
    matmul: "switches",
    add: "distributes",
    expand: "sums",
    sum: "copies",
    permute: "passes",
  });
  expect(before.gates.map((g) => g.op)).not.toContain("uniform");
});

test("says where a gradient is a sum, and shows of many numbers the range", async () => {
  const x = tensor([1, -2, 3, 4, 0.5]);
  const lines = String(await explain(x.mul(x).add(x).sum(), { x })).split("\n");
  expect(lines[1]).toMatch(/^x +leaf +\[5\] +-2 to 4 +-3 to 9 \(sum of 3\)$/);
  expect(lines[2]).toMatch(/^%1 +mul +x x +\[5\] +0\.25 to 16 +all 1 +switches$/);
});

test("has the word a gate of one's own brings, and no gradient where none flows", async () => {
  const own = fl.defineOp({ name: "own", pattern: "doubles", forward: (t: T) => t, backward: (d) => d.mul(2) });
  const other = fl.defineOp({ name: "other", forward: (t: T) => t, backward: (d) => d.mul(3) });
  const { gates } = await explain(own(other(point.x)).mul(point.y.floor()).mul(point.z.detach()), point);
  const of = (op: string) => gates.find((g) => g.op === op) as fl.ExplainedGate;
  expect([of("own").pattern, of("other").pattern, of("floor").pattern]).toEqual(["doubles", "its own", "stops"]);
  const [x, y] = gates.filter((g) => g.op === "leaf");
  expect([...(x.gradient as Float32Array)]).toEqual([5 * -4 * 2 * 3]);
  expect([y.name, y.gradient]).toEqual(["y", null]);
  expect(gates.map((g) => g.name)).not.toContain("z"); // behind detach
});

test("of a Graph: as far as it has run", async () => {
  const net = new fl.Graph(({ x, y, z }: typeof point) => x.add(y).mul(z), point);
  const steps = net.forwardSteps(point);
  for (let i = 0; i < 3; i++) steps.next();
  const half = (await explain(net)).gates.map((g) => g.value && [...g.value]);
  expect(half).toEqual([[-2], [5], [3], null, null]);
  for (const _ of steps);
  net.backwardSteps().next();
  const gradients = (await explain(net)).gates.map((g) => g.gradient && [...g.gradient]);
  expect(gradients).toEqual([null, null, [-4], [3], [1]]);
});

test("every operation has its word in its entry of the table", () => {
  for (const [name, { pattern }] of Object.entries(OPS)) expect(pattern, name).toMatch(/^[a-z]+s$/);
});

test("what cannot be explained is refused", async () => {
  await expect(explain(tensor([1, 2]))).rejects.toThrow("explain: the loss must have one element, got shape [2]");
  await expect(explain(3 as never)).rejects.toThrow("explain: a tensor or a Graph is wanted, got 3");
  expect((await explain(tensor([1, 2]).argmax())).gates.map((g) => g.gradient)).toEqual([null, null]);
});
