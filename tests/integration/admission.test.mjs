// Who has not said who it is gets only so many connections from one address; phones that have said Hello do not count.
import assert from "node:assert/strict";
import net from "node:net";
import { after, before, test } from "node:test";

import { Broker, eventually } from "./harness.mjs";
import { Portal } from "./portal.mjs";

const MAX = 4;
const HANDSHAKES = 6; // of all addresses
const broker = new Broker({ unauthenticated_max: MAX, strangers_max: MAX, handshakes_max: HANDSHAKES });
let portal;
before(async () => {
  await broker.start();
  portal = await Portal.create(broker);
});
after(() => broker.stop());

const refusals = async (port) => (await broker.metrics())[`nanopush_connections_refused_total{port="${port}"}`];
const pauses = async (limit) => (await broker.metrics())[`nanopush_accept_pauses_total{limit="${limit}"}`];

/** Connections that the broker has decided about. */
async function decided(port) {
  const metrics = await broker.metrics();
  return metrics[`nanopush_connections_accepted_total{port="${port}"}`] + (await refusals(port));
}

/** A connection that says nothing. */
async function knock(localAddress = "127.0.0.1", port = "device") {
  const socket = net.connect({ host: "127.0.0.1", port: broker.ports[port], localAddress });
  socket.isOpen = true;
  socket.on("error", () => {});
  socket.on("close", () => (socket.isOpen = false));
  broker.onStop(() => socket.destroy());
  await new Promise((resolve) => socket.once("connect", resolve));
  return socket;
}

/** The same, once the broker has taken it in or refused it. */
async function open(localAddress, port = "device") {
  const before = await decided(port);
  const socket = await knock(localAddress, port);
  await eventually(5000, "the broker decides", async () => (await decided(port)) > before);
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
  assert.equal(await refusals("device"), 1);
  for (const { connection } of phones) await connection.ping();
  for (const socket of [elsewhere, ...idle]) socket.destroy();
  let seen = 1;
  await eventually(5000, "there is room again", async () => {
    const socket = await open();
    const refused = await refusals("device");
    socket.destroy();
    return refused === seen || ((seen = refused), false);
  });
  await portal.signIn(await portal.connected());
});

test("who holds all the half-done handshakes that its address may have keeps no other phone out", async () => {
  const phone = await portal.enrol();
  const half = [];
  const hello = Buffer.from("160301020001000001fc0303", "hex"); // of a ClientHello that never goes on
  for (let i = 0; i < MAX; i++) half.push(await open("127.0.0.3"));
  for (const socket of half) socket.write(hello);
  const more = [];
  for (let i = 0; i < HANDSHAKES; i++) more.push(await knock("127.0.0.3"));
  await portal.signIn({ ...phone, connection: await phone.phone.connect() });
  assert.ok(half.every((socket) => socket.isOpen));
  await eventually(5000, "those too many are closed", () => more.every((socket) => !socket.isOpen));
  for (const socket of half) socket.destroy();
});

test("beyond the handshakes in progress of a worker, connections wait and are not closed", async () => {
  const { user } = await portal.enrol();
  const pausesBefore = await pauses("handshakes");
  const half = [];
  for (let i = 0; i < HANDSHAKES; i++) half.push(await open(i < MAX ? "127.0.0.4" : "127.0.0.5"));
  await eventually(5000, "the limit is met", async () => (await pauses("handshakes")) > pausesBefore);
  const before = await decided("device");
  const waiting = await knock("127.0.0.6");
  for (let i = 0; i < 20; i++) await portal.users.getUser({ user }); // the worker has turned by then
  assert.equal(await decided("device"), before);
  assert.ok(waiting.isOpen);
  half.pop().destroy();
  await eventually(5000, "it is let in", async () => (await decided("device")) > before);
  assert.ok(waiting.isOpen);
  for (const socket of [waiting, ...half]) socket.destroy();
});

test("an address has so many connections to the portal port without a credential that counts; the others do not count", async () => {
  const { user } = await portal.enrol();
  const calling = [];
  for (let i = 0; i < MAX + 1; i++) calling.push(await portal.alone(user));
  const idle = [];
  for (let i = 0; i < MAX; i++) idle.push(await open("127.0.0.1", "portal"));
  const refused = await open("127.0.0.1", "portal");
  await eventually(5000, "the one too many is closed", () => !refused.isOpen);
  assert.equal(await refusals("portal"), 1);
  assert.ok((await open("127.0.0.2", "portal")).isOpen);
  for (const same of calling) await same.users.getUser({ user });
  assert.ok(idle.every((socket) => socket.isOpen));
});
