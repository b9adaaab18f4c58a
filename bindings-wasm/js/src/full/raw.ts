// Outputs of the machine, as the Rust side makes them (`bindings-wasm/src/full/values.rs`).
import type { RawError } from "../raw.js";

/** A segment of headers as it is to be stored, and served from. */
export interface StoredSegment {
  /** The lowest height that it holds. */
  readonly first: bigint;
  readonly last: bigint;
  readonly epoch: bigint;
  /** Whether it proves its last block final by itself. */
  readonly certified: boolean;
  readonly segment: Uint8Array;
  /** The certificates of the single blocks, if they came with it; else empty. */
  readonly audit: Uint8Array;
}

/** A block to store and execute: final and verified. */
export interface AppBlock {
  readonly height: bigint;
  readonly id: Uint8Array;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
  /** Root that the state must have after this block. */
  readonly stateRoot: Uint8Array;
  readonly payload: Uint8Array;
  /** Whether this node's own engine has executed it already, as it said. */
  readonly executed: boolean;
}

/** A handover to store, to be given back at the next start and served. */
export interface StoredHandover {
  /** The epoch that it ends. */
  readonly ended: bigint;
  readonly handover: Uint8Array;
}

interface Call {
  readonly type: "call";
  readonly code: number;
  /** As the answer must name it. A call that comes again has the same. */
  readonly id: bigint;
  readonly workCode: number;
}

/** Work for the store and the application, to be answered when it survives a crash, and not before. */
export type HostCall =
  | Call & {
      /** Store these blocks, then execute them: answer with `applied`. */
      readonly work: "apply";
      readonly first: bigint;
      readonly last: bigint;
      readonly blocks: readonly AppBlock[];
      readonly segments: readonly StoredSegment[];
      /** The message that proves the last block final, where the last segment doesn't. */
      readonly tip: Uint8Array | undefined;
      readonly target: bigint;
    }
  | Call & {
      /** Execute blocks that the store holds: answer with `applied`. */
      readonly work: "replay";
      readonly first: bigint;
      readonly last: bigint;
    }
  | Call & {
      /** Store these handovers: answer with `handoversStored`. */
      readonly work: "store_handovers";
      readonly handovers: readonly StoredHandover[];
    };

/** Something that people may want to know. `code` and `reasonCode` are numbers of the table of codes. */
export interface MachineEvent {
  readonly type:
    | "target" | "strategy" | "state_target" | "state_lost" | "state_mismatch" | "state_active" | "history_complete" | "reached"
    | "stalled" | "resumed" | "banned" | "suspect_self" | "halted";
  readonly code: number;
  readonly message: string;
  readonly height?: bigint;
  readonly peer?: Uint8Array;
  readonly reason?: string;
  readonly reasonCode?: number;
  /** When it is tried again, on the machine's clock. */
  readonly next?: number;
  /** Proof of conflicting blocks, which anyone can check. Keep it. */
  readonly evidence?: Uint8Array;
}

/** The next thing to do. `wait` comes last: nothing then until the next input, or until the deadline. */
export type Output =
  | { readonly type: "request"; readonly code: number; readonly id: bigint; readonly peer: Uint8Array; readonly request: Uint8Array; readonly maxResponseBytes: number }
  | { readonly type: "cancel_request"; readonly code: number; readonly id: bigint }
  | { readonly type: "verify"; readonly code: number; readonly id: bigint; readonly height: bigint }
  | { readonly type: "cancel_job"; readonly code: number; readonly id: bigint }
  | HostCall
  | {
      readonly type: "penalize"; readonly code: number; readonly peer: Uint8Array; readonly penalty: "ban" | "exclude" | "lift"; readonly penaltyCode: number;
      readonly message: string; readonly reason?: string; readonly reasonCode?: number; readonly until?: number;
    }
  | { readonly type: "event"; readonly code: number; readonly event: MachineEvent }
  | {
      readonly type: "decided"; readonly code: number; readonly id: bigint;
      /** Up to where all blocks are stored and executed. */
      readonly through?: bigint;
      /** Why the blocks were not taken in, and the block concerned. */
      readonly error?: RawError; readonly height?: bigint;
    }
  | { readonly type: "wait"; readonly code: number; readonly deadline: number | undefined };

/** How far a synchronization is. */
export interface Progress {
  readonly start: bigint;
  /** Height that is stored and executed. */
  readonly current: bigint;
  /** Highest proven height. */
  readonly target: bigint;
  /** Highest height that a usable peer claims, which proves nothing. */
  readonly claimed: bigint | undefined;
  readonly tipTime: number | undefined;
  readonly blocksPerSecond: number;
  /** Milliseconds that are likely left. */
  readonly remaining: number | undefined;
  readonly payloadBytes: number;
  readonly usefulBytes: number;
  readonly duplicateBytes: number;
  readonly bufferedBytes: number;
  readonly strategy: string;
  readonly bottleneck: string;
  readonly stall: string | undefined;
  readonly halted: boolean;
}
