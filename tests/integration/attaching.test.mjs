// A worker reads its inbox on one connection to Redis and hears what became of an attach on another, so a hint may come
// first. Here it does: what Redis says to a worker passes through the test, which keeps it back.
import assert from "node:assert/strict";
import net from "node:net";
import { test } from "node:test";

import { Broker, eventually, within } from "./harness.mjs";
import { Portal } from "./portal.mjs";
import { Redis } from "./redis.mjs";

/** Connections to a Redis, whose replies can be kept back: {address, links}, each {port, reads (an inbox), heard, hold, release}. */
async function forwarder(t, redis) {
  const links = new Set();
  const server = net.createServer((client) => {
    const upstream = net.connect(redis.port, "127.0.0.1");
    const link = { socket: client, reads: false, heard: "", kept: [], held: false };
    const end = () => {
      links.delete(link);
      client.destroy();
      upstream.destroy();
    };
    links.add(link);
    client.on("data", (bytes) => {
      link.reads ||= bytes.includes("XREAD");
      upstream.write(bytes);
    });
    upstream.on("data", (bytes) => {
      link.heard += bytes.toString("latin1");
      if (link.held) link.kept.push(bytes);
      else client.write(bytes);
    });
    link.release = () => {
      link.held = false;
      for (const bytes of link.kept.splice(0)) client.write(bytes);
    };
    for (const socket of [client, upstream]) socket.on("error", end).on("close", end);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.close();
    for (const { socket } of links) socket.destroy();
  });
  return { address: `127.0.0.1:${server.address().port}`, links };
}

test("a hint that comes while a phone attaches makes its worker read again", async (t) => {
  const redis = await Redis.start(t);
  const { address, links } = await forwarder(t, redis);
  const broker = new Broker({ workers: 2, redis: address, store_timeout_ms: 20_000 });
  t.after(() => broker.stop());
  await broker.start();
  const portal = await Portal.create(broker);
  const { user, phone } = await portal.enrol();
  (await phone.connect()).close(); // from now on Redis has the script: it is not sent again whole
  const [presence] = await redis.do("KEYS", "np1:*:presence");
  const holder = async () => (await redis.do("HGET", presence, phone.deviceId)).split("#")[0];
  await eventually(5000, "it is gone", async () => (await holder()) === "");

  const connection = await phone.open();
  const worker = broker.holderOf(connection.socket);
  let elsewhere;
  for (let tries = 0; tries < 64 && (!elsewhere || elsewhere.holder() === worker); tries++) elsewhere = await portal.alone(user);
  assert.notEqual(elsewhere.holder(), worker, "a portal at the other worker");

  const its = [...links].filter(({ socket }) => broker.holderOf({ localPort: socket.localPort, remotePort: socket.remotePort }) === worker);
  const [reader, ...others] = [...its.filter(({ reads }) => reads), ...its.filter(({ reads }) => !reads)];
  for (const link of others) link.held = true;
  const welcome = phone.helloOn(connection);
  await eventually(5000, "Redis has the attach", async () => (await holder()) !== "");

  const { id } = await elsewhere.ask(user);
  await eventually(5000, "the hint is there before the reply", () => reader.heard.includes(id));
  for (const link of others) link.release();
  assert.equal((await welcome).pendingCount, 0, "the attach had read before there was a challenge");
  assert.equal((await within(5000, "the push", phone.nextPush(connection))).challengeId, id);
});
