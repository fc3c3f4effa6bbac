/** @file What moves, sums up or only names elements, for callers that need some of each; families are in files of their own. */
export * from "./identity.ts";
export { iota } from "./leaf.ts";
export * from "./movement.ts";
export * from "./reduction.ts";
