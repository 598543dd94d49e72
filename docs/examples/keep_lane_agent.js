// An agent in JavaScript (Node.js), written from docs/wire.md alone: every vehicle keeps its speed and lane,
// except that it brakes when the vehicle ahead is closer than 10 m.
//
// cosim run scenarios/highway_350vph.yaml --agent driving=cmd:'node docs/examples/keep_lane_agent.js'
"use strict";
const net = require("net");

const KEEP = 4n, BRAKE = 3n; // of driving's nine actions
const HEADWAY = 6; // column of the observation: 50 m / distance to the vehicle ahead

const [kind, ...rest] = (process.env.COSIM_AGENT_ADDRESS || "").split(":");
const token = process.env.COSIM_AGENT_TOKEN;
delete process.env.COSIM_AGENT_TOKEN;
if (!token) {
  console.error("this program is an agent: cosim run … --agent driving=cmd:'node keep_lane_agent.js'");
  process.exit(1);
}
const socket =
  kind === "unix" ? net.connect(rest.join(":")) : net.connect({ host: rest[0], port: Number(rest[1]) });
socket.setNoDelay(true);

const pad = (n) => (n + 7) & ~7;

function send(header, arrays = []) {
  const text = (value) => {
    const bytes = Buffer.from(JSON.stringify(value));
    return Buffer.concat([bytes, Buffer.alloc(pad(bytes.length) - bytes.length, " ")]);
  };
  const body = arrays.map(({ data }) => {
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    return Buffer.concat([bytes, Buffer.alloc(pad(bytes.length) - bytes.length)]);
  });
  const layout = arrays.map(({ name, dtype, shape, data }) => ({ name, dtype, shape, bytes: data.byteLength }));
  const parts = [text(header), arrays.length ? text(layout) : Buffer.alloc(0), Buffer.concat(body)];
  const prefix = Buffer.alloc(16);
  prefix.write("CSM1");
  parts.forEach((part, i) => prefix.writeUInt32LE(part.length, 4 + 4 * i));
  socket.write(Buffer.concat([prefix, ...parts]));
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
  const { obs, mask } = found;
  const values = new BigInt64Array(header.active).fill(KEEP);
  for (let row = 0; row < header.active; row++) {
    const headway = body.readFloatLE(obs.at + 4 * (row * obs.shape[1] + HEADWAY));
    const allowed = !mask || body[mask.at + row * mask.shape[1] + Number(BRAKE)];
    if (allowed && 50 / headway < 10) values[row] = BRAKE;
  }
  return send(
    { type: "actions", t_us: header.t_us, role: header.role },
    [{ name: "values", dtype: "int64", shape: [header.active], data: values }],
  );
}

let held = Buffer.alloc(0);
socket.on("data", (chunk) => {
  held = Buffer.concat([held, chunk]);
  while (held.length >= 16) {
    const [h, l, b] = [4, 8, 12].map((offset) => held.readUInt32LE(offset));
    if (held.length < 16 + h + l + b) return;
    const header = JSON.parse(held.toString("utf8", 16, 16 + h));
    const layout = l ? JSON.parse(held.toString("utf8", 16 + h, 16 + h + l)) : [];
    const body = held.subarray(16 + h + l, 16 + h + l + b);
    held = held.subarray(16 + h + l + b);
    answer(header, layout, body);
  }
});
socket.on("error", (error) => {
  console.error(`connection to the engine: ${error.message}`);
  process.exit(1);
});
send({ type: "hello", version: 1, token });
