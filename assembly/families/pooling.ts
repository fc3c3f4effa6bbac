// Pooling of windows, and its adjoints.
export { maxPool as MaxPool } from "../pooling/max";
export { spreadWindows as SpreadWindows, sumWindows as SumWindows } from "../pooling/sums";
export { putTaps as PutTaps, takeTaps as TakeTaps } from "../pooling/taps";
