// The command as processes of its own: chains that are made, and nodes that serve them.
import { spawn, execFileSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

// Each node that is started listens for the end of the test.
process.setMaxListeners(100);
const program = process.env.HS2_SYNC;
if (program === undefined) {
  throw new Error("HS2_SYNC must name the command hs2-sync");
}

/** A folder that is gone when the test is. */
export function folder() {
  const path = mkdtempSync(join(tmpdir(), "hs2-wasm-"));
  process.on("exit", () => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Makes a chain of so many blocks in `dir`; its last block is of `timestamp`. */
export function generate(dir, blocks, options = []) {
  execFileSync(program, ["gen", "--dir", dir, "--blocks", String(blocks), ...options], { stdio: ["ignore", "ignore", "inherit"] });
  return readFileSync(join(dir, "genesis.json"), "utf8");
}

/** A port that was free a moment ago. */
export async function freePort() {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** Serves a copy of the store in `chain`, and says where. */
export async function serve(chain, { port = 0, options = [] } = {}) {
  const dir = join(folder(), "node");
  cpSync(chain, dir, { recursive: true });
  const child = spawn(program, ["serve", "--dir", dir, "--ws", `127.0.0.1:${port}`, "--json", "-", "--until-stdin-closes", ...options],
    { stdio: ["pipe", "pipe", "pipe"] });
  let [out, errors] = ["", ""];
  child.stderr.on("data", (text) => { errors += text; });
  const report = await new Promise((resolve, reject) => {
    child.stdout.on("data", (text) => {
      out += text;
      if (out.includes("\n")) {
        resolve(JSON.parse(out.slice(0, out.indexOf("\n"))));
      }
    });
    child.on("exit", (code) => reject(new Error(`a node ended with ${code}: ${errors}`)));
  });
  return { url: `ws://${report.ws}#${report.peer_id}`, peer: report.peer_id, address: `${report.address}/${report.peer_id}`, stop: stopper(child) };
}

function stopper(child) {
  process.on("exit", () => child.kill("SIGKILL"));
  return async () => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    }
  };
}

/** The first that is true of the events, or nothing after a long time. */
export async function waitFor(events, wanted, what, patience = 120_000) {
  const late = AbortSignal.timeout(patience);
  const seen = [];
  try {
    for (;;) {
      const next = await Promise.race([events.next(), new Promise((_, reject) => late.addEventListener("abort", () => reject(late.reason)))]);
      if (next.done) {
        throw new Error("the events have ended");
      }
      seen.push(next.value);
      if (wanted(next.value)) {
        return next.value;
      }
    }
  } catch (cause) {
    throw new Error(`${what} did not come; last were ${seen.slice(-8).map((event) => JSON.stringify(event, (_, value) => typeof value === "bigint" ? String(value) : value)).join(" ")}`, { cause });
  }
}
