// (x + y) z as gates: values forward, gradients backward, gate by gate. `node examples/gates.js` after a build.
import { explain, Graph, tensor } from "fourlane";

const point = { x: tensor(-2), y: tensor(5), z: tensor(-4) };
const net = new Graph(({ x, y, z }) => x.add(y).mul(z), point);

console.log("f(x, y, z) = (x + y) z at x = -2, y = 5, z = -4\n\nforward, from the inputs on:");
for (const gate of net.forwardSteps(point)) console.log(`  ${gate}  is ${await gate.value.item()}`);

console.log("\nbackward, from the result on, with df/df = 1:");
for (const gate of net.backwardSteps()) {
  const sent = await Promise.all(gate.inputGradients.map((g) => g.item()));
  const to = gate.inputs.map((input, i) => `${sent[i]} to ${input.name}`).join(", ");
  console.log(`  ${gate.name} has ${await gate.gradient.item()}${to && ` and ${gate.pattern} it: ${to}`}`);
}

const all = await explain(net);
console.log(`\nall of it:\n${all}\n\nfor Mermaid (toDot() is for Graphviz):\n${all.toMermaid()}`);
