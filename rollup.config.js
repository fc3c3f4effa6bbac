// Two worker scripts and two library bundles, one row each.
import { nodeResolve } from "@rollup/plugin-node-resolve";
import esbuild from "rollup-plugin-esbuild";
import { minify } from "terser";
import { isa, numbersOf } from "./scripts/isa.js";

/** Numbers of the instruction set instead of lookups, and no names of numbers: a fortieth of what a page loads. */
const numbers = {
  name: "numbers",
  load: (id) =>
    id.endsWith("/assembly/isa.ts")
      ? Object.keys(isa)
          .map((name) => `export const ${name} = ${JSON.stringify(numbersOf(name))};`)
          .join("\n")
      : null,
  transform: (code) => code.replace(/\bisa\.(\w+)\.(\w+)\b/g, (text, name, key) => isa[name]?.[key] ?? text),
};

const common = (condition) => [
  numbers,
  nodeResolve({ exportConditions: [condition, "default"], extensions: [".ts", ".js", ".mjs"] }),
  esbuild({ target: "es2022", sourceMap: false }),
];

/** Shrinks what pages load; the names of classes stay, for what a console shows of modules. */
const minified = {
  name: "minified",
  renderChunk: (code) => minify(code, { module: true, ecma: 2022, compress: { passes: 3 }, keep_classnames: true }),
};

/** Worker scripts, bundled whole: they are embedded as text. */
export const workers = ["node", "browser"].map((name) => ({
  input: `workers/${name}.ts`,
  output: { file: `build/worker.${name}.js`, format: "es" },
  external: [/^node:/],
  plugins: [...common(name), minified],
}));

/** The library, for Node and for everything else. The kernels are modules beside it, loaded when they are needed. */
export const library = ["node", "browser"].map((name) => ({
  input: "src/index.ts",
  output: {
    file: `dist/${name}/index.js`,
    format: "es",
    freeze: false, // bundlers drop what is not used of `nn` and `optim`
    paths: (id) => id.replace(/^#kernels\/([\w.]+)$/, "../kernels/$1.js"),
  },
  external: [/^node:/, "comlink", /^#kernels\//],
  plugins: [...common(name), ...(name === "browser" ? [minified] : [])],
}));

export default library;
