// The page: what the client tells, shown as it comes. All text is set as text, never as markup.
import { type Block, type ClientEvent, fromHex, Hs2Error, indexedDbStore, init, LightClient, type NodeAddress, type Proof, toHex } from "./lib/index.js";

const $ = <T extends Element = HTMLElement>(id: string): T => document.getElementById(id) as unknown as T;
const begun = performance.now();
/** What is known of a node: by its address. */
const nodes = new Map<string, { words: string; state: "away" | "here" | "lied"; peer: string | undefined; evidence: Blob | undefined }>();
let client: LightClient | undefined;
let tip: Block | undefined;
let took: number | undefined;
let firstEpoch: bigint | undefined;
let fromCheckpoint = false;

function element(name: string, words: string, properties: Record<string, string> = {}): HTMLElement {
  const made = document.createElement(name);
  made.textContent = words;
  for (const [key, value] of Object.entries(properties)) {
    made.setAttribute(key, value);
  }
  return made;
}

function say(words: string, bad = false): void {
  const line = element("li", `${words} `, bad ? { class: "bad" } : {});
  line.append(element("time", `${((performance.now() - begun) / 1000).toFixed(2)} s`));
  $("log").prepend(line);
  while ($("log").childElementCount > 200) {
    $("log").lastElementChild?.remove();
  }
}

const short = (bytes: Uint8Array): string => `${toHex(bytes).slice(0, 8)}…`;
const nameOf = (peer: Uint8Array): string => [...nodes].find(([, node]) => node.peer === toHex(peer))?.[0] ?? short(peer);

function showNodes(): void {
  $("nodes").replaceChildren(...[...nodes].map(([url, node]) => {
    const line = element("li", "", { "data-state": node.state });
    line.append(element("strong", url), element("span", node.words));
    if (node.evidence !== undefined) {
      const link = element("a", "Download the evidence", { download: "evidence.bin", href: URL.createObjectURL(node.evidence) });
      line.append(document.createElement("br"), link);
    }
    return line;
  }));
}

function showTip(block: Block, witnesses: number): void {
  tip = block;
  took ??= performance.now() - begun;
  $("height").textContent = block.height.toLocaleString("en");
  $("tip-words").textContent = `Block ${short(block.id)} is final: more than two thirds of the validators' power signed it, which this device has checked.`;
  $("witnesses").textContent = witnesses === 0 ? "none asked for" : String(witnesses);
  $("took").textContent = `${(took / 1000).toFixed(2)} s`;
  document.body.dataset["tip"] = String(block.height);
  showTrust();
}

function showEpoch(epoch: bigint): void {
  firstEpoch ??= epoch;
  $("epoch").textContent = epoch.toLocaleString("en");
}

function showAge(): void {
  if (tip !== undefined) {
    const seconds = Math.max(0, Math.round((Date.now() - tip.timestamp) / 1000));
    $("age").textContent = seconds < 120 ? `${seconds} s` : seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
  }
}

function showTrust(read?: string): void {
  const proven = [
    "who the validators of each epoch are, by signatures of those before",
    `that block ${tip?.height ?? "–"} is final, by the signatures of a quorum`,
    "who each node is, by its key",
  ];
  if (read !== undefined) {
    proven.push(read);
  }
  if (tip !== undefined) {
    $("proven").replaceChildren(...proven.map((words) => element("li", words)));
  }
  $("believed").replaceChildren(...[
    fromCheckpoint ? "the checkpoint that this browser kept from the last visit" : "the genesis file that came with this page",
    "this page's own program, and whoever served it",
    "this device's clock",
    "that less than a third of the validators' power breaks its promise",
  ].map((words) => element("li", words)));
}

function on(event: ClientEvent): void {
  switch (event.type) {
    case "started":
      fromCheckpoint = event.from === "checkpoint";
      document.body.dataset["from"] = event.from;
      say(fromCheckpoint ? "Went on from the checkpoint of the last visit." : "Started from the genesis file.");
      showTrust();
      break;
    case "connected": {
      const known = nodes.get(event.url);
      nodes.set(event.url, { evidence: undefined, ...known, words: `connected, ${short(event.peer)}`, state: "here", peer: toHex(event.peer) });
      say(`${event.url} is ${short(event.peer)}, which it has proven.`);
      break;
    }
    case "disconnected": {
      const known = nodes.get(event.url);
      if (known?.state !== "lied") {
        nodes.set(event.url, { peer: undefined, evidence: undefined, ...known, words: `away: ${event.reason}; tried again in ${Math.ceil(event.retryIn / 1000)} s`, state: "away" });
      }
      break;
    }
    case "epoch":
    case "skipped":
      showEpoch(event.epoch);
      say(event.type === "epoch" ? `Epoch ${event.epoch} is proven.` : `Epoch ${event.epoch} is proven, straight from ${event.from}.`);
      break;
    case "tip":
      showTip(event.block, event.witnesses);
      say(`Block ${event.block.height} is proven final.`);
      break;
    case "banned": {
      const url = nameOf(event.peer);
      const known = nodes.get(url);
      const evidence = event.answer === undefined ? undefined : new Blob([event.request ?? new Uint8Array(), event.answer] as BlobPart[]);
      nodes.set(url, { peer: toHex(event.peer), ...known, words: `lied: ${event.message}`, state: "lied", evidence });
      document.body.dataset["liar"] = toHex(event.peer);
      say(`${url} lied: ${event.message}.`, true);
      break;
    }
    case "stalled":
      $("tip-words").textContent = `No progress: ${event.message}.`;
      say(`No progress: ${event.message}.`, true);
      break;
    case "suspect_self":
      say("Several nodes give the same false answers: the genesis file may be of another chain.", true);
      break;
    case "halted":
      $("tip-words").textContent = event.message;
      say(event.message, true);
      break;
    case "dead":
      $("tip-words").textContent = event.error.message;
      say(event.error.message, true);
      break;
    case "store_failed":
      say("The checkpoint could not be kept: the next visit begins again.", true);
      break;
    case "resumed":
      say("Progress again.");
      break;
  }
  showNodes();
}

const account = (number: number): Uint8Array => Uint8Array.of(0x61, number >>> 24, number >>> 16, number >>> 8, number);

/** The key that was written: an account of the demo ledger, digits, or a text. */
function keyOf(text: string): { key: Uint8Array; number: number | undefined } {
  if (/^\d{1,9}$/.test(text)) {
    return { key: account(Number(text)), number: Number(text) };
  }
  return { key: text.startsWith("0x") ? fromHex(text.slice(2)) : new TextEncoder().encode(text), number: undefined };
}

function words(value: Uint8Array | undefined, number: number | undefined): string {
  if (value === undefined) {
    return "no value";
  }
  if (number !== undefined && value.length === 8) {
    return new DataView(value.buffer, value.byteOffset, 8).getBigUint64(0, true).toLocaleString("en");
  }
  return `0x${toHex(value)}`;
}

function shape(name: string, properties: Record<string, string | number>, text?: string): SVGElement {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(properties)) {
    made.setAttribute(key, String(value));
  }
  if (text !== undefined) {
    made.textContent = text;
  }
  return made;
}

/** The way from the root, at the top, to the leaf: what this device computed, and beside it what the node gave. */
function draw(proof: Proof, root: Uint8Array): SVGElement {
  const [step, depth, middle, width] = [26, proof.siblings.length, 210, 420];
  const height = (depth + 2) * step;
  const picture = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `The way from the state root through ${depth} branches to the leaf` });
  const bit = (at: number): number => ((proof.keyHash[at >> 3] ?? 0) >> (7 - (at & 7))) & 1;
  // The way swings to the side that each bit says, and back to the middle of the picture.
  let x = middle;
  let y = step;
  const dots: SVGElement[] = [shape("text", { x: x + 12, y: y + 4, class: "name" }, `state root ${short(root)}`)];
  for (let at = 0; at < depth; at += 1) {
    const side = bit(at) === 1 ? 1 : -1;
    const next = Math.min(Math.max(x + side * 14, 90), width - 130);
    const beside = next - side * 44;
    picture.append(shape("path", { d: `M${x} ${y} L${beside} ${y + step}`, class: "beside" }));
    picture.append(shape("path", { d: `M${x} ${y} L${next} ${y + step}`, class: "way" }));
    const sibling = proof.siblings[depth - 1 - at];
    dots.push(shape("circle", { cx: beside, cy: y + step, r: 4, class: "given" }));
    if (sibling !== undefined) {
      const left = beside < next;
      dots.push(shape("text", { x: beside + (left ? -8 : 8), y: y + step + 4, "text-anchor": left ? "end" : "start" }, toHex(sibling).slice(0, 6)));
    }
    dots.push(shape("circle", { cx: x, cy: y, r: 5, class: "known" }));
    [x, y] = [next, y + step];
  }
  dots.push(shape("circle", { cx: x, cy: y, r: 7, class: "known" }));
  dots.push(shape("text", { x, y: y + 22, class: "name", "text-anchor": "middle" }, proof.leaf === undefined ? "an empty place" : "the leaf"));
  picture.append(...dots);
  return picture;
}

async function read(text: string): Promise<void> {
  const now = client;
  if (now === undefined) {
    return;
  }
  const start = performance.now();
  $("answer").hidden = false;
  try {
    const { key, number } = keyOf(text.trim());
    const { value, block, proof } = await now.read(key);
    const found = words(value, number);
    $("value").textContent = found;
    $("value-words").textContent = `after block ${block.height.toLocaleString("en")}, read and proven in ${Math.round(performance.now() - start)} ms`;
    document.body.dataset["value"] = found;
    document.body.dataset["valueHeight"] = String(block.height);
    $("path").replaceChildren();
    if (proof !== undefined && block.stateRoot !== undefined) {
      $("path-words").textContent = `${proof.siblings.length} hashes lead from ${proof.leaf === undefined ? "an empty place" : "the leaf"} to the state root, which the block names. Full dots were computed on this device, hollow ones came from the node.`;
      $("path").append(draw(proof, block.stateRoot));
    }
    showTrust(`that the key has this value after block ${block.height}, by ${proof?.siblings.length ?? 0} hashes`);
  } catch (error) {
    $("value").textContent = "No answer";
    $("value-words").textContent = error instanceof Error ? error.message : String(error);
    $("path-words").textContent = "";
    $("path").replaceChildren();
  }
}

async function start(extra: readonly NodeAddress[]): Promise<void> {
  client?.close();
  const [genesis, network] = await Promise.all([
    fetch("genesis.json").then((answer) => answer.text()),
    fetch("network.json").then((answer) => answer.json() as Promise<{ nodes: NodeAddress[] }>),
  ]);
  const named = new URLSearchParams(location.search).getAll("node");
  const all = [...network.nodes, ...named.map((url): NodeAddress => ({ url })), ...extra];
  // Nodes that were named apart are taken as those of different operators: whoever names them decides.
  const unique = [...new Map(all.map((node) => [node.url.split("#")[0], node])).values()];
  const { chain_id: chain, document: about } = JSON.parse(genesis) as { chain_id: string; document: { name: string } };
  $("chain").textContent = `${about.name}, ${chain}`;
  nodes.clear();
  unique.forEach(({ url }) => nodes.set(new URL(url.split("#")[0] ?? url).href, { words: "is being connected", state: "away", peer: undefined, evidence: undefined }));
  showNodes();
  showTrust();
  const started = await LightClient.start({
    genesis,
    nodes: unique.map((node, at) => ({ ...node, group: `named ${at}` })),
    store: indexedDbStore(chain),
    settings: { witnesses: Math.min(2, Math.max(0, unique.length - 2)), statusInterval: 1000 },
  });
  client = started;
  const events = started.events();
  const position = started.position();
  showEpoch(position.epoch);
  if (position.tip !== undefined) {
    showTip(position.tip, position.witnesses);
  }
  void (async () => {
    for await (const event of events) {
      on(event);
    }
  })();
}

const more: NodeAddress[] = [];
$<HTMLFormElement>("add").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = $<HTMLInputElement>("url");
  more.push({ url: field.value.trim() });
  $("add-error").textContent = "";
  start(more).then(() => { field.value = ""; }, (error: unknown) => {
    more.pop();
    $("add-error").textContent = error instanceof Error ? error.message : String(error);
    void start(more);
  });
});
$<HTMLFormElement>("read").addEventListener("submit", (event) => {
  event.preventDefault();
  void read($<HTMLInputElement>("key").value);
});
$("forget").addEventListener("click", () => {
  client?.close();
  const gone = indexedDB.deleteDatabase("hotstuff2-sync");
  gone.onsuccess = gone.onerror = gone.onblocked = () => location.reload();
});
setInterval(showAge, 1000);

init().then(() => start(more)).catch((error: unknown) => {
  $("tip-words").textContent = error instanceof Hs2Error && error.reason === "anchor"
    ? `${error.message}. Forget the checkpoint below, and get a newer genesis file or checkpoint.`
    : error instanceof Error ? error.message : String(error);
});
