// An agent in JavaScript (Node.js) with hybrid actions, written from docs/wire.md alone: every vehicle moves half of
// its task to the RSU with the shortest queue that it may choose.
//
// cosim run urban_avatar --agent migration=cmd:'node docs/examples/least_loaded_agent.js'
"use strict";
const net = require("net");

const SHARE = 0.5;

const [kind, ...rest] = (process.env.COSIM_AGENT_ADDRESS || "").split(":");
const token = process.env.COSIM_AGENT_TOKEN;
delete process.env.COSIM_AGENT_TOKEN;
if (!token) {
  console.error("this program is an agent: cosim run … --agent migration=cmd:'node least_loaded_agent.js'");
  process.exit(1);
}
const socket =
  kind === "unix" ? net.connect(rest.join(":")) : net.connect({ host: rest[0], port: Number(rest[1]) });
socket.setNoDelay(true);

const pad = (n) => (n + 7) & ~7;
const padded = (bytes, fill) => Buffer.concat([bytes, Buffer.alloc(pad(bytes.length) - bytes.length, fill)]);
const json = (value) => padded(Buffer.from(JSON.stringify(value)), " ");

function send(header, arrays = []) {
  const body = arrays.map(({ data }) => padded(Buffer.from(data.buffer, data.byteOffset, data.byteLength), 0));
  const layout = arrays.map(({ name, dtype, shape, data }) => ({ name, dtype, shape, bytes: data.byteLength }));
  const parts = [json(header), arrays.length ? json(layout) : Buffer.alloc(0), Buffer.concat(body)];
  const prefix = Buffer.alloc(16);
  prefix.write("CSM1");
  parts.forEach((part, i) => prefix.writeUInt32LE(part.length, 4 + 4 * i));
  socket.write(Buffer.concat([prefix, ...parts]));
}

function decide(active, mask, queue, body) {
  const values = new Float64Array(2 * active); // rows of choice and share, one behind the other
  for (let row = 0; row < active; row++) {
    let best = -1;
    let least = Infinity;
    for (let rsu = 0; rsu < mask.shape[1]; rsu++) {
      const load = body.readDoubleLE(queue.at + 8 * rsu);
      if (body[mask.at + row * mask.shape[1] + rsu] && load < least) [best, least] = [rsu, load];
    }
    values.set([Math.max(best, 0), SHARE], 2 * row);
  }
  return values;
}

function answer(header, layout, body) {
  if (header.type === "reset") return send({ type: "ready" });
  if (header.type === "close" || header.type === "error") return socket.end();
  if (header.type !== "act") return undefined;
  let at = 0;
  const found = {};
  for (const entry of layout) {
    found[entry.name] = { ...entry, at };
    at += pad(entry.bytes);
  }
  const data = decide(header.active, found.mask, found["shared.queue"], body);
  return send(
    { type: "actions", t_us: header.t_us, role: header.role },
    [{ name: "values", dtype: "float64", shape: [header.active, 2], data }],
  );
}

let held = Buffer.alloc(0);
socket.on("data", (chunk) => {
  held = Buffer.concat([held, chunk]);
  while (held.length >= 16) {
    const [h, l, b] = [4, 8, 12].map((offset) => held.readUInt32LE(offset));
    const length = 16 + h + l + b;
    if (held.length < length) return;
    const layout = l ? JSON.parse(held.toString("utf8", 16 + h, 16 + h + l)) : [];
    const message = [JSON.parse(held.toString("utf8", 16, 16 + h)), layout, held.subarray(16 + h + l, length)];
    held = held.subarray(length);
    answer(...message);
  }
});
socket.on("error", (error) => {
  console.error(`connection to the engine: ${error.message}`);
  process.exit(1);
});
send({ type: "hello", version: 1, token });
