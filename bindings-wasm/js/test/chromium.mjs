// The page of the package in headless Chromium, against real processes: two nodes that come back with a longer chain, and one
// that lies. `HS2_SHOTS` names a folder for pictures of it.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

import { chromium } from "playwright-core";

import { folder, freePort, generate, serve } from "./nodes.mjs";

const root = join(dirname(createRequire(import.meta.url).resolve("hotstuff2-sync/package.json")), "page");
const shots = process.env.HS2_SHOTS;
const PATIENCE = 180_000;
const dir = folder();
// The same chain twice, to this height and to four times as high. The generator's last block has no jitter, and neither has
// the one at this height; one epoch is as long in the first as each of two in the second.
const [SHORT, LONG] = [558, 4 * 558];
const BLOCK_MS = 500;
const now = Date.now();
const made = (name, blocks, epochs, last) => {
  const options = ["--app", "ledger", "--validators", "7", "--epochs", String(epochs), "--timestamp", String(last)];
  return generate(join(dir, name), blocks, options);
};
const genesis = made("short", SHORT, 1, now - (LONG - SHORT) * BLOCK_MS);
assert.equal(made("long", LONG, 2, now), genesis, "the same chain");

const web = ["--web-root", root, "--web"];
const start = async (chain, ports) => {
  const identity = (name) => ["--identity", join(dir, `${name}.key`)];
  return Promise.all([
    serve(join(dir, chain), { port: ports[0], options: [...identity("one"), ...web, `127.0.0.1:${ports[1]}`] }),
    serve(join(dir, chain), { port: ports[2], options: identity("two") }),
  ]);
};
const ports = [await freePort(), await freePort(), await freePort()];
let [one, two] = await start("short", ports);
const liar = await serve(join(dir, "short"), { options: ["--lie", "signature"] });

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: "light" });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => { if (message.type() === "error" && !/WebSocket connection/.test(message.text())) complaints.push(message.text()); });
  page.on("pageerror", (error) => complaints.push(String(error)));
  const nodes = [two, liar].map(({ url }) => `node=${encodeURIComponent(url)}`).join("&");
  const address = `http://127.0.0.1:${ports[1]}/?${nodes}`;
  const answer = await page.goto(address);
  const policy = answer.headers()["content-security-policy"];
  assert.match(policy, /default-src 'none'/);
  const data = (name) => page.evaluate((key) => document.body.dataset[key], name);
  // Looked at from outside: under the page's policy nothing can be evaluated within.
  const wait = async (test, argument, what) => {
    for (const end = Date.now() + PATIENCE; Date.now() < end;) {
      // While the page is loaded anew there is nothing to look at.
      if (await page.evaluate(test, argument).catch(() => false)) {
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`${what} did not come; the page says: ${await page.evaluate(() => document.body.innerText)}`);
  };
  const tipAbove = (height, what) => wait((least) => Number(document.body.dataset.tip ?? -1) > least, height, what);
  const read = async (key) => {
    await page.evaluate(() => { delete document.body.dataset.value; });
    await page.fill("#key", key);
    await page.press("#key", "Enter");
    await wait(() => document.body.dataset.value !== undefined || /No answer/.test(document.querySelector("#value").textContent), undefined, "an answer");
    return { value: await data("value"), height: Number(await data("valueHeight")) };
  };

  await tipAbove(0, "a proven tip");
  assert.equal(await data("from"), "genesis");
  await wait((peer) => document.body.dataset.liar === peer, liar.peer, "the liar's name");
  const line = await page.textContent("li[data-state=lied]");
  assert.ok(line.includes(liar.url.split("#")[0]) && line.includes("lied"), line);

  assert.equal(Number(await data("tip")), SHORT);
  const accounts = Array.from({ length: 12 }, (_, number) => String(number));
  const early = new Map();
  for (const account of accounts) {
    early.set(account, await read(account));
    assert.match(early.get(account).value, /^[\d,]+$/, "a balance");
  }
  assert.ok(await page.locator("#path svg circle.known").count() > 8, "the way is drawn");
  // The nodes come back with more blocks, as they do when they were updated.
  await Promise.all([one, two].map((node) => node.stop()));
  [one, two] = await start("long", ports);
  await tipAbove(LONG - 1, "the tip of the longer chain");
  let moved = 0;
  for (const account of accounts) {
    const late = await read(account);
    assert.equal(late.height, LONG, "reads follow the chain");
    moved += late.value === early.get(account).value ? 0 : 1;
  }
  assert.ok(moved > 0, "a balance has moved");
  assert.equal((await read("no such key")).value, "no value");

  if (shots !== undefined) {
    mkdirSync(shots, { recursive: true });
    await read("3");
    for (const [name, viewport] of [["desktop", { width: 1280, height: 900 }], ["phone", { width: 390, height: 844 }]]) {
      for (const colorScheme of ["light", "dark"]) {
        await page.setViewportSize(viewport);
        await page.emulateMedia({ colorScheme });
        await page.screenshot({ path: join(shots, `${name}-${colorScheme}.png`), fullPage: true });
      }
    }
  }
  for (const width of [320, 390, 1280]) {
    await page.setViewportSize({ width, height: 800 });
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `nothing is cut off at ${width} pixels`);
  }
  // By keyboard alone: everything that can be used has a focus that is seen, and a name.
  const names = await page.evaluate(() => [...document.querySelectorAll("input, button")].map((field) => field.labels?.[0]?.textContent ?? field.textContent));
  assert.ok(names.every((name) => name.trim().length > 0), String(names));

  await page.reload();
  await wait(() => document.body.dataset.from !== undefined, undefined, "the start");
  assert.equal(await data("from"), "checkpoint");
  await tipAbove(LONG - 1, "the tip after a reload");
  assert.match((await read("3")).value, /^[\d,]+$/);

  // Without any node what was proven is still there.
  await Promise.all([two, liar].map((node) => node.stop()));
  assert.equal(Number(await data("tip")), LONG);
  assert.deepEqual(complaints, [], "no error, and nothing that the policy forbids");
  console.log(`Chromium ${browser.version()}: from block ${SHORT} to ${LONG}, ${moved} of ${accounts.length} balances moved, the liar is named, a reload goes on`);
} finally {
  await browser.close();
}
await one.stop();
process.exit(0);
