// Models that come and go in little memory, in a page: nobody disposes of anything.
import * as fl from "fourlane";

/** Trains `count` models of 6 MB, moments included, one after the other. The most bytes that were held at once. */
export async function pressure(count) {
  await fl.init({ memoryLimit: 64 * 2 ** 20 });
  let most = 0;
  for (let i = 0; i < count; i++) {
    const model = new fl.nn.Linear(1000, 500);
    const optimizer = new fl.optim.Adam(model.parameters());
    const step = fl.compile((x) => {
      optimizer.zeroGrad();
      const loss = model.forward(x).square().mean();
      loss.backward();
      optimizer.step();
      return loss;
    });
    const loss = await step(fl.ones([2, 1000])).item();
    if (!(loss > 0)) throw new Error(`the loss of model ${i} is ${loss}`);
    const values = await fl
      .arange(2 ** 20 + i)
      .mul(2)
      .data();
    if (values[1000] !== 2000) throw new Error(`a value is ${values[1000]}`);
    const { limit, free } = (await fl.info()).memory;
    most = Math.max(most, limit - free);
  }
  return most;
}
