// Heartbeats and the life of a connection: each phone has its own, so that those that came at once do not beat, nor end, at
// once.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { GoAway_Reason } from "../../build/gen-js/nanopush/v1/device_pb.js";
import { Broker } from "./harness.mjs";
import { Portal } from "./portal.mjs";

const HEARTBEAT_MS = 10_000;
const LIFE_MS = 10_000;
const broker = new Broker({ heartbeat_s: HEARTBEAT_MS / 1000, heartbeat_jitter: 50, connection_life_s: LIFE_MS / 1000 });
let portal;
before(async () => {
  await broker.start();
  portal = await Portal.create(broker);
});
after(() => broker.stop());

test("each phone is told a heartbeat of its own, within the limits", async () => {
  const phones = await Promise.all(Array.from({ length: 12 }, () => portal.connected()));
  const told = phones.map(({ connection }) => connection.welcome.heartbeatMs);
  for (const ms of told) assert.ok(ms >= HEARTBEAT_MS / 2 && ms <= HEARTBEAT_MS, `${ms} ms`);
  assert.ok(new Set(told).size > 1, `not all alike: ${told}`);
});

test("a connection whose time is over is told to come anew, and the phone signs in on the next", async () => {
  const one = await portal.connected();
  const begun = Date.now();
  const beating = setInterval(() => one.connection.send("ping"), 2000);
  const { reason } = await one.connection.next("goAway", undefined, 3 * LIFE_MS);
  clearInterval(beating);
  assert.equal(reason, GoAway_Reason.RENEW);
  assert.ok(Date.now() - begun >= LIFE_MS / 2, "not before its time");
  await one.connection.untilClosed();
  await portal.signIn({ ...one, connection: await one.phone.connect({ session: one.connection.tickets[0] }) });
});
