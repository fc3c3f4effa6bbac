// Two worker scripts, two library bundles and the library's modules, one row each.
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

const libraryOf = (name, output, kernels, ...plugins) => ({
  input: "src/index.ts",
  output: {
    ...output,
    format: "es",
    freeze: false, // bundlers drop what is not used of `nn` and `optim`
    paths: (id) => id.replace(/^#kernels\/([\w.]+)$/, `${kernels}/$1.js`),
  },
  external: [/^node:/, "comlink", /^#kernels\//],
  plugins: [...common(name), ...plugins],
});

/**
 * The library: a file for Node, one for pages without a bundler, and modules for bundlers, most of which drop what is not used by the
 * module. The kernels are modules beside it, loaded when they are needed.
 */
export const library = [
  libraryOf("node", { file: "dist/node/index.js", inlineDynamicImports: true }, "../kernels"),
  libraryOf("browser", { file: "dist/browser/index.js", inlineDynamicImports: true }, "../kernels", minified),
  libraryOf("browser", { dir: "dist/modules", preserveModules: true, preserveModulesRoot: "src" }, "../../kernels"),
];

export default library;
