// Two worker scripts and two library bundles, one row each.
import { nodeResolve } from "@rollup/plugin-node-resolve";
import esbuild from "rollup-plugin-esbuild";

const common = (condition) => [
  nodeResolve({ exportConditions: [condition, "default"], extensions: [".ts", ".js"] }),
  esbuild({ target: "es2022", minify: true, sourceMap: false }),
];

/** Worker scripts, bundled whole: they are embedded as text. */
export const workers = ["node", "browser"].map((name) => ({
  input: `workers/${name}.ts`,
  output: { file: `build/worker.${name}.js`, format: "es" },
  external: [/^node:/],
  plugins: common(name),
}));

/** The library, for Node and for everything else. */
export const library = ["node", "browser"].map((name) => ({
  input: "src/index.ts",
  output: { file: `dist/${name}/index.js`, format: "es" },
  external: [/^node:/, "comlink"],
  plugins: [
    nodeResolve({ exportConditions: [name === "node" ? "node" : "browser", "default"], extensions: [".ts", ".js"] }),
    esbuild({ target: "es2022", sourceMap: false }),
  ],
}));

export default library;
