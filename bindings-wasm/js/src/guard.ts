// Guard between JavaScript and a WebAssembly module: that is loaded once, and ends for good by a trap.
import { Hs2Error } from "./errors.js";
import type { RawError } from "./raw.js";

/** What `init` takes: bytes, a compiled module, a response, or where to fetch it. */
export type ModuleSource = BufferSource | WebAssembly.Module | Response | URL | string | Promise<Response>;

/** One module. */
export class Guard {
  readonly #load: (options: { module_or_path: never }) => Promise<unknown>;
  readonly #lastPanic: () => string;
  #loaded: Promise<void> | undefined;
  #ready = false;
  #dead: Error | undefined;

  constructor(load: (options: { module_or_path: never }) => Promise<unknown>, lastPanic: () => string) {
    this.#load = load;
    this.#lastPanic = lastPanic;
  }

  /** Loads the module. Called again it does nothing more. */
  init(source: () => ModuleSource | Promise<ModuleSource>): Promise<void> {
    this.#loaded ??= (async () => {
      try {
        await this.#load({ module_or_path: await source() as never });
        this.#ready = true;
      } catch (cause) {
        this.#loaded = undefined;
        throw new Hs2Error("module", 0, "not_loaded", "the WebAssembly module could not be loaded: see the cause", { cause });
      }
    })();
    return this.#loaded;
  }

  /** Whether the module has ended by a defect. */
  get isDead(): boolean {
    return this.#dead !== undefined;
  }

  /** Calls into the module. A trap ends it for good, and says so from then on. */
  call<T>(work: () => T): T {
    if (!this.#ready) {
      throw new Hs2Error("module", 0, "not_initialized", "call `await init()` first");
    }
    if (this.#dead !== undefined) {
      throw new Hs2Error("dead", 0, "dead", "the module has ended by a defect: load it anew", { cause: this.#dead });
    }
    try {
      return work();
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) {
        this.#dead = error;
        let words = "";
        try {
          words = this.#lastPanic();
        } catch {
          // Then the trap says what there is to say.
        }
        throw new Hs2Error("dead", 0, "dead", `the module has ended by a defect: ${words || error.message}`, { cause: error });
      }
      if (error instanceof Hs2Error) {
        throw error;
      }
      if (isRaw(error)) {
        throw Hs2Error.of(error);
      }
      // The border could not take a value: of a wrong type, or of a buffer that was given away.
      throw new Hs2Error("argument", 0, "argument", `a value can't be taken: ${String(error)}`, { cause: error });
    }
  }
}

function isRaw(error: unknown): error is RawError {
  return typeof error === "object" && error !== null && "kind" in error && "message" in error && !(error instanceof Error);
}
