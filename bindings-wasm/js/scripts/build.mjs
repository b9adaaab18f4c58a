// Makes the package from what `hotstuff2-sync-wasm-pack` made of the module: `node scripts/build.mjs FOLDER`.
// `cargo xtask test --only wasm` runs it.
import { execFileSync } from "node:child_process";
import { cpSync, copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants } from "node:zlib";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const repository = dirname(dirname(root));
const require = createRequire(import.meta.url);
const packed = process.argv[2];
if (packed === undefined) {
  throw new Error("name the folder that hotstuff2-sync-wasm-pack wrote");
}
const at = (...parts) => join(root, ...parts);
const tool = (name, ...path) => join(dirname(require.resolve(`${name}/package.json`)), ...path);
const node = (program, ...options) => execFileSync(process.execPath, [program, ...options], { cwd: root, stdio: "inherit" });

// The table of codes, from the page that a test holds equal to the core's.
const rows = readFileSync(join(repository, "docs", "codes.md"), "utf8").matchAll(/^\| `0x([0-9a-f]{4})` \| `(\w+)` \| `(\w+)` \|$/gm);
const kinds = new Map();
for (const [, number, kind, name] of rows) {
  kinds.set(kind, [...(kinds.get(kind) ?? []), `    ${name}: 0x${number},`]);
}
if (kinds.size === 0) {
  throw new Error("docs/codes.md has no codes");
}
const table = [...kinds].map(([kind, lines]) => `  ${kind}: {\n${lines.join("\n")}\n  },\n`).join("");
writeFileSync(at("src", "codes.ts"), `// Made from docs/codes.md.\n\n/** The numbers of everything that leaves the core, by kind and name. */\nexport const CODES = {\n${table}} as const;\n`);

for (const folder of ["dist", join("src", "wasm"), join("page", "lib")]) {
  rmSync(at(folder), { recursive: true, force: true });
}
mkdirSync(at("src", "wasm"), { recursive: true });
const modules = ["hs2_light", "hs2_full"];
for (const name of modules.flatMap((module) => [`${module}.js`, `${module}.d.ts`])) {
  copyFileSync(join(packed, name), at("src", "wasm", name));
}
node(tool("typescript", "bin", "tsc"), "--project", "tsconfig.json");
mkdirSync(at("dist", "wasm"), { recursive: true });
for (const module of modules) {
  copyFileSync(at("src", "wasm", `${module}.d.ts`), at("dist", "wasm", `${module}.d.ts`));
  copyFileSync(at("src", "wasm", `${module}.js`), at("dist", "wasm", `${module}.js`));
}
// What the compiler uses, and engines have had for years. With all features on, some are made that no engine has yet.
const features = ["bulk-memory", "bulk-memory-opt", "call-indirect-overlong", "multivalue", "mutable-globals", "nontrapping-float-to-int", "reference-types", "sign-ext"].map((name) => `--enable-${name}`);
for (const module of modules) {
  node(tool("binaryen", "bin", "wasm-opt"), "-Oz", "--converge", ...features, join(packed, `${module}_bg.wasm`), "-o", at("dist", "wasm", `${module}.wasm`));
}
for (const name of ["LICENSE-MIT", "LICENSE-APACHE"]) {
  copyFileSync(join(repository, name), at(name));
}

// The page has the library beside it, all of it compressed once.
const types = (path) => path.endsWith(".d.ts");
const full = (path) => path === at("dist", "full") || path.includes("hs2_full");
cpSync(at("dist"), at("page", "lib"), { recursive: true, filter: (path) => !path.endsWith("node.js") && !full(path) });
node(tool("typescript", "bin", "tsc"), "--project", join("page", "tsconfig.json"));
for (const entry of readdirSync(at("page", "lib"), { withFileTypes: true, recursive: true })) {
  if (entry.isFile() && types(entry.name)) {
    rmSync(join(entry.parentPath ?? entry.path, entry.name));
  }
}
const compress = (folder) => {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      compress(path);
    } else if (/\.(js|css|html|wasm|svg)$/.test(entry.name)) {
      writeFileSync(`${path}.br`, brotliCompressSync(readFileSync(path), { params: { [constants.BROTLI_PARAM_SIZE_HINT]: statSync(path).size } }));
    }
  }
};
compress(at("page"));

// What a first visit loads, against what it may.
const budget = JSON.parse(readFileSync(at("budget.json"), "utf8"));
const size = (path) => statSync(`${path}.br`).size;
const scripts = (folder) => readdirSync(folder, { withFileTypes: true }).reduce((sum, entry) => {
  const path = join(folder, entry.name);
  return sum + (entry.isDirectory() ? scripts(path) : entry.name.endsWith(".js") ? size(path) : 0);
}, 0);
const fullSize = brotliCompressSync(readFileSync(at("dist", "wasm", "hs2_full.wasm"))).length;
const found = { "full.wasm": fullSize, "light.wasm": size(at("page", "lib", "wasm", "hs2_light.wasm")), "javascript": scripts(at("page", "lib")) };
for (const [name, bytes] of Object.entries(found)) {
  console.log(`${name}: ${bytes} bytes by Brotli, of ${budget[name]}`);
  if (!(bytes <= budget[name])) {
    throw new Error(`${name} is over its budget of bindings-wasm/js/budget.json`);
  }
}
