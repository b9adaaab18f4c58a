// The package, as `npm pack` made it, in Node: `node --experimental-websocket test/node.mjs`, with HS2_SYNC and the package
// installed where this file can import it.
import assert from "node:assert/strict";
import { join } from "node:path";
import test from "node:test";

import * as hs2 from "hotstuff2-sync";

import { folder, generate, serve, waitFor } from "./nodes.mjs";

const dir = folder();
const chain = join(dir, "chain");
const options = ["--app", "ledger", "--validators", "7", "--epochs", "12"];
const genesis = generate(chain, 1200, options);
/** The key of an account of the demo ledger. */
const account = (number) => Uint8Array.of(0x61, number >>> 24, number >>> 16, number >>> 8, number);
const balance = (value) => new DataView(value.buffer, value.byteOffset, 8).getBigUint64(0, true);

test("nothing works before init, and says so", async () => {
  assert.throws(() => hs2.version(), { kind: "module", reason: "not_initialized" });
  await hs2.init();
  await hs2.init();
  assert.match(hs2.version(), /^\d+\.\d+\.\d+$/);
  assert.equal(hs2.keyHash(account(1)).length, 32);
  assert.equal(hs2.CODES.LightError.no_answer, 0x1906);
});

test("the tip is proven, a liar is named, a balance is read with its proof, and a second visit goes on", async (t) => {
  const honest = await serve(chain);
  const other = await serve(chain);
  const liar = await serve(chain, { options: ["--lie", "signature"] });
  t.after(() => Promise.all([honest, other, liar].map((node) => node.stop())));
  const nodes = [honest, other, liar].map(({ url }, at) => ({ url, group: `operator ${at}` }));
  const store = hs2.memoryStore();
  const settings = { witnesses: 1, statusInterval: 500 };
  const client = await hs2.LightClient.start({ genesis, nodes, store, settings });
  t.after(() => client.close());
  const events = client.events();
  const found = { banned: undefined, tip: undefined };
  await waitFor(events, (event) => {
    found[event.type] = event;
    return found.banned !== undefined && found.tip?.block.height === 1200n;
  }, "the tip and the liar");
  assert.equal(hs2.toHex(found.banned.peer), liar.peer);
  assert.ok(found.banned.message.length > 0 && found.banned.answer.length > 0, "the evidence is there");
  assert.equal(found.banned.code, hs2.CODES.LightEvent.banned);
  assert.equal(client.position().tip.height, 1200n);

  const { value, block, proof } = await client.read(account(3));
  assert.equal(block.height, 1200n);
  assert.ok(balance(value) > 0n);
  assert.deepEqual(proof.keyHash, hs2.keyHash(account(3)));
  assert.deepEqual(proof.leaf.keyHash, proof.keyHash);
  assert.ok(proof.siblings.length > 8, "an account among 100,000");
  const absent = await client.read("nobody has this key");
  assert.equal(absent.value, undefined);
  assert.equal((await client.header(1100n)).height, 1100n);
  assert.equal((await client.bodies(1101n, 1104n)).payloads.length, 4);
  await assert.rejects(client.header(5000n), { kind: "light", reason: "out_of_reach", code: hs2.CODES.LightError.out_of_reach });

  const gone = new AbortController();
  const asked = client.read(account(4), { signal: gone.signal });
  gone.abort(new Error("not wanted"));
  await assert.rejects(asked, /not wanted/);
  const waiting = client.read(account(5));
  client.close();
  client.close();
  await assert.rejects(waiting, { kind: "closed" });
  await assert.rejects(client.read(account(5)), { kind: "closed" });
  assert.throws(() => client.position(), { kind: "closed" });
  for await (const event of events) {
    assert.notEqual(event.type, "dead");
  }

  assert.ok(await store.load() instanceof Uint8Array);
  const again = await hs2.LightClient.start({ genesis, nodes: [nodes[0]], store, settings: { ...settings, witnesses: 0 } });
  t.after(() => again.close());
  const heard = again.events();
  const started = await waitFor(heard, (event) => event.type === "started", "the start");
  assert.equal(started.from, "checkpoint");
  assert.equal(again.position().tip.height, 1200n, "known before a node was asked");
  assert.equal(balance((await again.read(account(3))).value), balance(value));
});

test("a wrong start is refused with its reason", async () => {
  const start = (options) => hs2.LightClient.start({ genesis, nodes: ["ws://127.0.0.1:1"], ...options });
  await assert.rejects(start({ genesis: "{}" }), { name: "StartError", reason: "genesis" });
  await assert.rejects(start({ genesis: genesis.replace(/"name": "[^"]*"/, '"name": "another"') }), { reason: "genesis_changed" });
  await assert.rejects(start({ checkpoint: Uint8Array.of(1, 2, 3) }), { reason: "checkpoint" });
  await assert.rejects(start({ settings: { witnesses: 99 } }), { reason: "settings" });
  await assert.rejects(start({ settings: { colour: "red" } }), { reason: "settings" });
  await assert.rejects(start({ nodes: ["http://127.0.0.1:1"] }), { reason: "argument" });
  await assert.rejects(start({ nodes: ["ws://127.0.0.1:1#12"] }), { reason: "argument" });
  await assert.rejects(start({ nodes: [] }), { reason: "argument" });
  await assert.rejects(start({ WebSocket: 7 }), { reason: "argument" });
  await assert.rejects(start({ signal: AbortSignal.abort(new Error("no")) }), /no/);
  const broken = { load: async () => { throw new Error("no disk"); }, save: async () => {} };
  const client = await start({ store: broken });
  const failed = await waitFor(client.events(), (event) => event.type === "store_failed", "the news of the store");
  assert.match(failed.cause.message, /no disk/);
  await assert.rejects(client.read(7), { reason: "argument" });
  const detached = new Uint8Array(4);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  await assert.rejects(client.read(detached), { kind: "argument", reason: "argument" });
  client.close();
});

test("a panic ends the module, and everything says so", async () => {
  const client = await hs2.LightClient.start({ genesis, nodes: ["ws://127.0.0.1:1"] });
  assert.throws(() => hs2.panic(), (error) => error.kind === "dead" && /a test asked for it/.test(error.message) && error.cause instanceof WebAssembly.RuntimeError);
  await assert.rejects(client.read(account(1)), { kind: "dead" });
  await assert.rejects(client.read(account(1)), { kind: "dead" });
  client.close();
  assert.throws(() => hs2.version(), { kind: "dead" });
});
