// For browsers and bundlers: the module is fetched from beside this file.
import type { ModuleSource } from "./guard.js";
import { initFrom } from "./wasm.js";

export * from "./api.js";

/** Loads the WebAssembly module: from beside this file, or from what is given. Called again it does nothing more. */
export function init(source?: ModuleSource): Promise<void> {
  return initFrom(() => source ?? new URL("./wasm/hs2_light.wasm", import.meta.url));
}
