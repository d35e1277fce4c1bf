// Who has not said who it is gets only so many connections from one address; phones that have said Hello do not count.
import assert from "node:assert/strict";
import net from "node:net";
import { after, before, test } from "node:test";

import { Broker, eventually } from "./harness.mjs";
import { Portal } from "./portal.mjs";

const MAX = 4;
const broker = new Broker({ unauthenticated_max: MAX });
let portal;
before(async () => {
  await broker.start();
  portal = await Portal.create(broker);
});
after(() => broker.stop());

/** Connections that the broker has decided about. */
async function decided() {
  const metrics = await broker.metrics();
  return ["accepted", "refused"].reduce((sum, what) => sum + metrics[`nanopush_connections_${what}_total{port="device"}`], 0);
}

/** A connection that says nothing, once the broker has taken it in or refused it. */
async function open(localAddress = "127.0.0.1") {
  const before = await decided();
  const socket = net.connect({ host: "127.0.0.1", port: broker.ports.device, localAddress });
  socket.isOpen = true;
  socket.on("error", () => {});
  socket.on("close", () => (socket.isOpen = false));
  await new Promise((resolve) => socket.once("connect", resolve));
  await eventually(5000, "the broker decides", async () => (await decided()) > before);
  return socket;
}

test("an address has so many that say nothing, another one its own, and a phone that said Hello counts no more", async () => {
  const phones = [];
  for (let i = 0; i < MAX + 1; i++) phones.push(await portal.connected());
  const idle = [];
  for (let i = 0; i < MAX; i++) idle.push(await open());
  assert.ok(idle.every((socket) => socket.isOpen));
  const refused = await open();
  await eventually(5000, "the one too many is closed", () => !refused.isOpen);
  const elsewhere = await open("127.0.0.2");
  assert.ok(elsewhere.isOpen);
  assert.equal((await broker.metrics())['nanopush_connections_refused_total{port="device"}'], 1);
  for (const { connection } of phones) await connection.ping();
  for (const socket of [elsewhere, ...idle]) socket.destroy();
  let seen = 1;
  await eventually(5000, "there is room again", async () => {
    const socket = await open();
    const refused = (await broker.metrics())['nanopush_connections_refused_total{port="device"}'];
    socket.destroy();
    return refused === seen || ((seen = refused), false);
  });
  await portal.signIn(await portal.connected());
});
