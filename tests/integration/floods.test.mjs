// One phone that says more than it has to say: everybody else is served meanwhile.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { create, toBinary } from "@bufbuild/protobuf";

import { PhoneMessageSchema } from "../../build/gen-js/nanopush/v1/device_pb.js";
import { Broker } from "./harness.mjs";
import { frame } from "./phone.mjs";
import { Portal } from "./portal.mjs";

const ACKS = 60_000;
const ACCOUNTS = 5; // of one person, on one connection: each is told of every Ack

const broker = new Broker({ log_level: "info" });
let portal;
before(async () => {
  await broker.start();
  portal = await Portal.create(broker, { scopes: ["SCOPE_CHALLENGE", "SCOPE_ENROL", "SCOPE_ADMIN"] });
});
after(() => broker.stop());

test("a phone that acknowledges without end takes Redis from nobody else", async () => {
  const flooder = await portal.enrol();
  const connection = await flooder.phone.connect();
  for (let i = 1; i < ACCOUNTS; i++) await (await portal.enrol(flooder.user)).phone.helloOn(connection);
  const other = await portal.connected();
  const challengeId = flooder.phone.deviceId; // any id of this user's
  const ack = frame(toBinary(PhoneMessageSchema, create(PhoneMessageSchema, { message: { case: "ack", value: { challengeId } } })));
  let over = false;
  connection.sendBytes(Buffer.concat(Array(ACKS).fill(ack)));
  const answered = connection.next("pong", undefined, 60_000).finally(() => (over = true));
  connection.send("ping");
  let logins = 0;
  for (; !over; logins++) await portal.signIn(other);
  await answered;
  assert.ok(logins > 0, "somebody signed in meanwhile");
  assert.deepEqual(broker.complaints(), []);
});
