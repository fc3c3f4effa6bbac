/** What the README shows is run as it stands. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const root = join(new URL(import.meta.url).pathname, "../..");

test("the README's quick start trains", () => {
  const code = /```js\n([\s\S]*?)```/.exec(readFileSync(join(root, "README.md"), "utf8"))?.[1] as string;
  const dir = mkdtempSync(join(root, "build/readme-"));
  try {
    writeFileSync(join(dir, "start.mjs"), code);
    const lines = execFileSync(process.execPath, [join(dir, "start.mjs")], { encoding: "utf8" })
      .trim()
      .split("\n");
    const losses = lines.slice(0, -1).map((l) => Number(l.split(" ")[1]));
    expect(losses).toHaveLength(4);
    expect(losses[3]).toBeLessThan(losses[0] / 5);
    expect(Number(lines[4].replace("accuracy ", ""))).toBeGreaterThan(0.95);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
