// Trains a small transformer on a text, character by character, and lets it write. `npm start -- --model gpt`.
import { createHash } from "node:crypto";
import { AbortedError, arange, compile, crossEntropy, init, manualSeed, nn, optim, rand, tensor } from "fourlane";
import { bigramEntropy, loadText } from "./text-data.js";
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

const CONTEXT = 64;
const WIDTH = 64;
const HEADS = 4;
const LAYERS = 2;
/** Steps until the learning rate is what it falls from. */
const WARM_UP = 100;
/** Characters it writes, and how daring: 1 draws as it has learnt, less prefers what is likely. */
const WRITTEN = 400;
const TEMPERATURE = 0.8;

const DEFAULTS = { steps: "1500", batch: "16", lr: "0.004" };

const HELP = `Trains a transformer on a text, character by character, and lets it write.

  npm start -- --model gpt [options]

  --data FILE      a text in UTF-8 (default: Moby-Dick, of an npm package); its last tenth is held out
  --steps N        of training, a batch of windows of ${CONTEXT} characters each (default: ${DEFAULTS.steps})
  --batch N        windows per step (default: ${DEFAULTS.batch})
  --lr X           learning rate of Adam, which falls to 0 (default: ${DEFAULTS.lr})
  --workers N      threads (default: one per core); the result does not depend on it
  --seed N         of the weights, the windows and what it writes (default: 1)
  --math KIND      fast (default), or portable: the same bits on every machine
  --json           one line of JSON at the end and nothing else
  --help           this text
`;

function read() {
  const options = readOptions(
    {
      model: { type: "string" },
      data: { type: "string" },
      steps: { type: "string" },
      batch: { type: "string" },
      lr: { type: "string" },
    },
    () => DEFAULTS,
  );
  return { ...options, steps: options.integer("steps", 1, 1e7, "from 1 to 10000000") };
}

// --- the model -------------------------------------------------------------------------------------------------------

/** Each character looks back at those before it, in several heads. */
class Attention extends nn.Module {
  qkv = new nn.Linear(WIDTH, 3 * WIDTH);
  out = new nn.Linear(WIDTH, WIDTH);

  forward(x) {
    const [batch, time] = x.shape;
    const heads = this.qkv
      .forward(x)
      .reshape(batch, time, 3, HEADS, WIDTH / HEADS)
      .permute(2, 0, 3, 1, 4);
    const [q, k, v] = [0, 1, 2].map((i) => heads.select(0, i));
    const seen = nn.functional.scaledDotProductAttention(q, k, v, { isCausal: true });
    return this.out.forward(seen.transpose(1, 2).reshape(batch, time, WIDTH));
  }
}

/** Attention, then two linear layers; each adds to what it was given (pre-norm, after GPT-2). */
class Block extends nn.Module {
  norm1 = new nn.LayerNorm(WIDTH);
  attention = new Attention();
  norm2 = new nn.LayerNorm(WIDTH);
  up = new nn.Linear(WIDTH, 4 * WIDTH);
  down = new nn.Linear(4 * WIDTH, WIDTH);

  forward(x) {
    const h = x.add(this.attention.forward(this.norm1.forward(x)));
    return h.add(this.down.forward(this.up.forward(this.norm2.forward(h)).gelu()));
  }
}

class GPT extends nn.Module {
  constructor(characters) {
    super();
    this.characters = new nn.Embedding(characters, WIDTH);
    this.places = new nn.Embedding(CONTEXT, WIDTH);
    this.blocks = new nn.Sequential(...Array.from({ length: LAYERS }, () => new Block()));
    this.norm = new nn.LayerNorm(WIDTH);
    this.head = new nn.Linear(WIDTH, characters);
  }

  /** Scores of the next character at each place: [batch, time] to [batch, time, characters]. */
  forward(x) {
    const places = this.places.forward(arange(x.shape[1]));
    const h = this.blocks.forward(this.characters.forward(x).add(places));
    return this.head.forward(this.norm.forward(h));
  }
}

/** What windows of CONTEXT + 1 characters cost: each character but the first is to be told from those before it. */
function lossOf(model, windows) {
  const [batch] = windows.shape;
  const scores = model.forward(windows.narrow(1, 0, CONTEXT));
  return crossEntropy(scores.flatten(0, 1), windows.narrow(1, 1, CONTEXT).reshape(batch * CONTEXT));
}

// --- training --------------------------------------------------------------------------------------------------------

/** Trains, evaluates, lets it write, and returns the figures. `show` is told what happens. */
async function run(options, signal, show) {
  const starting = init({ workers: options.workers, math: options.math });
  const [machine, data] = await Promise.all([starting, loadText(options.data, 2 * CONTEXT)]);
  const { alphabet, train, test } = data;
  const check = () => {
    if (signal.aborted) throw new AbortedError("stopped");
  };

  manualSeed(options.seed);
  const model = new GPT(alphabet.length);
  const optimizer = new optim.Adam(model.parameters(), { lr: 0 });
  show.start({ machine, ...data, model });

  // The whole text stays in the workers' memory: a step draws its windows itself.
  const text = tensor(train);
  const step = compile((all) => {
    const starts = rand([options.batch, 1])
      .mul(train.length - CONTEXT)
      .to("int32");
    optimizer.zeroGrad();
    const loss = lossOf(model, all.indexSelect(0, starts.add(arange(CONTEXT + 1)).flatten()).reshape(-1, CONTEXT + 1));
    loss.backward();
    optimizer.step();
    return loss;
  });
  const losses = [];
  const inFlight = [];
  const settle = async () => {
    losses.push(await inFlight.shift().item());
    show.step(losses);
  };
  const begin = performance.now();
  for (let i = 0; i < options.steps; i++) {
    check();
    const falling = 1 - i / options.steps;
    optimizer.lr = options.lr * Math.min((i + 1) / WARM_UP, falling);
    inFlight.push(step(text));
    if (inFlight.length === 2) await settle();
  }
  while (inFlight.length > 0) await settle();
  const trainSeconds = (performance.now() - begin) / 1000;
  show.stop();

  model.eval();
  const finalLoss = await evaluate(model, test, check);
  const sample = await write(model, data, check);
  const hash = createHash("sha256");
  for (const [name, parameter] of model.namedParameters()) hash.update(name).update(await parameter.data());
  return {
    losses,
    sample,
    finalLoss,
    bigramEntropy: bigramEntropy(test, alphabet.length),
    trainSeconds,
    stepMs: (trainSeconds * 1000) / losses.length,
    charactersPerSecond: (losses.length * options.batch * CONTEXT) / trainSeconds,
    workers: machine.workers,
    math: machine.math,
    parametersSha256: hash.digest("hex"),
  };
}

/** The mean loss over the held-out text, window by window. */
async function evaluate(model, text, check) {
  const cost = compile((windows) => lossOf(model, windows));
  const windows = Math.floor((text.length - 1) / CONTEXT);
  const most = 64;
  let sum = 0;
  for (let first = 0; first < windows; first += most) {
    check();
    const count = Math.min(most, windows - first);
    const numbers = Int32Array.from({ length: count * (CONTEXT + 1) }, (_, i) => {
      const [window, place] = [Math.floor(i / (CONTEXT + 1)), i % (CONTEXT + 1)];
      return text[(first + window) * CONTEXT + place];
    });
    sum += count * (await cost(tensor(numbers, [count, CONTEXT + 1])).item());
  }
  return sum / windows;
}

/** Goes on from the first window of the held-out text, one character at a time: drawn as likely as the model says. */
async function write(model, { alphabet, test }, check) {
  const next = compile((window) => {
    const scores = model.forward(window).select(1, -1).div(TEMPERATURE);
    // The largest of scores with Gumbel noise is a draw from their softmax.
    return scores.sub(rand(scores.shape).clamp(1e-20, null).log().neg().log()).argmax(1);
  });
  const all = [...test.subarray(0, CONTEXT)];
  for (let i = 0; i < WRITTEN; i++) {
    check();
    all.push(await next(tensor(Int32Array.from(all.slice(-CONTEXT)), [1, CONTEXT])).item());
  }
  const letters = all.map((n) => alphabet[n]).join("");
  return { given: letters.slice(0, CONTEXT), written: letters.slice(CONTEXT) };
}

// --- what a person sees ----------------------------------------------------------------------------------------------

function screen(options) {
  const bar = progressBar("characters");
  let begin = 0;
  const status = (losses) => ({
    label: "training",
    loss: losses.length > 0 ? mean(losses.slice(-50)).toFixed(3) : "    -",
    rate: grouped((losses.length * options.batch * CONTEXT * 1000) / (performance.now() - begin)).padStart(8),
  });
  return {
    start({ machine, alphabet, train, test, source, model }) {
      showMachine(machine);
      const parameters = model.parameters().reduce((n, p) => n + p.numel(), 0);
      row("text", `${grouped(train.length)} characters to learn from, ${grouped(test.length)} held out; ${source}`);
      row("", `${alphabet.length} different ones`);
      const shape = `${LAYERS} layers, width ${WIDTH}, ${HEADS} heads, context ${CONTEXT}`;
      row("model", `${colors.bold("transformer")}, ${shape}, ${grouped(parameters)} parameters`);
      row(
        "training",
        `Adam, learning rate ${options.lr} falling to 0, batches of ${options.batch}, seed ${options.seed}, ${machine.math} math`,
      );
      print();
      begin = performance.now();
      bar?.start(options.steps, 0, status([]));
    },
    step(losses) {
      if (bar) bar.update(losses.length, status(losses));
      else if (losses.length % 250 === 0 || losses.length === options.steps) {
        const { loss, rate } = status(losses);
        print(`  step ${String(losses.length).padStart(6)}  loss ${loss}  ${rate} characters/s`);
      }
    },
    stop: () => bar?.stop(),
    end({ losses, sample, ...result }) {
      showLosses(losses);
      print();
      const { finalLoss, bigramEntropy: pairs } = result;
      row("loss", `${colors.bold(colors.green(finalLoss.toFixed(3)))} nats a character of the held-out text`);
      row("", `${pairs.toFixed(3)} is the entropy of its pairs of characters: what counting pairs could reach`);
      row("time", `${result.trainSeconds.toFixed(2)} s of training, ${rounded(result.stepMs, 3)} ms a step`);
      row("", `${grouped(result.charactersPerSecond)} characters per second`);
      row("weights", colors.dim(`sha256 ${result.parametersSha256.slice(0, 16)}…, whatever the number of workers`));
      print();
      const lines = `${colors.dim(sample.given)}${sample.written}`.split("\n");
      for (const line of lines) print(`  ${line}`);
      print();
    },
  };
}

await command("text", { read, help: HELP, run, screen });
