// Values that come from a program, checked before they cross the border: of the right type, in range, and copied.
import { Hs2Error } from "../errors.js";

/** Most bytes of one value: more than any answer that is asked for, any job and any list of decided blocks. */
const MAX_BYTES = 64 << 20;
const MAX_HEIGHT = (1n << 64n) - 1n;

/** The error of a value that can't be taken. */
export function argument(message: string, cause?: unknown): Hs2Error {
  return new Hs2Error("argument", 0, "argument", message, cause === undefined ? undefined : { cause });
}

/** Bytes, copied. A buffer that was given away has none. */
export function bytes(value: unknown, name: string): Uint8Array {
  if (!(value instanceof Uint8Array)) {
    throw argument(`${name} must be a Uint8Array`);
  }
  if (value.byteLength > MAX_BYTES) {
    throw argument(`${name} has ${value.byteLength} bytes, at most ${MAX_BYTES} are taken`);
  }
  try {
    return new Uint8Array(value);
  } catch (cause) {
    throw argument(`${name} is of a buffer that was given away`, cause);
  }
}

/** 32 bytes. */
export function id(value: unknown, name: string): Uint8Array {
  const read = bytes(value, name);
  if (read.byteLength !== 32) {
    throw argument(`${name} must have 32 bytes, it has ${read.byteLength}`);
  }
  return read;
}

/** A whole number that 64 bits hold. */
export function whole(value: unknown, name: string): bigint {
  if (typeof value !== "bigint" || value < 0n || value > MAX_HEIGHT) {
    throw argument(`${name} must be a bigint from 0 to 2^64 - 1`);
  }
  return value;
}

/** A time in milliseconds. */
export function millis(value: unknown, name: string): number {
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) {
    throw argument(`${name} must be a number of milliseconds`);
  }
  return value;
}

export function text(value: unknown, name: string): string {
  if (typeof value !== "string") {
    throw argument(`${name} must be a string`);
  }
  return value;
}

/** What `read` makes of the value, where there is one. */
export function optional<T>(value: unknown, name: string, read: (value: unknown, name: string) => T): T | undefined {
  return value === undefined ? undefined : read(value, name);
}

/** A list of at most so many values. */
export function list<T>(value: unknown, name: string, most: number, read: (value: unknown, name: string) => T): T[] {
  if (!Array.isArray(value) || value.length > most) {
    throw argument(`${name} must be an array of at most ${most}`);
  }
  return Array.from(value, (item, index) => read(item, `${name}[${index}]`));
}
