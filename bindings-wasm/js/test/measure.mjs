// Figures, not a test: 1,000 epochs of 100 validators from genesis, and the time to a balance, in Node.
// `HS2_SYNC=… node --experimental-websocket measure.mjs`, with the package installed beside it.
import { join } from "node:path";

import { init, LightClient } from "hotstuff2-sync";

import { folder, generate, serve, waitFor } from "./nodes.mjs";

await init();
const chain = join(folder(), "chain");
const genesis = generate(chain, 3000, ["--app", "ledger", "--validators", "100", "--epochs", "1000"]);
const node = await serve(chain);
for (const oneByOne of [true, false]) {
  const cpu = process.cpuUsage();
  const begin = performance.now();
  const client = await LightClient.start({ genesis, nodes: [node.url], settings: { oneByOne, witnesses: 0, statusInterval: 500 } });
  await waitFor(client.events(), (event) => event.type === "tip" && event.block.height === 3000n, "the tip", 300_000);
  const tip = performance.now() - begin;
  await client.read(Uint8Array.of(0x61, 0, 0, 0, 3));
  const all = performance.now() - begin;
  const { user, system } = process.cpuUsage(cpu);
  console.log(`${oneByOne ? "one by one" : "skipping"}: tip after ${tip.toFixed(0)} ms, balance after ${all.toFixed(0)} ms, ${((user + system) / 1000).toFixed(0)} ms of CPU`);
  client.close();
}
await node.stop();
process.exit(0);
