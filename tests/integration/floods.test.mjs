// One phone that says more than it has to say: everybody else is served meanwhile.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { create, toBinary } from "@bufbuild/protobuf";

import { PhoneMessageSchema } from "../../build/gen-js/nanopush/v1/device_pb.js";
import { ChallengeState } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { Broker, eventually } from "./harness.mjs";
import { CAN_CODE, frame } from "./phone.mjs";
import { Portal } from "./portal.mjs";

const ACKS = 60_000;
const REPEATS = 30;
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

const events = async (kind) => (await broker.metrics())[`nanopush_events_total{event="${kind}"}`];

test("a phone that unlocks what is not locked writes nothing into events and audit", async () => {
  const target = await portal.connected();
  const had = await events("push_unlocked");
  for (let i = 0; i < REPEATS; i++) await target.phone.unlock(target.connection);
  assert.equal(await events("push_unlocked"), had);
  const question = await portal.ask(target.user);
  await target.phone.decide(target.connection, await target.phone.pushOf(target.connection, question.id), "not_me");
  for (let i = 0; i < REPEATS; i++) await target.phone.unlock(target.connection);
  await eventually(5000, "the one that lifted a lock is told", async () => (await events("push_unlocked")) === had + 1);
  assert.equal(target.connection.messages.filter(({ case: kind }) => kind === "notice").length, 2, "locked, unlocked");
});

test("a new phone that repeats itself while push is locked is one event", async () => {
  const target = await portal.connected({ capabilities: CAN_CODE });
  const question = await portal.ask(target.user);
  const push = await target.phone.pushOf(target.connection, question.id);
  assert.equal((await target.phone.decide(target.connection, push, "not_me")).state, ChallengeState.REPORTED);
  const had = await events("push_refused");
  const { phone } = await portal.begin({ user: target.user, overrideApproval: false });
  const connection = await phone.open();
  for (let i = 0; i < REPEATS; i++) assert.ok((await phone.enrolOn(connection)).waiting);
  await eventually(5000, "the refusal is told", async () => (await events("push_refused")) > had);
  assert.equal(await events("push_refused"), had + 1);
});
