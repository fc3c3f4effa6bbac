// What few programs need, and little of it.
export { assert as Assert } from "../assert";
export { cumsum as Cumsum } from "../cumsum";
export { gather as Gather, scatterAdd as ScatterAdd } from "../lookup";
export { product as Product } from "../product";
export { argsort as Argsort } from "../sort";
export { fold as Fold } from "../windows";
