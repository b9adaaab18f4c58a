// Nodes by their addresses, and the sockets to them: opened, and opened again ever later while they fail.
import { Hs2Error } from "./errors.js";

/** A node that listens for WebSockets. */
export interface NodeAddress {
  /** `ws://` or `wss://`; `#` and the node's id behind it where only that node will do. */
  readonly url: string;
  /** The node's id: 64 hexadecimal digits. */
  readonly peer?: string | undefined;
  /** Who runs it: nodes with the same text count as one where independence matters. The host's name, unless said otherwise. */
  readonly group?: string | undefined;
}

export interface ParsedNode {
  readonly url: string;
  readonly peer: Uint8Array | undefined;
  readonly group: string;
}

/** The digits of some bytes. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The bytes of some digits, two each. */
export function fromHex(text: string): Uint8Array {
  if (!/^([0-9a-fA-F]{2})*$/.test(text)) {
    throw new Hs2Error("argument", 0, "argument", "hexadecimal digits come in pairs of 0 to 9 and a to f");
  }
  return Uint8Array.from({ length: text.length / 2 }, (_, at) => Number.parseInt(text.slice(2 * at, 2 * at + 2), 16));
}

export function parseNode(node: string | NodeAddress): ParsedNode {
  const { url: text, peer, group } = typeof node === "string" ? { url: node } as NodeAddress : node;
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw new Hs2Error("argument", 0, "argument", `${String(text)} is no address of a node: write ws:// or wss://`, { cause });
  }
  if (url.protocol !== "ws:" && url.protocol !== "wss:") {
    throw new Hs2Error("argument", 0, "argument", `${text} is no address of a node: write ws:// or wss://`);
  }
  const digits = peer ?? (url.hash.length > 1 ? url.hash.slice(1) : undefined);
  url.hash = "";
  const id = digits === undefined ? undefined : fromHex(digits);
  if (id !== undefined && id.length !== 32) {
    throw new Hs2Error("argument", 0, "argument", `the id of ${url.href} must have 64 hexadecimal digits`);
  }
  return { url: url.href, peer: id, group: group ?? url.hostname };
}

/** What a socket needs to be: that of browsers, of Node from 22 on, and of the package `ws`. */
export interface SocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  send(bytes: Uint8Array): void;
  close(code?: number, reason?: string): void;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown } & never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
}
export type SocketClass = new (url: string) => SocketLike;

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;
/** A socket that takes longer to open is given up. */
const OPEN_PATIENCE = 10_000;
/** A longer time-out is none: browsers count them with 31 bits. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** What a link tells its client. */
export interface LinkEvents {
  opened(link: Link, connection: number): void;
  received(connection: number, bytes: Uint8Array): void;
  lost(link: Link, connection: number): void;
  waits(link: Link, reason: string, retryIn: number): void;
}

let connections = 0;

/** Keeps one node connected. */
export class Link {
  readonly node: ParsedNode;
  /** The node's id, once it was proven. */
  peer: Uint8Array | undefined;
  /** The number of the socket, while there is one. */
  connection: number | undefined;
  readonly #events: LinkEvents;
  readonly #class: SocketClass;
  #socket: SocketLike | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #pause = FIRST_PAUSE;
  #over = false;
  #reason = "the node was not reached";

  constructor(node: ParsedNode, socketClass: SocketClass, events: LinkEvents) {
    this.node = node;
    this.#class = socketClass;
    this.#events = events;
  }

  /** Opens the socket now. */
  open(): void {
    if (this.#over || this.#socket !== undefined) {
      return;
    }
    clearTimeout(this.#timer);
    const connection = connections += 1;
    let socket: SocketLike;
    try {
      socket = new this.#class(this.node.url);
    } catch (error) {
      this.#reason = error instanceof Error ? error.message : String(error);
      this.#later(0);
      return;
    }
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    const gone = (): void => {
      if (this.#socket !== socket) {
        return;
      }
      clearTimeout(this.#timer);
      this.#socket = undefined;
      if (this.connection === connection) {
        this.connection = undefined;
        this.#events.lost(this, connection);
      }
      this.#later(0);
    };
    this.#timer = setTimeout(() => {
      socket.close();
      gone();
    }, OPEN_PATIENCE);
    socket.onopen = () => {
      if (this.#socket !== socket) {
        return;
      }
      clearTimeout(this.#timer);
      this.connection = connection;
      this.#events.opened(this, connection);
    };
    socket.onmessage = ({ data }) => {
      if (this.#socket === socket && data as unknown instanceof ArrayBuffer) {
        this.#events.received(connection, new Uint8Array(data));
      }
    };
    socket.onclose = gone;
    socket.onerror = gone;
  }

  send(bytes: Uint8Array): void {
    try {
      this.#socket?.send(bytes);
    } catch {
      // A socket that is closing says so by itself.
    }
  }

  /** The session is open: the next time it is lost, it is tried again soon. */
  proven(peer: Uint8Array): void {
    this.peer = peer;
    this.#pause = FIRST_PAUSE;
  }

  /** Closes the socket, and opens another one later. */
  drop(reason: string, bannedFor: number | undefined): void {
    this.#reason = reason;
    this.#close(reason);
    this.#later(bannedFor ?? 0);
  }

  /** Closes it for good. */
  end(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#close("the page is gone");
  }

  #close(reason: string): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.connection = undefined;
    try {
      // At most 123 bytes, by the rules of WebSockets.
      socket?.close(1000, reason.slice(0, 40).replace(/[^ -~]/g, ""));
    } catch {
      // Closing already.
    }
  }

  #later(atLeast: number): void {
    if (this.#over) {
      return;
    }
    // A little at random, so that the pages of a node that came back don't come all at once.
    const pause = Math.min(Math.max(this.#pause * (0.75 + Math.random() / 2), atLeast), LONGEST_TIMER);
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.open(), pause);
    this.#events.waits(this, this.#reason, pause);
    this.#reason = "the node was not reached";
  }
}
