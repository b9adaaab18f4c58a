import { Hs2Error } from "../errors.js";
import { argument, bytes, id, list, millis, optional, text, whole } from "./check.js";
import type { Output, Progress } from "./raw.js";
import { guard, WasmFull } from "./wasm.js";

/** What a node trusts. */
export interface Trust {
  /** The text of the genesis file. */
  readonly genesis: string;
  /** A checkpoint from a trusted source, to begin there. */
  readonly checkpoint?: Uint8Array | undefined;
  /** Whether a beginning that is older than the chain's trusting period will do, which accepts long-range attacks. */
  readonly acceptLongRange?: boolean | undefined;
}

/** What a node has stored, as its calls brought it. */
export interface Stored {
  /** The highest block that is stored durably. */
  readonly height: bigint;
  readonly id: Uint8Array;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
  /** The message that proves it, if it was kept. */
  readonly tip?: Uint8Array | undefined;
  /** The height that the application has executed durably, if that is less. */
  readonly applied?: bigint | undefined;
}

export interface MachineOptions extends Trust {
  /** Settings by their names, such as `{ memory_budget: "64 MiB" }`. */
  readonly settings?: Readonly<Record<string, string | number | boolean>> | undefined;
  /** Nothing on a new node. */
  readonly stored?: Stored | undefined;
  /** The stored handovers, in order. */
  readonly handovers?: readonly Uint8Array[] | undefined;
  /** Milliseconds of a clock that never goes back: `performance.now`, unless another is given. */
  readonly now?: (() => number) | undefined;
}

/** Why a call was not carried out. Transient ones are asked for again. */
export type CallError =
  | "transient" | "permanent" | "no_space"
  /** The block after which the state has another root than the network agreed on. */
  | { readonly stateMismatch: bigint };

/** Blocks that this node's own engine has decided, of one epoch and one cell of 1,024 heights. */
export interface Decided {
  /** Names the submission in its answer. */
  readonly id: bigint;
  readonly first: bigint;
  /** Their headers, with the proof that the last is final. */
  readonly segment: Uint8Array;
  readonly audit?: Uint8Array | undefined;
  readonly payloads: readonly Uint8Array[];
  /** The handover to the next epoch, where the last block ends its own. */
  readonly handover?: Uint8Array | undefined;
  /** Whether the engine has executed them. */
  readonly executed?: boolean | undefined;
}

const MAX_HANDOVERS = 1 << 17;
const CELL = 1024;

/**
 * The synchronization of one node: facts in, work out. After each input, take what comes out of `outputs`; nothing is done by
 * itself.
 */
export class Machine {
  readonly #machine: WasmFull;
  readonly #clock: () => number;
  #closed = false;

  constructor(options: MachineOptions) {
    const { genesis, checkpoint, acceptLongRange } = trust(options);
    const settings = Object.entries(options.settings ?? {}).flatMap(([name, value]) => [name, String(value)]);
    const { stored, now } = options;
    if (now !== undefined && typeof now !== "function") {
      throw argument("now must be a function");
    }
    this.#clock = now ?? (() => performance.now());
    const height = optional(stored?.height, "stored.height", whole);
    const hash = stored === undefined ? new Uint8Array(0) : id(stored.id, "stored.id");
    const timestamp = stored === undefined ? 0 : millis(stored.timestamp, "stored.timestamp");
    const tip = optional(stored?.tip, "stored.tip", bytes);
    const applied = optional(stored?.applied, "stored.applied", whole);
    const handovers = list(options.handovers ?? [], "handovers", MAX_HANDOVERS, bytes);
    const [seed] = crypto.getRandomValues(new BigUint64Array(1)) as unknown as [bigint];
    const at = this.#now();
    this.#machine = guard.call(() => new WasmFull(
      genesis, checkpoint, acceptLongRange, settings, height, hash, timestamp, tip, applied, handovers, seed, at, Date.now(),
    ));
  }

  #now(): number {
    return millis(this.#clock(), "now()");
  }

  #call<T>(work: (machine: WasmFull, now: number) => T): T {
    if (this.#closed) {
      throw new Hs2Error("closed", 0, "closed", "the machine is closed");
    }
    const now = this.#now();
    return guard.call(() => work(this.#machine, now));
  }

  /** Starts, or goes on after `stop`; with a height, until the first proven segment that holds it. */
  start(until?: bigint): void {
    const height = optional(until, "until", whole);
    this.#call((machine, now) => machine.start(now, height));
  }
  /** Requests and jobs are cancelled; calls that are out are still to be answered. */
  stop(): void {
    this.#call((machine, now) => machine.stop(now));
  }
  /** Catches up in another way from here on. */
  strategy(name: "auto" | "parallel" | "incremental"): void {
    const found = text(name, "strategy");
    this.#call((machine, now) => machine.strategy(now, found));
  }
  /** Time has passed: to be called at the deadline. */
  timeout(): void {
    this.#call((machine, now) => machine.timeout(now));
  }
  /** Says the time of day again, for a host whose clock stood still while it slept. */
  wall(): void {
    this.#call((machine, now) => machine.wall(now, Date.now()));
  }
  /** A connection stands. Peers of the same group, any text, count as one operator. */
  connected(peer: Uint8Array, group: string): void {
    const [who, of] = [id(peer, "peer"), text(group, "group")];
    this.#call((machine, now) => machine.connected(now, who, of));
  }
  disconnected(peer: Uint8Array): void {
    const who = id(peer, "peer");
    this.#call((machine, now) => machine.disconnected(now, who));
  }
  /** Leaves a peer out, for the setting `ban_duration`. */
  excluded(peer: Uint8Array): void {
    const who = id(peer, "peer");
    this.#call((machine, now) => machine.excluded(now, who));
  }
  /** Lifts a ban. */
  pardoned(peer: Uint8Array): void {
    const who = id(peer, "peer");
    this.#call((machine, now) => machine.pardoned(now, who));
  }
  /** A request was answered. */
  response(request: bigint, answer: Uint8Array): void {
    const [of, content] = [whole(request, "request"), bytes(answer, "answer")];
    this.#call((machine, now) => machine.response(now, of, content));
  }
  /** A request won't be answered: more bytes came than `maxResponseBytes`, or the connection broke. */
  failure(request: bigint, why: "oversize" | "broken"): void {
    const of = whole(request, "request");
    if (why !== "oversize" && why !== "broken") {
      throw argument("why must be oversize or broken");
    }
    this.#call((machine, now) => machine.failure(now, of, why === "oversize"));
  }
  /** A worker begins a job: its time counts from now. */
  begun(job: bigint): void {
    const of = whole(job, "job");
    this.#call((machine, now) => machine.begun(now, of));
  }
  /** Does a job here and hands in its verdict; `false` where it is done or cancelled. */
  runJob(job: bigint): boolean {
    const of = whole(job, "job");
    return this.#call((machine, now) => machine.runJob(now, of));
  }
  /** A job for a worker's `Rules.run`; `undefined` where it is done or cancelled. */
  encodeJob(job: bigint): Uint8Array | undefined {
    const of = whole(job, "job");
    return this.#call((machine) => machine.encodeJob(of));
  }
  /** A worker's verdict. It is believed. */
  verdict(verdict: Uint8Array): void {
    const content = bytes(verdict, "verdict");
    this.#call((machine, now) => machine.verdict(now, content));
  }
  /** Blocks are stored and executed durably up to `through`; `error` says why that is not the last of the call. */
  applied(call: bigint, through: bigint, error?: CallError): void {
    const [of, height] = [whole(call, "call"), whole(through, "through")];
    const [name, at] = errorOf(error);
    this.#call((machine, now) => machine.applied(now, of, height, name, at));
  }
  /** Handovers are stored durably. */
  handoversStored(call: bigint): void {
    const of = whole(call, "call");
    this.#call((machine, now) => machine.handoversStored(now, of, undefined));
  }
  /** Nothing came of a call. */
  callFailed(call: bigint, error: "transient" | "permanent" | "no_space"): void {
    const [of, name] = [whole(call, "call"), text(error, "error")];
    this.#call((machine, now) => machine.handoversStored(now, of, name));
  }
  /** This node's own engine has decided blocks: the answer is an output `decided`. */
  decided(decided: Decided): void {
    const [of, first] = [whole(decided.id, "id"), whole(decided.first, "first")];
    const segment = bytes(decided.segment, "segment");
    const audit = decided.audit === undefined ? new Uint8Array(0) : bytes(decided.audit, "audit");
    const payloads = list(decided.payloads, "payloads", CELL, bytes);
    const handover = optional(decided.handover, "handover", bytes);
    this.#call((machine, now) => machine.decided(now, of, first, segment, audit, payloads, handover, decided.executed === true));
  }
  /** The next thing to do. */
  poll(): Output {
    return this.#call((machine) => machine.poll() as Output);
  }
  /** Everything to do now, until it waits; the last is `wait`. */
  *outputs(): Generator<Output, void, void> {
    for (;;) {
      const output = this.poll();
      yield output;
      if (output.type === "wait") {
        return;
      }
    }
  }
  progress(): Progress {
    return this.#call((machine) => machine.progress() as Progress);
  }
  /** Frees its memory. A second time does nothing. */
  close(): void {
    if (!this.#closed) {
      this.#closed = true;
      if (!guard.isDead) {
        guard.call(() => this.#machine.free());
      }
    }
  }
}

/** What is trusted, checked. */
export function trust(options: Trust): { genesis: string; checkpoint: Uint8Array | undefined; acceptLongRange: boolean } {
  if (typeof options !== "object" || options === null) {
    throw argument("options must be an object");
  }
  return {
    genesis: text(options.genesis, "genesis"),
    checkpoint: optional(options.checkpoint, "checkpoint", bytes),
    acceptLongRange: options.acceptLongRange === true,
  };
}

function errorOf(error: CallError | undefined): [string | undefined, bigint | undefined] {
  if (error === undefined || typeof error === "string") {
    return [error, undefined];
  }
  if (typeof error !== "object" || error === null) {
    throw argument("error must be a name, or name the block of another state");
  }
  return ["state_mismatch", whole(error.stateMismatch, "error.stateMismatch")];
}
