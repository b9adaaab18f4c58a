// The full module, as `npm pack` made it, in Node: held against what the core comes to natively (vectors.json), and a chain
// that is caught up with. `node test/full.mjs`, with the package installed where this file can import it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { Worker } from "node:worker_threads";

import * as hs2 from "hotstuff2-sync/full";

const vectors = JSON.parse(readFileSync(new URL("./vectors.json", import.meta.url), "utf8"));
const { genesis } = vectors;
const bin = (text) => Uint8Array.from(Buffer.from(text, "hex"));
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const peer = (number) => new Uint8Array(32).fill(number);
const head = { height: BigInt(vectors.head.height), id: vectors.head.id };
const trust = { genesis, acceptLongRange: true };

/** What a node keeps, and serves from. */
class Store {
  segments = [];
  payloads = new Map();
  handovers = [];
  applied = 0n;
  proof = undefined;
  last = undefined;

  /** The chain of the vectors. */
  static whole() {
    const store = new Store();
    store.segments = vectors.segments.map(({ first, last, epoch, certified, segment, audit }) => ({
      first: BigInt(first), last: BigInt(last), epoch: BigInt(epoch), certified, segment: bin(segment), audit: bin(audit),
    }));
    vectors.payloads.forEach((payload, index) => store.payloads.set(BigInt(index + 1), bin(payload)));
    store.handovers = vectors.handovers.map(({ ended, handover }) => ({ ended: BigInt(ended), handover: bin(handover) }));
    store.proof = bin(vectors.tip);
    store.applied = head.height;
    return store;
  }

  status() {
    const part = this.segment(this.applied);
    return { earliest: 1n, tip: this.applied, epoch: part?.epoch ?? 0n };
  }
  handover(epoch) {
    return this.handovers.find(({ ended }) => ended === epoch)?.handover;
  }
  tip() {
    return this.proof;
  }
  segment(height) {
    return this.segments.find(({ first, last }) => first <= height && height <= last);
  }
  payload(height) {
    return this.payloads.get(height);
  }

  /** Carries out a call, as if it were durable at once. */
  carryOut(machine, call) {
    switch (call.work) {
      case "apply":
        for (const segment of call.segments) {
          this.segments = [...this.segments.filter(({ first }) => first !== segment.first), segment];
        }
        for (const block of call.blocks) {
          assert.equal(block.height, this.applied + 1n, "in order, and each once");
          this.payloads.set(block.height, block.payload);
          this.applied = block.height;
          this.last = { height: block.height, id: block.id, timestamp: block.timestamp };
        }
        this.proof = call.tip ?? this.proof;
        machine.applied(call.id, call.last);
        break;
      case "store_handovers":
        this.handovers.push(...call.handovers);
        machine.handoversStored(call.id);
        break;
      default:
        assert.fail(call.work);
    }
  }
}

/** A machine with a clock of its own, and peers that are functions. It runs until `done`. */
class Node {
  now = 0;
  events = [];
  decided = [];
  store = new Store();

  constructor(options = {}) {
    this.machine = new hs2.Machine({ ...trust, now: () => this.now, ...options });
  }

  run(peers, done, verify = (machine, { id }) => machine.runJob(id)) {
    for (let turn = 0; turn < 10_000; turn += 1) {
      let moved = false;
      const answers = [];
      let deadline;
      for (const output of this.machine.outputs()) {
        moved ||= output.type !== "wait";
        switch (output.type) {
          case "request":
            answers.push([output.id, peers.get(output.peer[0])(output.request)]);
            break;
          case "verify":
            answers.push([output]);
            break;
          case "call":
            this.store.carryOut(this.machine, output);
            break;
          case "event":
            this.events.push(output.event);
            break;
          case "decided":
            this.decided.push(output);
            break;
          case "wait":
            deadline = output.deadline;
            break;
        }
      }
      for (const [id, answer] of answers) {
        if (typeof id === "bigint") {
          this.machine.response(id, answer);
        } else {
          verify(this.machine, id);
        }
      }
      if (done(this)) {
        return;
      }
      if (!moved) {
        assert.notEqual(deadline, undefined, `it waits for nothing: ${this.events.map(({ message }) => message).join("; ")}`);
        this.now = Math.max(this.now, deadline);
        this.machine.timeout();
      }
    }
    assert.fail(`it never came: ${this.events.map(({ message }) => message).join("; ")}`);
  }
}

test("nothing works before init, and says so", async () => {
  assert.throws(() => hs2.version(), { kind: "module", reason: "not_initialized" });
  assert.throws(() => new hs2.Machine(trust), { kind: "module" });
  await hs2.init();
  await hs2.init();
  assert.match(hs2.version(), /^\d+\.\d+\.\d+$/);
});

test("messages, verdicts, hashes and codes are those of the core, byte for byte", () => {
  const rules = new hs2.Rules(trust);
  assert.equal(hex(rules.chainId()), vectors.chainId);
  const store = Store.whole();
  assert.ok(vectors.messages.length > 3 && vectors.jobs.length > 3);
  for (const { request, answer } of vectors.messages) {
    assert.equal(hex(rules.respond(store, bin(request))), answer);
  }
  for (const { job, verdict } of vectors.jobs) {
    assert.equal(hex(rules.run(bin(job))), verdict);
  }
  for (const { key, hash } of vectors.keys) {
    assert.equal(hex(hs2.keyHash(bin(key))), hash);
  }
  assert.deepEqual(hs2.CODES, vectors.codes);
  rules.close();
});

test("a machine catches up with a machine, names the liar, goes on from its store, and takes decided blocks", async () => {
  const rules = new hs2.Rules(trust);
  const honest = (store) => (request) => rules.respond(store, request);
  const whole = Store.whole();
  const lying = (request) => {
    const answer = rules.respond(whole, request);
    // The status is a claim alone, which nobody believes anyway.
    if (request.length > 2) {
      answer[answer.length >> 1] ^= 1;
    }
    return answer;
  };
  const peers = new Map([[1, honest(whole)], [2, lying], [3, honest(whole)]]);
  const one = new Node();
  for (const number of peers.keys()) {
    one.machine.connected(peer(number), `operator ${number}`);
  }
  one.machine.start();
  const reached = (node) => node.store.applied === head.height;
  one.run(peers, (node) => reached(node) && node.events.some(({ type }) => type === "banned"));
  const banned = one.events.find(({ type }) => type === "banned");
  assert.deepEqual(banned.peer, peer(2));
  assert.ok(banned.code === hs2.CODES.Event.banned && banned.reasonCode > 0);
  assert.equal(hex(one.store.last.id), head.id, "the head is the native one");
  assert.equal(one.machine.progress().current, head.height);

  // The second has the first alone to ask, and its jobs are done by rules in another place.
  const elsewhere = new hs2.Rules(trust);
  const two = new Node();
  two.machine.connected(peer(9), "operator 9");
  two.machine.start();
  two.run(new Map([[9, honest(one.store)]]), reached, (machine, { id }) => {
    machine.begun(id);
    const job = machine.encodeJob(id);
    machine.verdict(elsewhere.run(job));
    assert.equal(machine.encodeJob(id), undefined, "it is done");
    assert.equal(machine.runJob(id), false);
  });
  assert.equal(hex(two.store.last.id), head.id);

  // From what is stored, nothing is fetched again.
  const handovers = two.store.handovers.map(({ handover }) => handover);
  const again = new Node({ stored: two.store.last, handovers });
  assert.equal(again.machine.progress().current, head.height);
  again.machine.close();

  // An engine's own blocks: the first segment.
  const engine = new Node();
  engine.machine.start();
  const part = whole.segment(1n);
  const payloads = Array.from({ length: Number(part.last) }, (_, index) => whole.payload(BigInt(index + 1)));
  engine.machine.decided({ id: 7n, first: 1n, segment: part.segment, payloads, handover: whole.handover(part.epoch) });
  engine.run(new Map(), (node) => node.decided.length > 0);
  const [{ id, through, error }] = engine.decided;
  assert.deepEqual({ id, through, error }, { id: 7n, through: part.last, error: undefined });
  assert.equal(engine.store.applied, part.last);
  // What is not true is not taken in, and nobody is blamed.
  const bent = Uint8Array.from(payloads[0]);
  bent[0] ^= 1;
  const other = new Node();
  other.machine.start();
  other.machine.decided({ id: 8n, first: 1n, segment: part.segment, payloads: [bent, ...payloads.slice(1)] });
  other.run(new Map(), (node) => node.decided.length > 0);
  assert.equal(other.decided[0].error.name, "false");
  assert.equal(other.store.applied, 0n);
  for (const node of [one, two, engine, other]) {
    node.machine.close();
  }
});

test("jobs are done by worker threads", async () => {
  const source = `
    import { parentPort, workerData } from "node:worker_threads";
    import { init, Rules } from "hotstuff2-sync/full";
    await init();
    const rules = new Rules(workerData);
    parentPort.on("message", ({ at, job }) => parentPort.postMessage({ at, verdict: rules.run(job) }));
    parentPort.postMessage("ready");
  `;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source.replace('"hotstuff2-sync/full"', JSON.stringify(import.meta.resolve("hotstuff2-sync/full"))))}`), { workerData: trust });
  const verdicts = await new Promise((resolve, reject) => {
    const found = [];
    worker.on("error", reject);
    worker.on("message", (message) => {
      if (message === "ready") {
        vectors.jobs.forEach(({ job }, at) => worker.postMessage({ at, job: bin(job) }));
        return;
      }
      found[message.at] = hex(message.verdict);
      if (found.length === vectors.jobs.length) {
        resolve(found);
      }
    });
  });
  await worker.terminate();
  assert.deepEqual(verdicts, vectors.jobs.map(({ verdict }) => verdict));
});

test("whatever a program passes, it gets a typed error", () => {
  const failed = (work, wanted) => assert.throws(work, (error) => {
    assert.ok(error instanceof hs2.Hs2Error, String(error));
    for (const [name, value] of Object.entries(wanted)) {
      assert.equal(error[name], value, error.message);
    }
    return true;
  });
  const gone = () => {
    const bytes = new Uint8Array(32);
    structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
    return bytes;
  };
  const odd = [undefined, null, 7, 7n, -1n, 1n << 64n, NaN, "7", {}, [], () => 7, Symbol("7"), new ArrayBuffer(32), new Uint8Array(31), gone()];
  failed(() => new hs2.Machine({ genesis: "{}" }), { name: "StartError", reason: "genesis" });
  failed(() => new hs2.Machine({ ...trust, checkpoint: Uint8Array.of(1, 2, 3) }), { reason: "checkpoint" });
  failed(() => new hs2.Machine({ ...trust, settings: { colour: "red" } }), { reason: "settings" });
  failed(() => new hs2.Machine({ ...trust, settings: { memory_budget: 1 } }), { reason: "settings" });
  failed(() => new hs2.Machine({ ...trust, handovers: [Uint8Array.of(1)] }), { reason: "stored" });
  failed(() => new hs2.Machine({ ...trust, stored: { height: 40n, id: peer(1), timestamp: 0 } }), { reason: "stored" });
  failed(() => new hs2.Machine({ ...trust, now: () => NaN }), { reason: "argument" });
  failed(() => new hs2.Machine(), { reason: "argument" });

  const machine = new hs2.Machine(trust);
  const calls = [
    (value) => machine.connected(value, "group"), (value) => machine.connected(peer(1), value), (value) => machine.disconnected(value),
    (value) => machine.excluded(value), (value) => machine.pardoned(value), (value) => machine.response(value, peer(1)),
    (value) => machine.response(1n, value), (value) => machine.failure(1n, value), (value) => machine.begun(value), (value) => machine.runJob(value),
    (value) => machine.encodeJob(value), (value) => machine.verdict(value), (value) => machine.applied(value, 1n), (value) => machine.applied(1n, value),
    (value) => machine.applied(1n, 1n, value), (value) => machine.handoversStored(value), (value) => machine.callFailed(1n, value),
    (value) => machine.decided({ id: 1n, first: 1n, segment: peer(1), payloads: value }), (value) => machine.start(value),
    (value) => machine.decided({ id: 1n, first: 1n, segment: value, payloads: [peer(1)] }), (value) => machine.strategy(value),
  ];
  let refused = 0;
  for (const call of calls) {
    for (const value of odd) {
      try {
        call(value);
      } catch (error) {
        assert.ok(error instanceof hs2.Hs2Error && error.kind === "argument", `${call}: ${String(error)}`);
        refused += 1;
      }
    }
  }
  assert.ok(refused > calls.length * 10, `${refused} of ${calls.length * odd.length}`);
  failed(() => machine.decided({ id: 1n, first: 1n, segment: peer(1), payloads: Array(1025).fill(peer(1)) }), { kind: "argument" });
  failed(() => machine.decided({ id: 1n, first: 1n, segment: new Uint8Array(17 << 20), payloads: [peer(1)] }), { kind: "argument" });
  failed(() => machine.response(1n, new Uint8Array((64 << 20) + 1)), { kind: "argument" });
  assert.equal(machine.progress().current, 0n, "it lives");
  machine.close();
  machine.close();
  failed(() => machine.poll(), { kind: "closed" });
  failed(() => [...machine.outputs()], { kind: "closed" });

  const rules = new hs2.Rules(trust);
  for (const value of odd) {
    failed(() => rules.run(value), { kind: "argument" });
    failed(() => rules.respond(Store.whole(), value), value instanceof Uint8Array && value.byteLength > 0 ? {} : { kind: "argument" });
  }
  failed(() => rules.respond(Store.whole(), Uint8Array.of(9, 9, 9)), { name: "RequestError", reason: "malformed" });
  const tips = vectors.messages.map(({ request }) => bin(request));
  const boom = new Error("disk");
  const broken = (more) => Object.assign(Object.create(Store.whole()), more);
  const fail = () => { throw boom; };
  for (const request of tips) {
    const store = broken({ status: fail, handover: fail, tip: fail, segment: fail, payload: fail });
    assert.throws(() => rules.respond(store, request), (error) => error.name === "StoreError" && error.cause === boom);
    for (const value of odd.filter((value) => value !== undefined && !(value instanceof Uint8Array && value.byteLength > 0))) {
      const give = () => value;
      failed(() => rules.respond(broken({ status: give, handover: give, tip: give, segment: give, payload: give }), request), { name: "StoreError" });
    }
    failed(() => rules.respond(undefined, request), { name: "StoreError" });
    // A store that reaches for the rules while they read it.
    const nested = () => rules.run(peer(1));
    const closing = () => rules.close();
    for (const reach of [nested, closing]) {
      failed(() => rules.respond(broken({ status: reach, handover: reach, tip: reach, segment: reach, payload: reach }), request), { name: "StoreError" });
    }
  }
  assert.ok(hs2.notAvailable().length > 0);
  assert.equal(rules.chainId().length, 32, "they live");
  rules.close();
  rules.close();
  failed(() => rules.chainId(), { kind: "closed" });
});

test("a panic ends the module, and everything says so", () => {
  const [machine, rules] = [new hs2.Machine(trust), new hs2.Rules(trust)];
  assert.throws(() => hs2.panic(), (error) => error.kind === "dead" && /a test asked for it/.test(error.message) && error.cause instanceof WebAssembly.RuntimeError);
  for (const work of [() => machine.poll(), () => rules.chainId(), () => new hs2.Machine(trust), () => hs2.version()]) {
    assert.throws(work, { kind: "dead" });
  }
  machine.close();
  rules.close();
});
