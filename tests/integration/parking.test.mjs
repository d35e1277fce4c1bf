// Connections that give up their SSL object: stock clients do not notice, the counters say so, and nothing of a key is
// left in the worker when a connection is gone.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import tls from "node:tls";
import { after, before, describe, test } from "node:test";

import { Broker, deadline, eventually, within } from "./harness.mjs";
import { Portal } from "./portal.mjs";

const REQUEST = "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n";
const REGION_MAX_BYTES = 64 << 20; // what is larger is a sanitizer's own
const SUITES = { TLS_AES_128_GCM_SHA256: ["sha256", 16], TLS_AES_256_GCM_SHA384: ["sha384", 32] };

const counted = async (broker, name) => (await broker.metrics())[`nanopush_tls_${name}`];
const becomes = (broker, name, value) =>
  eventually(deadline(5000), `${name} is ${value}`, async () => (await counted(broker, name)) === value);

/** A connection to the portal port that answers each request with 404, and its secrets. */
async function dial(broker, options = {}) {
  const socket = tls.connect({ host: "127.0.0.1", port: broker.ports.portal, servername: "localhost", ca: broker.ca, ...options });
  const secrets = {};
  socket.on("keylog", (line) => {
    const [label, , secret] = line.toString().trim().split(" ");
    secrets[label] = Buffer.from(secret, "hex");
  });
  await within(deadline(5000), "the handshake", once(socket, "secureConnect"));
  let text = "";
  let answers = 0;
  socket.on("data", (chunk) => {
    text += chunk;
    answers = text.split("HTTP/1.1 404").length - 1;
  });
  const ask = async () => {
    const wanted = answers + 1;
    socket.write(REQUEST);
    await eventually(deadline(5000), `answer ${wanted}`, () => answers >= wanted);
  };
  return { socket, secrets, ask };
}

function expandLabel(hash, secret, label, length) {
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([Buffer.from([0, length, name.length]), name, Buffer.from([0, 1])]);
  return createHmac(hash, secret).update(info).digest().subarray(0, length);
}

/** What of @p needles lies in the memory that process @p pid can write to. */
function foundInMemory(pid, needles) {
  const found = new Set();
  const memory = openSync(`/proc/${pid}/mem`, "r");
  for (const line of readFileSync(`/proc/${pid}/maps`, "utf8").trim().split("\n")) {
    const [, from, to, access] = line.match(/^([0-9a-f]+)-([0-9a-f]+) (\S+)/);
    const length = Number(BigInt(`0x${to}`) - BigInt(`0x${from}`));
    if (!access.startsWith("rw") || length > REGION_MAX_BYTES) continue;
    const region = Buffer.alloc(length);
    try {
      readSync(memory, region, 0, length, BigInt(`0x${from}`));
    } catch {
      continue; // unmapped meanwhile
    }
    for (const [name, needle] of Object.entries(needles)) if (region.includes(needle)) found.add(name);
  }
  closeSync(memory);
  return [...found].sort();
}

/** A core of process @p pid, as a debugger writes it and with what the kernel would leave out left out; undefined where none may be had. */
function coreOf(pid, directory) {
  const { status } = spawnSync("gcore", ["-o", `${directory}/core`, `${pid}`], { timeout: deadline(20_000) });
  return status === 0 ? readFileSync(`${directory}/core.${pid}`) : undefined;
}

/** The secrets of a connection, as bytes and as the keylog callback's hex, and the record keys made of them. */
function needlesOf(secrets, suite) {
  const [hash, keyBytes] = SUITES[suite];
  const needles = {};
  for (const [label, secret] of Object.entries(secrets)) {
    needles[label] = secret;
    needles[`${label} in hex`] = Buffer.from(secret.toString("hex"));
    needles[`${label} in HEX`] = Buffer.from(secret.toString("hex").toUpperCase());
    if (label.includes("TRAFFIC")) needles[`key of ${label}`] = expandLabel(hash, secret, "key", keyBytes);
  }
  return needles;
}

describe("all ports park", () => {
  const broker = new Broker({ parking: "all" });
  let portal;
  before(async () => {
    await broker.start();
    portal = await Portal.create(broker);
  });
  after(() => broker.stop());

  for (const ciphers of Object.keys(SUITES))
    test(`Node's TLS client goes on over ${ciphers}`, async () => {
      const parkings = await counted(broker, "parkings_total");
      const { socket, ask } = await dial(broker, { ciphers });
      await ask();
      await eventually(deadline(5000), "parked", async () => (await counted(broker, "parkings_total")) > parkings);
      for (let i = 0; i < 50; i += 1) await ask();
      socket.end();
      await within(deadline(5000), "the broker's close_notify", once(socket, "end"));
      await within(deadline(5000), "close", once(socket, "close"));
      assert.equal(socket.errored, null);
    });

  test("openssl s_client updates keys both ways", async () => {
    const child = spawn("openssl", ["s_client", "-connect", `127.0.0.1:${broker.ports.portal}`, "-servername", "localhost"], { stdio: ["pipe", "pipe", "pipe"] });
    let said = "";
    child.stdout.on("data", (chunk) => (said += chunk));
    child.stderr.on("data", (chunk) => (said += chunk));
    const answers = () => said.split("HTTP/1.1 404").length - 1;
    const ask = async (count) => {
      child.stdin.write(REQUEST);
      await eventually(deadline(10_000), `answer ${count} in ${said}`, () => answers() === count);
    };
    try {
      await ask(1);
      const before = await broker.metrics();
      const updates = (metrics, direction) => metrics[`nanopush_tls_key_updates_total{direction="${direction}"}`];
      for (const [i, command] of ["k", "K", "K", "k"].entries()) {
        child.stdin.write(`${command}\n`);
        await eventually(deadline(10_000), "KEYUPDATE", () => said.split("KEYUPDATE").length - 1 === i + 1);
        await ask(i + 2);
      }
      const now = await broker.metrics();
      assert.equal(updates(now, "received") - updates(before, "received"), 4);
      assert.equal(updates(now, "sent") - updates(before, "sent"), 2);
    } finally {
      child.kill();
    }
  });

  test("a phone is parked once it has said Hello, and approves as before", async () => {
    const { user, phone, connection, pins } = await portal.connected();
    await becomes(broker, "live", 0);
    await portal.signIn({ user, phone, pins, connection });
    assert.ok((await counted(broker, "parked")) >= 1);
    assert.deepEqual(broker.complaints(), []);
    assert.equal((await broker.metrics())['nanopush_tls_parking_refused_total{reason="proof"}'], 0);
  });

  test("what is closed is parked no more", async () => {
    broker.hangUp();
    await becomes(broker, "parked", 0);
    await becomes(broker, "live", 0);
  });
});

for (const parking of ["all", "off"])
  describe(`parking ${parking}: keys of a connection that is gone`, () => {
    const broker = new Broker({ parking, log_level: "info" });
    before(() => broker.start());
    after(() => broker.stop());

    for (const ciphers of Object.keys(SUITES))
      test(`lie nowhere in the worker's memory (${ciphers})`, async () => {
        const { socket, secrets, ask } = await dial(broker, { ciphers });
        await ask();
        await becomes(broker, parking === "all" ? "parked" : "live", 1);
        const worker = broker.holderOf(socket);
        const needles = needlesOf(secrets, ciphers);
        assert.ok(foundInMemory(worker, needles).includes("SERVER_TRAFFIC_SECRET_0"), "while it is open they are found");
        socket.end();
        await within(deadline(5000), "close", once(socket, "close"));
        await becomes(broker, "parked", 0);
        await becomes(broker, "live", 0);
        assert.deepEqual(foundInMemory(worker, needles), []);
      });
  });

// Cores are forbidden by a limit. One that is made all the same holds no keys of phones, not even of parked connections.
for (const parking of ["all", "off"])
  test(`parking ${parking}: keys in the core of a worker`, async (t) => {
    const ciphers = "TLS_AES_128_GCM_SHA256";
    const broker = new Broker({ parking, log_level: "info", workers: 1 });
    await broker.start();
    try {
      const [gone, open] = [await dial(broker, { ciphers }), await dial(broker, { ciphers })];
      await gone.ask();
      await open.ask();
      gone.socket.end();
      await within(deadline(5000), "close", once(gone.socket, "close"));
      await becomes(broker, parking === "all" ? "parked" : "live", 1);
      const core = coreOf(broker.holderOf(open.socket), broker.root);
      if (!core) return t.skip("no core can be had here");
      const found = ({ secrets }) =>
        Object.entries(needlesOf(secrets, ciphers)).filter(([, needle]) => core.includes(needle)).map(([name]) => name);
      assert.ok(core.includes("nanopush"), "it is the worker's");
      assert.deepEqual(found(gone), []);
      if (parking === "all") assert.deepEqual(found(open), []);
      else assert.ok(found(open).includes("SERVER_TRAFFIC_SECRET_0"), "that of an SSL object is found");
    } finally {
      await broker.stop();
    }
  });

test("off: connections keep their SSL objects", async () => {
  const broker = new Broker({ parking: "off" });
  await broker.start();
  const { ask } = await dial(broker);
  await ask();
  await ask();
  assert.equal(await counted(broker, "live"), 1);
  assert.equal(await counted(broker, "parked"), 0);
  await broker.stop();
});
