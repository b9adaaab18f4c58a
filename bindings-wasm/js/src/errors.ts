import type { RawError } from "./raw.js";

/**
 * What kind of thing failed: the start, a question, an argument, a peer's request, the host's own store, its memory, the module, a
 * closed client, or a defect that ended it.
 */
export type ErrorKind = "start" | "light" | "argument" | "request" | "store" | "host" | "module" | "closed" | "dead";

/** Every error of this package, but for those of an `AbortSignal`, which are the signal's own reason. */
export class Hs2Error extends Error {
  /** What failed. */
  readonly kind: ErrorKind;
  /** Its number in the table of codes, which never changes; 0 where it has none. */
  readonly code: number;
  /** Its name, which never changes, such as `no_answer`. */
  readonly reason: string;

  constructor(kind: ErrorKind, code: number, reason: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.kind = kind;
    this.code = code;
    this.reason = reason;
  }

  /** The error for what the module threw. */
  static of(raw: RawError): Hs2Error {
    switch (raw.kind) {
      case "start":
        return new StartError("start", raw.code, raw.name, raw.message);
      case "light":
        return new QueryError("light", raw.code, raw.name, raw.message);
      case "request":
        return new RequestError("request", raw.code, raw.name, raw.message);
      case "store":
        return new StoreError("store", raw.code, raw.name, raw.message);
      case "host":
        return new Hs2Error("host", raw.code, raw.name, raw.message);
      default:
        return new Hs2Error("argument", raw.code, raw.name, raw.message);
    }
  }
}

/**
 * A client or machine that can't start: `genesis`, `genesis_changed`, `checkpoint`, `other_chain`, `settings`, `anchor`, which is too
 * old, or `stored`, which does not fit the chain.
 */
export class StartError extends Hs2Error {}

/** A question that can't be answered: see `CODES.LightError`. */
export class QueryError extends Hs2Error {}

/** A peer's request that can't be read: the peer is at fault. */
export class RequestError extends Hs2Error {}

/** A function of the host's store that failed, or gave back what can't be: `cause` is what it threw. */
export class StoreError extends Hs2Error {}
