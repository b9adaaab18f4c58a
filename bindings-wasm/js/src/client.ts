import type { Block, Bodies, CoreEvent, RawOutput, RawPosition, Value } from "./raw.js";
import type { CheckpointStore } from "./store.js";
import { Broadcast } from "./events.js";
import { Hs2Error, StartError } from "./errors.js";
import { Link, type LinkEvents, type NodeAddress, parseNode, type SocketClass } from "./nodes.js";
import { Light } from "./wasm.js";

/** Settings of a client, each with the core's default. Times are in milliseconds. */
export interface Settings {
  /** Prove each epoch by the one before, in the place of skipping as far as a third of the trusted power still signs. */
  readonly oneByOne?: boolean;
  /** Start from a block that is older than the chain's trusting period, though its validators may have left long ago. */
  readonly acceptLongRange?: boolean;
  /** Nodes of other groups that must prove the same block before it is told; 0 believes whoever proves the highest one. */
  readonly witnesses?: number;
  readonly maxPeers?: number;
  readonly peerTimeout?: number;
  readonly queryTimeout?: number;
  readonly freshness?: number;
  readonly statusInterval?: number;
  readonly stallAfter?: number;
  readonly banDuration?: number;
}

/** What a client starts from. */
export interface ClientOptions {
  /** The genesis file: its text or bytes, from where the chain publishes it. It is what is trusted. */
  readonly genesis: string | Uint8Array;
  /** Nodes to ask. None of them is trusted. */
  readonly nodes: readonly (string | NodeAddress)[];
  /** A checkpoint from a source that is trusted, to start from in the place of the genesis file. */
  readonly checkpoint?: Uint8Array;
  /** Where this client keeps its checkpoint between visits. */
  readonly store?: CheckpointStore;
  readonly settings?: Settings;
  /** The class of sockets, where there is none in the global scope or another is wanted. */
  readonly WebSocket?: unknown;
  /** Closes the client. */
  readonly signal?: AbortSignal;
}

/** Something that happened. */
export type ClientEvent =
  | CoreEvent
  | { readonly type: "connected"; readonly url: string; readonly peer: Uint8Array }
  | { readonly type: "disconnected"; readonly url: string; readonly peer: Uint8Array | undefined; readonly reason: string; readonly retryIn: number }
  | { readonly type: "started"; readonly from: "genesis" | "checkpoint" }
  | { readonly type: "store_failed"; readonly cause: unknown }
  | { readonly type: "dead"; readonly error: Hs2Error };

/** The state that a read means: the newest, the newest snapshot, or that after the block at a height. */
export type At = "now" | "snapshot" | bigint;

/** A node, as the client sees it. */
export interface NodeState {
  readonly url: string;
  readonly group: string;
  readonly peer: Uint8Array | undefined;
  readonly connected: boolean;
}

/** Longest time for which jobs run in a row, so that a page still moves: half of a frame. */
const WORK_SLICE = 8;
/** The client is told the time of day again after this time: clocks are set now and then. */
const WALL_EVERY = 10_000;

interface Waiting {
  resolve(answer: Value | Block | Bodies): void;
  reject(error: unknown): void;
}

/** A light client. `LightClient.start` makes one; `close` ends it. */
export class LightClient {
  readonly #light: Light;
  readonly #links: Link[];
  readonly #byConnection = new Map<number, Link>();
  readonly #queries = new Map<bigint, Waiting>();
  readonly #events = new Broadcast<ClientEvent>();
  readonly #store: CheckpointStore | undefined;
  readonly #turn = new Turn();
  #saving: Promise<void> = Promise.resolve();
  #checkpoint: Uint8Array | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #wallAt = Date.now();
  #working = false;
  #over: Hs2Error | undefined;
  readonly #online = (): void => this.#links.forEach((link) => link.open());

  private constructor(options: ClientOptions, checkpoint: Uint8Array | undefined) {
    const socketClass = (options.WebSocket ?? (globalThis as { WebSocket?: unknown }).WebSocket) as SocketClass | undefined;
    if (typeof socketClass !== "function") {
      throw new Hs2Error("argument", 0, "argument", "there is no WebSocket here: give one, such as that of the package `ws`");
    }
    const genesis = typeof options.genesis === "string" ? options.genesis : new TextDecoder().decode(options.genesis);
    const nodes = options.nodes.map(parseNode);
    if (nodes.length === 0) {
      throw new Hs2Error("argument", 0, "argument", "name one node at least");
    }
    this.#store = options.store;
    this.#checkpoint = checkpoint;
    this.#light = new Light(genesis, checkpoint, JSON.stringify(options.settings ?? {}), random(), random());
    const events: LinkEvents = {
      opened: (link, connection) => {
        this.#byConnection.set(connection, link);
        this.#do((light) => light.open(connection, link.node.group, link.node.peer, random()));
      },
      received: (connection, bytes) => this.#do((light) => light.receive(connection, bytes)),
      lost: (_, connection) => {
        this.#byConnection.delete(connection);
        this.#do((light) => light.closed(connection));
      },
      waits: (link, reason, retryIn) => {
        this.#events.send({ type: "disconnected", url: link.node.url, peer: link.peer, reason, retryIn });
      },
    };
    this.#links = nodes.map((node) => new Link(node, socketClass, events));
  }

  /** Starts a client, from the checkpoint that it kept the last time, if there is one. `init` must have been awaited. */
  static async start(options: ClientOptions): Promise<LightClient> {
    options.signal?.throwIfAborted();
    let kept: Uint8Array | undefined;
    let failed: unknown;
    try {
      kept = await options.store?.load();
    } catch (cause) {
      failed = cause;
    }
    options.signal?.throwIfAborted();
    let client: LightClient;
    try {
      client = new LightClient(options, kept ?? options.checkpoint);
    } catch (error) {
      // What was kept may be of an older version, or of another chain.
      if (kept === undefined || !(error instanceof StartError) || (error.reason !== "checkpoint" && error.reason !== "other_chain")) {
        throw error;
      }
      client = new LightClient(options, options.checkpoint);
      failed = error;
    }
    options.signal?.addEventListener("abort", () => client.close(), { once: true });
    // Whoever starts listening in this turn hears of everything.
    setTimeout(() => client.#begin(failed), 0);
    return client;
  }

  #begin(failed: unknown): void {
    if (this.#over !== undefined) {
      return;
    }
    this.#events.send({ type: "started", from: this.#checkpoint === undefined ? "genesis" : "checkpoint" });
    if (failed !== undefined) {
      this.#events.send({ type: "store_failed", cause: failed });
    }
    (globalThis as { addEventListener?: typeof addEventListener }).addEventListener?.("online", this.#online);
    this.#links.forEach((link) => link.open());
    this.#do(() => {});
  }

  /** Where the client stands. */
  position(): RawPosition {
    this.#alive();
    return this.#light.position();
  }

  /** The nodes, connected or not. */
  nodes(): NodeState[] {
    return this.#links.map((link) => ({
      url: link.node.url, group: link.node.group, peer: link.peer, connected: link.connection !== undefined && link.peer !== undefined,
    }));
  }

  /** The newest point to start from: that of the last tip that was kept, or what the client started from. */
  checkpoint(): Uint8Array | undefined {
    return this.#checkpoint;
  }

  /** Events from here on. The iteration ends when the client is closed. */
  events(options: { readonly signal?: AbortSignal } = {}): AsyncGenerator<ClientEvent, void, void> {
    return this.#events.listen(options.signal);
  }

  /** The value of a key: bytes, or a text in UTF-8. */
  read(key: Uint8Array | string, options: { readonly at?: At; readonly signal?: AbortSignal } = {}): Promise<Value> {
    const bytes = typeof key === "string" ? new TextEncoder().encode(key) : key;
    if (!(bytes instanceof Uint8Array)) {
      return Promise.reject(new Hs2Error("argument", 0, "argument", "a key is a Uint8Array or a text"));
    }
    const at = options.at ?? "now";
    const height = typeof at === "bigint" ? at : undefined;
    return this.#ask((light) => light.read(bytes, height, at === "snapshot"), options.signal) as Promise<Value>;
  }

  /** The block at a height. */
  header(height: bigint, options: { readonly signal?: AbortSignal } = {}): Promise<Block> {
    return this.#ask((light) => light.header(height), options.signal) as Promise<Block>;
  }

  /** The payloads of the blocks from `first` to `last`, which must lie between multiples of 1024. */
  bodies(first: bigint, last: bigint, options: { readonly signal?: AbortSignal } = {}): Promise<Bodies> {
    return this.#ask((light) => light.bodies(first, last), options.signal) as Promise<Bodies>;
  }

  /** Ends the client: sockets are closed, and whoever waits for an answer hears so. A second time does nothing. */
  close(): void {
    this.#end(new Hs2Error("closed", 0, "closed", "the client is closed"));
  }

  #alive(): void {
    if (this.#over !== undefined) {
      throw this.#over;
    }
  }

  #end(error: Hs2Error): void {
    if (this.#over !== undefined) {
      return;
    }
    this.#over = error;
    clearTimeout(this.#timer);
    (globalThis as { removeEventListener?: typeof removeEventListener }).removeEventListener?.("online", this.#online);
    this.#links.forEach((link) => link.end());
    this.#turn.end();
    for (const waiting of this.#queries.values()) {
      waiting.reject(error);
    }
    this.#queries.clear();
    if (error.kind === "dead") {
      this.#events.send({ type: "dead", error });
    }
    this.#events.end();
    this.#light.free();
  }

  #ask(put: (light: Light) => bigint, signal: AbortSignal | undefined): Promise<Value | Block | Bodies> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      this.#alive();
      let query: bigint;
      try {
        query = put(this.#light);
      } catch (error) {
        reject(error);
        if (error instanceof Hs2Error && error.kind === "dead") {
          this.#end(error);
        }
        return;
      }
      const abort = (): void => {
        if (this.#queries.delete(query)) {
          this.#do((light) => light.dropQuery(query));
          reject(signal?.reason);
        }
      };
      signal?.addEventListener("abort", abort, { once: true });
      const done = (): void => signal?.removeEventListener("abort", abort);
      this.#queries.set(query, {
        resolve: (answer) => { done(); resolve(answer); },
        reject: (error) => { done(); reject(error); },
      });
      this.#do(() => {});
    });
  }

  /** One input, and then everything that comes out. A defect of the module ends the client, and all are told. */
  #do(input: (light: Light) => void): void {
    if (this.#over !== undefined) {
      return;
    }
    try {
      if (Math.abs(Date.now() - this.#wallAt) >= WALL_EVERY) {
        this.#wallAt = Date.now();
        this.#light.wall();
      }
      input(this.#light);
      for (let output = this.#light.poll(); output !== undefined; output = this.#light.poll()) {
        this.#carryOut(output);
        if (this.#over !== undefined) {
          return;
        }
      }
      this.#schedule();
    } catch (error) {
      this.#end(error instanceof Hs2Error ? error : new Hs2Error("dead", 0, "dead", String(error), { cause: error }));
    }
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    const deadline = this.#light.deadline();
    const pause = deadline === undefined ? WALL_EVERY : Math.min(Math.max(deadline - performance.now(), 0), WALL_EVERY);
    this.#timer = setTimeout(() => this.#do((light) => light.tick()), Math.ceil(pause));
    if (!this.#working && this.#light.hasWork()) {
      this.#working = true;
      this.#turn.next(() => this.#work());
    }
  }

  /** Runs jobs for a slice of time, then lets others have a turn. */
  #work(): void {
    this.#working = false;
    this.#do((light) => {
      const end = performance.now() + WORK_SLICE;
      while (light.work() && performance.now() < end) {
        // Verdicts may bring further jobs, and make some needless.
        light.tick();
      }
      light.tick();
    });
  }

  #carryOut(output: RawOutput): void {
    switch (output.type) {
      case "send":
        this.#byConnection.get(output.connection)?.send(output.bytes);
        break;
      case "close": {
        const link = this.#byConnection.get(output.connection);
        this.#byConnection.delete(output.connection);
        if (link?.connection === output.connection) {
          link.drop(output.reason, output.bannedFor);
        }
        break;
      }
      case "open": {
        const link = this.#byConnection.get(output.connection);
        if (link !== undefined) {
          link.proven(output.peer);
          this.#events.send({ type: "connected", url: link.node.url, peer: output.peer });
        }
        break;
      }
      case "event":
        this.#events.send(output.event);
        break;
      case "keep":
        this.#checkpoint = output.checkpoint;
        this.#keep(output.checkpoint);
        break;
      case "answer": {
        const waiting = this.#queries.get(output.query);
        this.#queries.delete(output.query);
        if (output.error !== undefined) {
          waiting?.reject(Hs2Error.of(output.error));
        } else if (output.answer !== undefined) {
          waiting?.resolve(output.answer);
        }
        break;
      }
    }
  }

  /** Keeps a checkpoint, one after the other. */
  #keep(checkpoint: Uint8Array): void {
    const store = this.#store;
    if (store !== undefined) {
      this.#saving = this.#saving.then(() => store.save(checkpoint)).catch((cause: unknown) => {
        this.#events.send({ type: "store_failed", cause });
      });
    }
  }
}

/** 32 bytes that nobody can guess. */
function random(): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(32));
}

/** The next turn of the event loop, without the pause that timers have. */
class Turn {
  readonly #channel = new MessageChannel();
  #work: (() => void) | undefined;

  constructor() {
    this.#channel.port1.onmessage = () => {
      const work = this.#work;
      this.#work = undefined;
      work?.();
    };
    // A client that waits must not keep a program running by this alone; its sockets and timers do.
    (this.#channel.port1 as { unref?: () => void }).unref?.();
  }

  next(work: () => void): void {
    this.#work = work;
    this.#channel.port2.postMessage(0);
  }

  end(): void {
    this.#work = undefined;
    this.#channel.port1.close();
  }
}
