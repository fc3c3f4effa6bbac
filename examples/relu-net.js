// A fully connected net with a ReLU, as a list of gates: where the gradient goes, and then a few steps of learning.
// `node examples/relu-net.js` after a build.
import { compile, explain, Graph, manualSeed, mseLoss, nn, optim, tensor } from "fourlane";

// The exclusive or of two inputs: no straight line tells the classes apart.
const x = tensor([
  [0, 0],
  [0, 1],
  [1, 0],
  [1, 1],
]);
const target = tensor([[0], [1], [1], [0]]);

manualSeed(7);
const model = new nn.Sequential(new nn.Linear(2, 8), new nn.ReLU(), new nn.Linear(8, 1));
const loss = (inputs, targets) => mseLoss(model.forward(inputs), targets);

const net = new Graph((inputs) => loss(inputs.x, inputs.target), { x, target }).named(model.stateDict());
net.forward({ x, target });
net.backward();
console.log(`before learning:\n${await explain(net)}`);

const relu = net.gates.find((gate) => gate.op === "relu");
const [values, gradients] = [await relu.value.data(), await relu.inputGradients[0].data()];
const through = values.filter((v) => v > 0).length;
const back = gradients.filter((g, i) => g !== 0 && values[i] > 0).length;
const leaked = gradients.filter((g, i) => g !== 0 && !(values[i] > 0)).length;
console.log(`
the ReLU lets ${through} of ${values.length} values through; of the gradients, those of ${back} of these elements, of ${leaked} others
`);

const optimizer = new optim.Adam(model.parameters(), { lr: 0.05 });
const step = compile(() => {
  optimizer.zeroGrad();
  const l = loss(x, target);
  l.backward();
  optimizer.step();
  return l;
});
for (let i = 1; i <= 200; i++) {
  const l = step();
  if (i % 50 === 0) console.log(`step ${String(i).padStart(3)}   loss ${(await l.item()).toFixed(5)}`);
}
// The gates take the parameters as they are now.
const after = await net.forward({ x, target }).item();
const outputs = await model.forward(x).data();
console.log(
  `the gates again   loss ${after.toFixed(5)}   outputs ${Array.from(outputs, (v) => v.toFixed(2)).join(" ")}`,
);
