// The module's border, as wasm-bindgen made it, and how it is loaded: once.
import type { RawError, RawOutput, RawPosition } from "./raw.js";
import { Hs2Error } from "./errors.js";
import load, { Light as WasmLight, keyHash as wasmKeyHash, lastPanic, panicForTest, version as wasmVersion } from "./wasm/hs2_light.js";

/** What `init` takes: bytes, a compiled module, a response, or where to fetch it. */
export type ModuleSource = BufferSource | WebAssembly.Module | Response | URL | string | Promise<Response>;

let loaded: Promise<void> | undefined;
let ready = false;
let dead: Error | undefined;

/** Loads the module. Called again it does nothing more. */
export function initFrom(source: () => ModuleSource | Promise<ModuleSource>): Promise<void> {
  loaded ??= (async () => {
    try {
      await load({ module_or_path: await source() as never });
      ready = true;
    } catch (cause) {
      loaded = undefined;
      throw new Hs2Error("module", 0, "not_loaded", "the WebAssembly module could not be loaded: see the cause", { cause });
    }
  })();
  return loaded;
}

/** Calls into the module. A trap ends it for good, and says so from then on. */
export function call<T>(work: () => T): T {
  if (!ready) {
    throw new Hs2Error("module", 0, "not_initialized", "call `await init()` first");
  }
  if (dead !== undefined) {
    throw new Hs2Error("dead", 0, "dead", "the module has ended by a defect: load the page anew", { cause: dead });
  }
  try {
    return work();
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) {
      dead = error;
      let words = "";
      try {
        words = lastPanic();
      } catch {
        // Then the trap says what there is to say.
      }
      throw new Hs2Error("dead", 0, "dead", `the module has ended by a defect: ${words || error.message}`, { cause: error });
    }
    if (isRaw(error)) {
      throw Hs2Error.of(error);
    }
    // The border could not take a value: of a wrong type, or of a buffer that was given away.
    throw new Hs2Error("argument", 0, "argument", `a value can't be taken: ${String(error)}`, { cause: error });
  }
}

function isRaw(error: unknown): error is RawError {
  return typeof error === "object" && error !== null && "kind" in error && "message" in error && !(error instanceof Error);
}

/** The version of the library. */
export function version(): string {
  return call(wasmVersion);
}

/** The hash under which a key stands in the state. */
export function keyHash(key: Uint8Array): Uint8Array {
  return call(() => wasmKeyHash(key));
}

/** Ends the module by a panic, so that a program can test what it does then. */
export function panic(): void {
  call(panicForTest);
}

/** The light client of the module, with what goes in and out typed, and every call guarded. */
export class Light {
  readonly #light: WasmLight;
  #free = false;

  constructor(genesis: string, checkpoint: Uint8Array | undefined, settings: string, secret: Uint8Array, seed: Uint8Array) {
    this.#light = call(() => new WasmLight(genesis, checkpoint, settings, secret, seed, performance.now(), Date.now()));
  }

  #call<T>(work: (light: WasmLight, now: number) => T): T {
    if (this.#free) {
      throw new Hs2Error("closed", 0, "closed", "the client is closed");
    }
    return call(() => work(this.#light, performance.now()));
  }

  open(connection: number, group: string, peer: Uint8Array | undefined, seed: Uint8Array): void {
    this.#call((light, now) => light.open(now, connection, group, peer, seed));
  }
  receive(connection: number, bytes: Uint8Array): void {
    this.#call((light, now) => light.receive(now, connection, bytes));
  }
  closed(connection: number): void {
    this.#call((light, now) => light.closed(now, connection));
  }
  tick(): void {
    this.#call((light, now) => light.tick(now));
  }
  wall(): void {
    this.#call((light, now) => light.wall(now, Date.now()));
  }
  read(key: Uint8Array, height: bigint | undefined, snapshot: boolean): bigint {
    return this.#call((light, now) => light.read(now, key, height, snapshot));
  }
  header(height: bigint): bigint {
    return this.#call((light, now) => light.header(now, height));
  }
  bodies(first: bigint, last: bigint): bigint {
    return this.#call((light, now) => light.bodies(now, first, last));
  }
  dropQuery(query: bigint): void {
    this.#call((light, now) => light.dropQuery(now, query));
  }
  work(): boolean {
    return this.#call((light) => light.work());
  }
  hasWork(): boolean {
    return this.#call((light) => light.hasWork());
  }
  poll(): RawOutput | undefined {
    return this.#call((light) => light.poll() as RawOutput | undefined);
  }
  deadline(): number | undefined {
    return this.#call((light) => light.deadline());
  }
  position(): RawPosition {
    return this.#call((light) => light.position() as RawPosition);
  }
  /** Frees its memory. A second time does nothing. */
  free(): void {
    if (!this.#free) {
      this.#free = true;
      if (dead === undefined) {
        this.#light.free();
      }
    }
  }
}
