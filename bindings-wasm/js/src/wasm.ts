// The module's border, as wasm-bindgen made it, with every call guarded.
import type { RawOutput, RawPosition } from "./raw.js";
import { Hs2Error } from "./errors.js";
import { Guard, type ModuleSource } from "./guard.js";
import load, { Light as WasmLight, keyHash as wasmKeyHash, lastPanic, panicForTest, version as wasmVersion } from "./wasm/hs2_light.js";

const guard = new Guard(load, lastPanic);

/** Loads the module. Called again it does nothing more. */
export function initFrom(source: () => ModuleSource | Promise<ModuleSource>): Promise<void> {
  return guard.init(source);
}

/** Calls into the module. */
export function call<T>(work: () => T): T {
  return guard.call(work);
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
      if (!guard.isDead) {
        this.#light.free();
      }
    }
  }
}
