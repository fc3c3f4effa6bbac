// Derivatives of all kinds, the same in a page and in Node.
import * as fl from "fourlane";

const { tensor } = fl;

/** Numbers and texts, to be compared. */
export async function lecture() {
  fl.manualSeed(3);
  const x = tensor([0.5, -1, 2]);
  const w = fl.randn([3, 3]);
  const f = (t) => t.matmul(w).tanh().mul(t).sum();
  const g = (t) => t.matmul(w).sin();
  const tensors = {
    gradient: fl.grad(f)(x),
    hessian: fl.hessian(f)(x),
    product: fl.hvp(f, [x], [fl.ones([3])])[1][0],
    forward: fl.jacfwd(g)(x),
    reverse: fl.jacrev(g)(x),
    perExample: fl.vmap(fl.grad(f))(fl.stack([x, x.mul(2)])),
    checkpointed: fl.grad((t) => fl.checkpoint(g)(t).sum())(x),
    compiled: fl.compile(fl.jacobian(g))(x),
  };
  const values = {};
  for (const [name, t] of Object.entries(tensors)) values[name] = [...(await t.data())];

  const root = (t) => t.sqrt().sum();
  const anomaly = await fl
    .detectAnomaly(fl.grad(root))(tensor([4, 0]))
    .catch((error) => error.message);
  return {
    values,
    which: fl.jacobian(g).explain(x),
    structures: [(t) => t.relu(), (t) => t.matmul(w), (t) => fl.roll(t, 1)].map((h) =>
      String(fl.jacobianOperator(h, x)),
    ),
    explained: (await fl.explain(f(x), { x, w })).gates.map((gate) => `${gate.name} ${gate.op} ${gate.pattern}`),
    checked: await fl.gradcheck(f, [x]),
    anomaly,
  };
}
