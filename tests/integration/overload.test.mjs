// A worker that has all the phones that it may have: the next is told when to come back, and is let in when there is room.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { GoAway_Reason } from "../../build/gen-js/nanopush/v1/device_pb.js";
import { Broker, eventually } from "./harness.mjs";
import { Portal } from "./portal.mjs";

const MAX = 2;
const TOO_MANY = 8;
const RETURN_MS = 60_000;
const broker = new Broker({ connections_max: MAX });
let portal;
before(async () => {
  await broker.start();
  portal = await Portal.create(broker);
});
after(() => broker.stop());

test("phones beyond connections_max are told to come back, each at another time, and those that are there stay", async () => {
  const phones = [];
  for (let i = 0; i < MAX + 1; i++) phones.push(await portal.enrol());
  const late = phones.pop();
  for (const each of phones) each.connection = await each.phone.connect();
  const told = new Set();
  for (let i = 0; i < TOO_MANY; i++) {
    const connection = await late.phone.open();
    connection.send("hello", late.phone.helloFields(connection));
    const { reason, returnAfterMs } = await connection.next("goAway");
    assert.equal(reason, GoAway_Reason.OVERLOADED);
    assert.ok(returnAfterMs < RETURN_MS, `${returnAfterMs} ms`);
    told.add(returnAfterMs);
    await connection.untilClosed();
  }
  assert.ok(told.size > 1, `not all alike: ${[...told]}`);
  assert.equal((await broker.metrics()).nanopush_phones_sent_away_total, TOO_MANY);
  for (const each of phones) await portal.signIn(each);
  phones[0].connection.socket.destroy();
  late.connection = await eventually(10_000, "there is room", () => late.phone.connect().catch(() => null));
  await portal.signIn(late);
});
