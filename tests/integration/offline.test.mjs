// Phones come and go, workers die, the broker stops: what was asked is still there, and is asked once.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Code } from "@connectrpc/connect";

import { ChallengeState, Progress } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { GoAway_Reason } from "../../build/gen-js/nanopush/v1/device_pb.js";
import { Broker, eventually, pause } from "./harness.mjs";
import { login, Portal, refuses } from "./portal.mjs";

const broker = new Broker({ workers: 2 });
let portal;
before(async () => {
  await broker.start();
  portal = await Portal.create(broker);
});
after(() => broker.stop());

const settled = async (id) => (await portal.challenges.getChallenge({ id })).challenge;

describe("a phone that comes and goes", () => {
  test("offline when it is asked, online 5 s later: the challenge is there", async () => {
    const { user, phone, pins } = await portal.enrol();
    const question = await portal.ask(user);
    assert.equal((await settled(question.id)).progress, Progress.QUEUED);
    await pause(5000);
    const connection = await phone.connect();
    assert.equal(connection.welcome.pendingCount, 1);
    const push = await phone.nextPush(connection);
    assert.equal(push.challengeId, question.id);
    await phone.decide(connection, push, "approve");
    await portal.verify(await settled(question.id), question, pins);
  });

  test("killed and back: it is there again, as the same attempt", async () => {
    const { user, phone, pins } = await portal.enrol();
    const first = await phone.connect();
    const question = await portal.ask(user);
    const before = await phone.nextPush(first);
    first.destroy();

    const second = await phone.connect();
    assert.equal(second.welcome.pendingCount, 1);
    const again = await phone.nextPush(second);
    assert.equal(again.challengeId, before.challengeId);
    assert.equal(again.attempt, before.attempt, "so the phone alerts once");
    assert.deepEqual(again.display, before.display, "the very bytes");
    await phone.decide(second, again, "approve");
    await portal.verify(await settled(question.id), question, pins);
  });

  test("gone with its word said but not confirmed: it says it again and is told the verdict", async () => {
    const { user, phone, pins } = await portal.enrol();
    const first = await phone.connect();
    const question = await portal.ask(user);
    const push = await phone.nextPush(first);
    const jws = phone.answer(push, "approve");
    first.send("answer", { challengeId: push.challengeId, jws });
    await eventually(5000, "approved", async () => (await settled(question.id)).state === ChallengeState.APPROVED);
    first.destroy();

    const second = await phone.connect();
    assert.equal(second.welcome.pendingCount, 0);
    second.send("answer", { challengeId: push.challengeId, jws });
    const { state, deviceId } = await second.next("resolved");
    assert.equal(state, ChallengeState.APPROVED);
    assert.equal(deviceId, phone.deviceId);
    await portal.verify(await settled(question.id), question, pins);
  });

  test("answered twice: the second answer gets the first's verdict and changes nothing", async () => {
    const { user, phone, pins } = await portal.enrol();
    const connection = await phone.connect();
    const question = await portal.ask(user);
    const push = await phone.nextPush(connection);
    assert.equal((await phone.decide(connection, push, "approve")).state, ChallengeState.APPROVED);
    const first = await settled(question.id);
    assert.equal((await phone.decide(connection, push, "deny")).state, ChallengeState.APPROVED);
    const { state, answer, revision, settleTime } = await settled(question.id);
    assert.deepEqual({ state, answer, revision, settleTime }, {
      state: first.state, answer: first.answer, revision: first.revision, settleTime: first.settleTime,
    });
    await portal.verify(first, question, pins);
  });

  test("both at once, on two connections of two phones: one verdict, told to both", async () => {
    const admin = await Portal.create(broker, {
      organisation: portal.organisation,
      scopes: ["SCOPE_CHALLENGE", "SCOPE_ENROL", "SCOPE_ADMIN"],
    });
    for (let round = 0; round < 5; round++) {
      const { user, phone: one } = await admin.enrol();
      const { phone: two } = await admin.enrol(user);
      const [first, second] = [await one.connect(), await two.connect()];
      const question = await admin.ask(user);
      const pushes = [await one.nextPush(first), await two.nextPush(second)];
      const verdicts = await Promise.all([one.decide(first, pushes[0], "approve"), two.decide(second, pushes[1], "deny")]);
      assert.equal(verdicts[0].state, verdicts[1].state);
      const { challenge } = await admin.challenges.getChallenge({ id: question.id });
      assert.equal(challenge.state, verdicts[0].state);
      assert.equal(challenge.answer.deviceId, challenge.state === ChallengeState.APPROVED ? one.deviceId : two.deviceId);
    }
  });

  test("a second connection of the same phone takes over, and the first is told", async () => {
    const { user, phone } = await portal.enrol();
    const first = await phone.connect();
    const second = await phone.connect();
    const { reason, returnAfterMs } = await first.next("goAway");
    assert.equal(reason, GoAway_Reason.TAKEN_OVER);
    assert.ok(returnAfterMs > 0);
    await first.untilClosed();

    const question = await portal.ask(user);
    const push = await phone.nextPush(second);
    assert.equal(push.challengeId, question.id);
    assert.equal((await phone.decide(second, push, "approve")).state, ChallengeState.APPROVED);
    assert.equal((await portal.users.getUser({ user })).user.devices[0].connected, true);
  });

  test("Bye ends the connection, and the phone counts as gone", async () => {
    const { user, phone } = await portal.enrol();
    const connection = await phone.connect();
    connection.send("bye");
    await connection.untilClosed();
    await eventually(5000, "not connected", async () => !(await portal.users.getUser({ user })).user.devices[0].connected);
  });
});

describe("a worker that dies", () => {
  test("while a challenge waits: the phone comes back and the login ends approved", async () => {
    const { user, phone, pins } = await portal.enrol();
    const connection = await phone.connect();
    const question = await portal.ask(user);
    await phone.nextPush(connection);
    const dying = broker.holderOf(connection.socket);
    const processes = broker.processes().length;
    process.kill(dying, "SIGKILL");
    await connection.untilClosed();

    const back = await eventually(10_000, "the phone connects again", () => phone.connect().catch(() => null));
    const push = await phone.nextPush(back);
    assert.equal(push.challengeId, question.id);
    assert.equal(push.attempt, 1);
    await phone.decide(back, push, "approve");
    await portal.verify(await settled(question.id), question, pins);
    await eventually(10_000, "a new worker is there", () => {
      const pids = broker.processes().map(({ pid }) => pid);
      return pids.length === processes && !pids.includes(dying);
    });
    await login(portal);
  });

  test("a phone that hung on the dead worker and stays away is asked when it is back", async () => {
    const { user, phone, pins } = await portal.enrol();
    const connection = await phone.connect();
    process.kill(broker.holderOf(connection.socket), "SIGKILL");
    await connection.untilClosed();
    const question = await eventually(10_000, "a worker takes the call", () => portal.ask(user).catch(() => null));
    const back = await eventually(10_000, "the phone connects again", () => phone.connect().catch(() => null));
    const push = await phone.nextPush(back);
    assert.equal(push.challengeId, question.id);
    await phone.decide(back, push, "approve");
    await portal.verify(await settled(question.id), question, pins);
  });
});

test("SIGTERM with phones connected and calls that wait: all are told, and the broker ends", async () => {
  const enrolled = await Promise.all(Array.from({ length: 6 }, () => portal.enrol()));
  const connections = await Promise.all(enrolled.map(({ phone }) => phone.connect()));
  const question = await portal.ask(enrolled[0].user);
  const following = portal.follow(question.id);
  await following.until("pending", ({ state }) => state === ChallengeState.PENDING);
  const waiting = portal.challenges.getChallenge({ id: question.id, waitMs: 60_000, afterRevision: 1_000_000n });
  waiting.catch(() => {});
  await pause(500); // Nothing tells from outside that a call is held; by now it is.

  broker.signal("SIGTERM");
  for (const connection of connections) {
    const { reason, returnAfterMs } = await connection.next("goAway");
    assert.equal(reason, GoAway_Reason.DRAINING);
    assert.ok(returnAfterMs >= 0);
    await connection.untilClosed();
  }
  await refuses(following.end(), "unavailable");
  const outcome = await waiting.then(({ challenge }) => challenge.state, (error) => error);
  assert.ok(outcome === ChallengeState.PENDING || outcome.code === Code.Unavailable, `the call that waits: ${outcome}`);
  assert.equal(await broker.exited, 0);
});
