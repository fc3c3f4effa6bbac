// Finds a Chromium for the browser tests, or installs Debian's. Prints its path; fails if there is none.
import { existsSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const CANDIDATES = [
  process.env.CHROMIUM_PATH,
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/usr/bin/google-chrome-stable",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "/Applications/Chromium.app/Contents/MacOS/Chromium",
];

/** Path of a Chromium, or undefined. */
export function findChromium() {
  return CANDIDATES.find((path) => path && existsSync(path));
}

function aptGet(...args) {
  const sudo = process.getuid?.() === 0 ? [] : ["sudo", "-n"];
  const [command, ...rest] = [...sudo, "apt-get", ...args];
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  return spawnSync(command, rest, { stdio: ["ignore", "ignore", "inherit"], env }).status === 0;
}

/** Path of a Chromium, installed if need be. */
export function requireChromium() {
  const found = findChromium();
  if (found) return found;
  console.error("No Chromium found; installing Debian's package chromium ...");
  if (aptGet("update", "-qq") && aptGet("install", "-y", "-qq", "--no-install-recommends", "chromium")) {
    const installed = findChromium();
    if (installed) return installed;
  }
  throw new Error("The browser tests need a Chromium: install one, or set CHROMIUM_PATH to its executable.");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    requireChromium();
  } catch (error) {
    console.error(error.message);
    process.exit(1);
  }
}
