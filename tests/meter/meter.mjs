// Runs the agent in MicroPython's WebAssembly port, which has pointers of four bytes like the chip, and measures its heap.
//
// node meter.mjs PORT < case, where the case is {"files": {path: base64}, "parts": [module], "alone": {module: bytes},
// "keep": true to keep the parts loaded, "run": [statement], "seconds": simulated}.
// Prints {"parts": [[module, bytes live, bytes garbage, bytes that stay]], "imports": [[statement, live, garbage]],
// "turns": [[request under way, bytes before the turn, at its end, after a collection, garbage]], "console"}.
// The port collects garbage only between two calls from here.

import fs from "node:fs";

const { loadMicroPython } = await import(process.argv[2]);
const asked = JSON.parse(fs.readFileSync(0, "utf8"));
const console = [];
const POOL = /^qstr pool: n_pool=\d+, n_qstr=(\d+), n_str_data_bytes=(\d+), n_total_bytes=(\d+)/;
const NAME_BYTES = 7; // a pointer, a hash and a length, besides the text
let spare = 0;
const mp = await loadMicroPython({ heapsize: 8 << 20, stdout: said });

function said(line) {
    const names = line.match(POOL);
    if (names) spare = names[3] - names[1] * NAME_BYTES - names[2];
    else console.push(line);
}

for (const [path, raw] of Object.entries(asked.files)) {
    mp.FS.mkdirTree(path.slice(0, path.lastIndexOf("/")) || "/");
    mp.FS.writeFile(path, Buffer.from(raw, "base64"));
}
let now = 1800000000000;
Date.now = () => now;

mp.runPython("import sys; sys.path[:] = ['', '/chip', '.frozen', '/lib']; import turns");
const turns = mp.pyimport("turns");
turns.set_alone(JSON.stringify(asked.alone || {}));
const { collect, turn, doing, release } = turns;

// Bytes in use without the free part of the pool of names, which grows by several KB at a time.
function alloc(bytes) {
    turns.names();
    return (bytes ?? turns.alloc()) - spare;
}

function live() {
    collect();
    return alloc();
}

function measured(statement) {
    const before = live();
    turns.execute(statement);
    const top = alloc(turns.top);
    const after = live();
    return [after - before, Math.min(top - after, turns.between)];
}

const found = { parts: [], imports: [], turns: [], console };
for (const name of asked.parts) {
    const before = live();
    const numbers = measured("import " + name);
    if (!asked.keep) release(name);
    found.parts.push([name, ...numbers, live() - before]);
}
const base = live();
found.base = base;
for (const statement of asked.run || []) {
    found.imports.push([statement, ...measured(statement)]);
}
const end = now + (asked.seconds || 0) * 1000;
while (now < end) {
    const before = alloc();
    const ms = turn();
    const top = alloc(turns.top);
    const what = doing();
    found.turns.push([what, before - base, top - base, live() - base, Math.min(top - alloc(), turns.between)]);
    if (ms < 0) break;
    now += ms;
}
process.stdout.write(JSON.stringify(found));
