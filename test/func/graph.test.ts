/** Graph: gates forward and backward, step by step, against gradients of the function as a whole. */
import { describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { close, numbers, same } from "./support.ts";

const { Graph, tensor } = fl;
type T = fl.Tensor;

/** The lecture's first example: (x + y) z at -2, 5, -4. */
const lecture = () => new Graph(({ x, y, z }: Record<"x" | "y" | "z", T>) => x.add(y).mul(z), point);
const point = { x: tensor(-2), y: tensor(5), z: tensor(-4) };
const gate = (net: { gates: readonly fl.Gate[] }, name: string): fl.Gate =>
  net.gates.find((g) => g.name === name) as fl.Gate;
const of = (t: T | null): Promise<number[]> => numbers(t as T);

describe("Graph", () => {
  test("lists gates in topological order, and knows who feeds whom", () => {
    const net = lecture();
    expect(net.gates.map(String)).toEqual([
      "x = leaf -> float32[]",
      "y = leaf -> float32[]",
      "%2 = add x y -> float32[]",
      "z = leaf -> float32[]",
      "%4 = mul %2 z -> float32[]",
    ]);
    expect(net.output).toBe(net.gates[4]);
    expect(net.output.inputs).toEqual([net.gates[2], net.gates[3]]);
  });

  test("runs forward, then backward; every edge has a value and a gradient", async () => {
    const net = lecture();
    expect(await net.forward(point).item()).toBe(-12);
    const [{ x, y, z }] = net.backward();
    expect([await x.item(), await y.item(), await z.item()]).toEqual([-4, -4, 3]);
    for (const [name, value, gradient] of [
      ["x", -2, -4],
      ["y", 5, -4],
      ["z", -4, 3],
      ["%2", 3, -4],
      ["%4", -12, 1],
    ] as const) {
      expect(await of(gate(net, name).value), name).toEqual([value]);
      expect(await of(gate(net, name).gradient), name).toEqual([gradient]);
    }
    expect(await Promise.all(gate(net, "%2").inputGradients.map(of))).toEqual([[-4], [-4]]);
    expect(await Promise.all(net.output.inputGradients.map(of))).toEqual([[-4], [3]]);
    // Again, with other inputs and another gradient from above.
    expect(await net.forward({ x: tensor(1), y: tensor(2), z: tensor(10) }).item()).toBe(30);
    expect(net.gates.every((g) => g.gradient === null)).toBe(true);
    expect(await net.backward(tensor(0.5))[0].z.item()).toBe(1.5);
  });

  test("runs step by step: what lies ahead has no value, no gradient yet", async () => {
    const net = lecture();
    const steps = net.forwardSteps(point);
    const seen: string[] = [];
    for (let i = 0; i < 3; i++) seen.push((steps.next().value as fl.Gate).name);
    expect(seen).toEqual(["x", "y", "%2"]);
    expect(await of(gate(net, "%2").value)).toEqual([3]);
    expect(gate(net, "z").value).toBeNull();
    expect(() => net.backwardSteps()).toThrow("Graph.backward: run forward first, to its end");
    expect([...steps].map((g) => g.name)).toEqual(["z", "%4"]);
    const back = net.backwardSteps();
    expect((back.next().value as fl.Gate).name).toBe("%4");
    expect(await of(gate(net, "%2").gradient)).toEqual([-4]);
    expect(gate(net, "x").gradient).toBeNull();
    expect([...back].map((g) => g.name)).toEqual(["z", "%2", "y", "x"]);
  });

  test("adds up what comes back to a value used twice, and has a gradient for each use", async () => {
    const net = new Graph((x: T, w: T) => x.mul(w).add(x.sin()).sum(), tensor([1, 2]), tensor([3, 4]));
    const [x, w] = [tensor([1, 2]), tensor([3, 4])];
    net.forward(x, w);
    const [gx, gw] = net.backward();
    await close(gx, [3 + Math.cos(1), 4 + Math.cos(2)]);
    await same(gw, x);
    const uses = net.gates.flatMap((g) => g.inputGradients.filter((_, i) => g.inputs[i] === gate(net, "input0")));
    expect(uses).toHaveLength(2);
    await same((uses[0] as T).add(uses[1] as T), gx);
  });

  test("of a network: the gradients backward() leaves, with parameters as they are now", async () => {
    fl.manualSeed(1);
    const model = new fl.nn.Sequential(new fl.nn.Linear(3, 5), new fl.nn.ReLU(), new fl.nn.Linear(5, 2));
    const loss = (x: T, labels: T): T => fl.crossEntropy(model.forward(x), labels);
    const [x, labels] = [fl.randn([4, 3]), tensor(Int32Array.of(0, 1, 1, 0))];
    const net = new Graph(loss, x, labels).named(model.stateDict());
    expect(net.gates.map((g) => g.op)).not.toContain("normal");
    expect(net.gates.map((g) => g.op)).not.toContain("uniform");
    const optimizer = new fl.optim.SGD(model.parameters(), { lr: 0.5 });
    for (let i = 0; i < 2; i++) {
      optimizer.zeroGrad();
      const l = loss(x, labels);
      l.backward();
      expect(await net.forward(x, labels).item()).toBe(await l.item());
      const [gx, none] = net.backward();
      await same(gx, fl.grad((t: T) => loss(t, labels))(x));
      await close(none, [0, 0, 0, 0]);
      for (const [name, p] of model.namedParameters()) await same(gate(net, name).gradient as T, p.grad as T);
      optimizer.step();
    }
  });

  test("has gates of one's own as one gate each, checkpoints and detached values", async () => {
    const twice = fl.defineOp({
      name: "twice",
      forward: (t: T) => t.add(t),
      backward: (dTop) => dTop.mul(2),
    });
    const net = new Graph(
      (x: T) =>
        fl
          .checkpoint((t: T) => twice(t.exp()))(x)
          .mul(x.detach().mul(3))
          .sum(),
      tensor([1, 2]),
    );
    expect(net.gates.filter((g) => g.op === "twice").map((g) => g.inputs.map((i) => i.op))).toEqual([["exp"]]);
    expect(net.gates.map((g) => g.op)).not.toContain("add");
    for (const v of [tensor([0.5, -1]), tensor([2, 0])]) {
      await same(net.forward(v), v.exp().mul(6).mul(v).sum());
      await same(net.backward()[0], v.exp().mul(6).mul(v));
    }
  });

  test("refuses what does not fit", () => {
    const net = lecture();
    expect(() => net.forward({ ...point, z: tensor([1, 2]) })).toThrow(
      "Graph.forward: tensor 2 is float32[2], the graph is for float32[]",
    );
    expect(() => net.forward({ x: point.x } as never)).toThrow(
      "Graph.forward: the inputs are no tree like the examples: no tensor at 0.y",
    );
    expect(() => net.backward()).toThrow(fl.ValueError);
    net.forward(point);
    expect(() => net.backward(3 as never)).toThrow("Graph.backward: dLoss must be a tensor, got 3");
    expect(() => net.backward(tensor([1]))).toThrow("Graph.backward: the gradient is float32[1], the result float32[]");
    expect(() => new Graph((x: T) => [x] as never, point.x)).toThrow("Graph: the function must return a tensor");
    expect(() => new Graph(() => point.x)).toThrow("Graph: there is no tensor among the arguments");
    const many = new Graph((x: T) => x.mul(2), tensor([1, 2]));
    many.forward(tensor([1, 2]));
    expect(() => many.backward()).toThrow("Graph.backward: the result has shape [2]; give the gradient");
    const whole = new Graph((x: T) => x.argmax(), tensor([1, 2]));
    whole.forward(tensor([1, 2]));
    expect(() => whole.backward()).toThrow("Graph.backward: the result depends on no float32 tensor");
  });
});
