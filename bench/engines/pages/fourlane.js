// Fourlane in a page.
import * as library from "../../../dist/browser/index.js";
import { fourlaneCommands } from "../commands.js";

globalThis.engine = {
  ...fourlaneCommands(library),
  hello: async (options) => ({ info: await library.init(options) }),
};
