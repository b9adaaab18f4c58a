// What crosses the border, as the Rust side makes it (`bindings-wasm/src/values.rs`).

/** A proven block. */
export interface Block {
  readonly height: bigint;
  readonly id: Uint8Array;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
  /** Root of the state after the block, on chains whose blocks name one. */
  readonly stateRoot: Uint8Array | undefined;
}

/** The way on which a value was proven, from its leaf up to the state root. */
export interface Proof {
  /** Hash of the key. Its bits, the highest first, are the way from the root down. */
  readonly keyHash: Uint8Array;
  /** The leaf where the way ends; none where it ends at an empty place. */
  readonly leaf: { readonly keyHash: Uint8Array; readonly valueHash: Uint8Array } | undefined;
  /** The hashes beside the way, from the leaf up. */
  readonly siblings: readonly Uint8Array[];
}

/** A key's value, proven. */
export interface Value {
  /** The value; `undefined` where the key has none, which is proven too. */
  readonly value: Uint8Array | undefined;
  /** The block after which the key has it. */
  readonly block: Block;
  readonly proof: Proof | undefined;
}

/** Payloads of consecutive blocks. */
export interface Bodies {
  readonly first: bigint;
  readonly payloads: readonly Uint8Array[];
}

/** Where a client stands. */
export interface RawPosition {
  /** The newest trusted epoch. */
  readonly epoch: bigint;
  /** The highest block that was proven and confirmed, or what the client started from. */
  readonly tip: Block | undefined;
  /** Groups of nodes that confirmed it, beside the one that showed it. */
  readonly witnesses: number;
  readonly freshness: "fresh" | "old" | "unknown";
  /** The highest block that anyone proved, confirmed or not. */
  readonly proven: Block | undefined;
}

/** Something that the core's client tells. `code` is its number in the table of codes. */
export type CoreEvent =
  | { readonly type: "epoch"; readonly code: number; readonly epoch: bigint }
  | { readonly type: "skipped"; readonly code: number; readonly from: bigint; readonly epoch: bigint }
  | { readonly type: "tip"; readonly code: number; readonly block: Block; readonly witnesses: number }
  | { readonly type: "stalled"; readonly code: number; readonly reason: string; readonly reasonCode: number; readonly message: string }
  | { readonly type: "resumed"; readonly code: number }
  | {
      readonly type: "banned"; readonly code: number; readonly peer: Uint8Array; readonly fault: string; readonly faultCode: number;
      readonly message: string;
      /** The question and the false answer, where they are at hand: the evidence. */
      readonly request: Uint8Array | undefined; readonly answer: Uint8Array | undefined;
    }
  | { readonly type: "suspect_self"; readonly code: number; readonly fault: string; readonly faultCode: number; readonly groups: number }
  | {
      readonly type: "halted"; readonly code: number; readonly reason: string; readonly reasonCode: number; readonly message: string;
      readonly evidence: Uint8Array | undefined;
    };

export interface RawError {
  readonly kind: string;
  readonly code: number;
  readonly name: string;
  readonly message: string;
}

export type RawOutput =
  | { readonly type: "send"; readonly connection: number; readonly bytes: Uint8Array }
  | { readonly type: "close"; readonly connection: number; readonly reason: string; readonly bannedFor: number | undefined }
  | { readonly type: "open"; readonly connection: number; readonly peer: Uint8Array }
  | { readonly type: "event"; readonly event: CoreEvent }
  | { readonly type: "answer"; readonly query: bigint; readonly answer?: Value | Block | Bodies; readonly error?: RawError }
  | { readonly type: "keep"; readonly checkpoint: Uint8Array };
