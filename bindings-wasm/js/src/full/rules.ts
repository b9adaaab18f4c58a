import { Hs2Error, StoreError } from "../errors.js";
import { argument, bytes, whole } from "./check.js";
import { trust, type Trust } from "./machine.js";
import type { StoredSegment } from "./raw.js";
import { guard, WasmRules } from "./wasm.js";

/** The blocks that a node serves. */
export interface StoreStatus {
  /** Lowest height whose header and payload are there. */
  readonly earliest: bigint;
  /** Highest height that is final here. */
  readonly tip: bigint;
  /** The epoch of that block. */
  readonly epoch: bigint;
}

/** A host's store, read while an answer is made: at once, as databases inside of a program can. Nothing is no fault. */
export interface BlockStore {
  status(): StoreStatus;
  /** The handover that ends this epoch. */
  handover(epoch: bigint): Uint8Array | undefined;
  /** The newest proof of finality. */
  tip(): Uint8Array | undefined;
  /** The stored segment that holds the header at this height. */
  segment(height: bigint): StoredSegment | undefined;
  payload(height: bigint): Uint8Array | undefined;
}

/** A chain's rules: to verify jobs in a worker, and to serve. */
export class Rules {
  readonly #rules: WasmRules;
  #closed = false;
  #busy = false;

  constructor(options: Trust) {
    const { genesis, checkpoint, acceptLongRange } = trust(options);
    this.#rules = guard.call(() => new WasmRules(genesis, checkpoint, acceptLongRange, Date.now()));
  }

  #call<T>(work: (rules: WasmRules) => T): T {
    if (this.#closed) {
      throw new Hs2Error("closed", 0, "closed", "the rules are closed");
    }
    if (this.#busy) {
      throw argument("the rules are in use: a function of a store must not call them");
    }
    this.#busy = true;
    try {
      return guard.call(() => work(this.#rules));
    } finally {
      this.#busy = false;
    }
  }

  /** The chain's id. */
  chainId(): Uint8Array {
    return this.#call((rules) => rules.chainId());
  }

  /** Does a job of `Machine.encodeJob`, and gives the verdict for `Machine.verdict`. The job is believed. */
  run(job: Uint8Array): Uint8Array {
    const content = bytes(job, "job");
    return this.#call((rules) => rules.run(content));
  }

  /** Answers a peer's request, with bounded work, whatever is asked. */
  respond(store: BlockStore, request: Uint8Array): Uint8Array {
    const content = bytes(request, "request");
    let thrown: unknown;
    const read = (question: string, number: bigint): unknown => {
      try {
        return ask(store, question, number);
      } catch (error) {
        thrown ??= error;
        throw error;
      }
    };
    try {
      return this.#call((rules) => rules.respond(read, content));
    } catch (error) {
      if (error instanceof StoreError && thrown !== undefined) {
        throw new StoreError("store", error.code, error.reason, error.message, { cause: thrown });
      }
      throw error;
    }
  }

  /** Frees their memory. A second time does nothing. */
  close(): void {
    if (this.#busy) {
      throw argument("the rules are in use: a function of a store must not close them");
    }
    if (!this.#closed) {
      this.#closed = true;
      if (!guard.isDead) {
        guard.call(() => this.#rules.free());
      }
    }
  }
}

/** What the store says, checked and in the order in which the module reads it. */
function ask(store: BlockStore, question: string, number: bigint): unknown {
  const some = (found: Uint8Array | undefined): Uint8Array | undefined => found === undefined ? undefined : bytes(found, question);
  switch (question) {
    case "status": {
      const { earliest, tip, epoch } = store.status();
      return [whole(earliest, "earliest"), whole(tip, "tip"), whole(epoch, "epoch")];
    }
    case "handover":
      return some(store.handover(number));
    case "tip":
      return some(store.tip());
    case "payload":
      return some(store.payload(number));
    default: {
      const found = store.segment(number);
      if (found === undefined) {
        return undefined;
      }
      const { first, last, epoch, certified, segment, audit } = found;
      const numbers = [whole(first, "first"), whole(last, "last"), whole(epoch, "epoch"), certified === true ? 1n : 0n];
      return [...numbers, bytes(segment, "segment"), bytes(audit, "audit")];
    }
  }
}
