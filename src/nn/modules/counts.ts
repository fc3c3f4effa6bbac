/** @file Checks of the numbers layers are made with. */
import { ValueError } from "../../core/errors.ts";

export function checkCounts(layer: string, counts: Readonly<Record<string, number>>, least = 1): void {
  for (const [name, n] of Object.entries(counts))
    if (!Number.isInteger(n) || n < least)
      throw new ValueError(`${layer}: ${name} must be an integer >= ${least}, got ${String(n)}`);
}
