// For Deno, Bun and bundlers: the module is fetched from beside this file.
import type { ModuleSource } from "../guard.js";
import { guard } from "./wasm.js";

export * from "./api.js";

/** Loads the WebAssembly module: from beside this file, or from what is given. Called again it does nothing more. */
export function init(source?: ModuleSource): Promise<void> {
  return guard.init(() => source ?? new URL("../wasm/hs2_full.wasm", import.meta.url));
}
