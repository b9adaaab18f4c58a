import type { RawError } from "./raw.js";

/** What kind of thing failed: the start, a question, an argument, the module, a closed client, or a defect that ended it. */
export type ErrorKind = "start" | "light" | "argument" | "module" | "closed" | "dead";

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
      default:
        return new Hs2Error("argument", raw.code, raw.name, raw.message);
    }
  }
}

/** A client that can't start: `genesis`, `genesis_changed`, `checkpoint`, `other_chain`, `settings`, or `anchor`, which is too old. */
export class StartError extends Hs2Error {}

/** A question that can't be answered: see `CODES.LightError`. */
export class QueryError extends Hs2Error {}
