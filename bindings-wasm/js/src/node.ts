// For Node: the module is read from beside this file.
import { readFile } from "node:fs/promises";

import type { ModuleSource } from "./guard.js";
import { initFrom } from "./wasm.js";

export * from "./api.js";

/** Loads the WebAssembly module: from beside this file, or from what is given. Called again it does nothing more. */
export function init(source?: ModuleSource): Promise<void> {
  return initFrom(async () => source ?? await readFile(new URL("./wasm/hs2_light.wasm", import.meta.url)));
}
