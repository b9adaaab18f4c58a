// The full module's border, as wasm-bindgen made it, with every call guarded.
import { Guard } from "../guard.js";
import load, { keyHash as wasmKeyHash, lastPanic, notAvailable as wasmNotAvailable, panicForTest, version as wasmVersion } from "../wasm/hs2_full.js";
import { bytes } from "./check.js";

export { Full as WasmFull, Rules as WasmRules } from "../wasm/hs2_full.js";

export const guard = new Guard(load, lastPanic);

/** The version of the library. */
export function version(): string {
  return guard.call(wasmVersion);
}

/** The hash under which a key stands in the state. */
export function keyHash(key: Uint8Array): Uint8Array {
  return guard.call(() => wasmKeyHash(bytes(key, "key")));
}

/** The answer "not available", for a request whose answer failed. */
export function notAvailable(): Uint8Array {
  return guard.call(wasmNotAvailable);
}

/** Ends the module by a panic, so that a program can test what it does then. */
export function panic(): void {
  guard.call(panicForTest);
}
