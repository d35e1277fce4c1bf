// Somebody writes to Redis while the broker runs, or asks more than is usual: no worker dies of it, nobody loses a push.
// What such a writer may read back as true is tested at the store (tests/unit/test_store_attack.c).
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Broker, eventually } from "./harness.mjs";
import { login, Portal } from "./portal.mjs";

const broker = new Broker({ workers: 1 });
let portal;
before(async () => {
  await broker.start();
  portal = await Portal.create(broker);
});
after(() => broker.stop());

const redis = (...args) => broker.redis(...args);

const inboxKey = async () => /np1:inbox:\{[^}]+\}/.exec(await redis("KEYS", "np1:inbox:*"))[0];
const tagOf = (id) => id.slice(-20);

/** The number of the device's connection in its worker, as the log says it. */
const connectionOf = async (deviceId) => {
  const line = await broker.logged(new RegExp(`session-attached .*device=${deviceId}`));
  return Number(/conn=(\d+)/.exec(line)[1]);
};

/** A Record.Hint of store/record.proto, for ids of less than 128 bytes. */
const hint = (kind, id, deviceId, connection) => Buffer.concat([
  Buffer.from([0x08, kind, 0x12, id.length]), Buffer.from(id),
  Buffer.from([0x1a, deviceId.length]), Buffer.from(deviceId), Buffer.from([0x20, connection]),
]);

describe("a writer to Redis", () => {
  test("puts a hint with a short id into the inbox: refused, and the worker lives", async () => {
    const { phone, connection } = await portal.connected();
    const number = await connectionOf(phone.deviceId);
    await redis("XADD", await inboxKey(), "*", "hint", hint(1, "x", phone.deviceId, number));
    await broker.logged(/event=hint-refused/);
    await connection.ping();
    await login(portal);
  });

  test("writes the presence of the very next connection, in other digits: nobody is taken over by itself", async () => {
    const { phone, connection } = await portal.connected();
    const number = await connectionOf(phone.deviceId);
    connection.close();
    const presence = `np1:{${tagOf(phone.deviceId)}}:presence`;
    await eventually(5000, "presence is cleared", async () => (await redis("HGET", presence, phone.deviceId)).includes("##"));
    const inbox = (await inboxKey()).slice("np1:inbox:{".length, -1);
    await redis("HSET", presence, phone.deviceId, `${inbox}#0${number + 1}#3`);
    const again = await phone.connect();
    await again.ping(); // and not GoAway
    assert.equal(again.messages.filter((message) => message.case === "goAway").length, 0);
    await login(portal);
  });
});

describe("more than is usual", () => {
  test("three hundred administrative calls, each on a connection of its own", { timeout: 60_000 }, async () => {
    for (let i = 0; i < 300; i++) {
      const { user } = await broker.admin("UserService/GetUser", { user: "nobody", organisation: portal.organisation })
        .catch((error) => ({ user: error }));
      assert.match(String(user), /no such user|not_found/);
    }
  });

  test("twelve challenges wait for one phone: all are there when it connects", async () => {
    const { phone, user } = await portal.enrol();
    const portals = await Promise.all(Array.from({ length: 12 }, () => Portal.create(broker, { organisation: portal.organisation })));
    const asked = await Promise.all(portals.map((each) => each.ask(user)));
    const connection = await phone.connect();
    assert.equal(connection.welcome.pendingCount, 12);
    const pushed = [];
    for (let i = 0; i < 12; i++) pushed.push((await connection.next("challenge")).challengeId);
    assert.deepEqual(pushed.sort(), asked.map(({ id }) => id).sort());
  });
});
