// How a person says yes: TAP, CHOOSE and CODE, with user verification or without, never weaker than it was asked; and
// what every other phone and the portal hear of it.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { ChallengeState, Mode, Progress, UserVerification } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { Broker, deadline, pause, within } from "./harness.mjs";
import { CAN_CHOOSE, CAN_CODE } from "./phone.mjs";
import { Portal, readAnswer, refuses } from "./portal.mjs";

const RESEND_MS = 10_000;
const AT_ONCE_MS = 1500; // by a hint, not by the watcher's own reading after 2 s
const ALL_MODES = ["MODE_TAP", "MODE_CHOOSE", "MODE_CODE"];
const ABLE = { capabilities: CAN_CHOOSE | CAN_CODE };
const broker = new Broker({ workers: 2 });
let portal;
let resending;

before(async () => {
  await broker.start();
  portal = await Portal.create(broker, { modes: ALL_MODES, scopes: ["SCOPE_CHALLENGE", "SCOPE_ENROL", "SCOPE_ADMIN"] });
  resending = await startResending();
});
after(() => broker.stop());

const asked = (request, how = ABLE) => portal.asked(request, how);

/** The user of that first phone with a second one, both connected. */
async function withSecond(first, how = ABLE) {
  const second = await portal.enrol(first.user, how);
  return { ...second, connection: await second.phone.connect() };
}

const verified = ({ question, pins }) => portal.approved(question, pins);

/** Nothing of that kind has come when a Pong comes. */
async function nothing(connection, kind) {
  await connection.ping();
  assert.deepEqual(connection.messages.filter((message) => message.case === kind), []);
}

// Ten seconds are to pass between two attempts, so this one starts first and is looked at last.
async function startResending() {
  const first = await portal.connected(ABLE);
  const second = await withSecond(first);
  const question = await portal.ask(first.user, { mode: Mode.CHOOSE, life: { seconds: 120n } });
  const pushes = [await first.phone.nextPush(first.connection), await second.phone.nextPush(second.connection)];
  return { first, second, question, pushes, started: Date.now() };
}

describe("mode CHOOSE", () => {
  test("the right one of three: approved, and the approval says which", async () => {
    const all = await asked({ mode: Mode.CHOOSE });
    const { phone, connection, question, push } = all;
    assert.equal(push.mode, Mode.CHOOSE);
    assert.equal(push.options.length, 3);
    assert.equal(new Set(push.options).size, 3, "different ones");
    for (const option of push.options) assert.match(option, /^\d{2}$/);
    assert.ok(push.options.includes(question.number), "one of them stands on the portal's page");
    assert.equal((await phone.decide(connection, push, "approve", { code: question.number })).state, ChallengeState.APPROVED);
    assert.equal((await verified(all)).code, question.number);
  });

  test("a wrong one: failed at once, signed, and no second try", async () => {
    const { phone, connection, question, push, pins } = await asked({ mode: Mode.CHOOSE });
    const following = portal.follow(question.id);
    const code = push.options.find((option) => option !== question.number);
    assert.equal((await phone.decide(connection, push, "approve", { code })).state, ChallengeState.FAILED);
    const last = (await following.end()).at(-1);
    assert.equal(last.state, ChallengeState.FAILED);
    assert.equal((await readAnswer(last.answer.jws, pins)).payload.code, code);
    await assert.rejects(portal.verify(last, question, pins), "and no portal signs in on it");
    assert.equal((await phone.decide(connection, push, "approve", { code: question.number })).state, ChallengeState.FAILED);
    assert.equal(await portal.challengeState(question.id), ChallengeState.FAILED);
  });

  test("the place of the right one tells nothing", async () => {
    const places = new Set();
    const { user, phone, connection } = await portal.connected(ABLE);
    for (let tries = 0; tries < 30 && places.size < 3; tries++) {
      const question = await portal.ask(user, { mode: Mode.CHOOSE, browserSession: "tab" });
      const push = await phone.nextPush(connection);
      places.add(push.options.indexOf(question.number));
      await phone.decide(connection, push, "approve", { code: question.number });
    }
    assert.deepEqual([...places].sort(), [0, 1, 2]);
  });
});

describe("mode CODE", () => {
  test("the three digits of the portal's page, which no phone was told: approved", async () => {
    const all = await asked({ mode: Mode.CODE });
    const { phone, connection, question, push } = all;
    assert.match(question.number, /^\d{3}$/);
    assert.equal(push.mode, Mode.CODE);
    assert.deepEqual(push.options, []);
    assert.equal((await phone.decide(connection, push, "approve", { code: question.number })).state, ChallengeState.APPROVED);
    assert.equal((await verified(all)).code, question.number);
  });

  test("is what a portal gets that names no mode, where it is allowed it", async () => {
    const { push, question } = await asked({ mode: Mode.UNSPECIFIED });
    assert.equal(push.mode, Mode.CODE);
    const { challenge } = await portal.challenges.getChallenge({ id: question.id });
    assert.equal(challenge.mode, Mode.CODE);
    assert.equal(challenge.number, question.number, "read again, the portal sees its number");
  });

  test("other digits: failed, and no second try, from this phone or another", async () => {
    const { user, phone, connection } = await portal.connected(ABLE);
    const second = await withSecond({ user });
    const question = await portal.ask(user, { mode: Mode.CODE });
    const [push, pushed] = [await phone.nextPush(connection), await second.phone.nextPush(second.connection)];
    const code = question.number === "000" ? "001" : "000";
    assert.equal((await phone.decide(connection, push, "approve", { code })).state, ChallengeState.FAILED);
    assert.equal((await second.connection.next("resolved")).state, ChallengeState.FAILED);
    for (const [by, on] of [[phone, connection], [second.phone, second.connection]])
      assert.equal((await by.decide(on, pushed, "approve", { code: question.number })).state, ChallengeState.FAILED);
  });

  test("digits in another form are other digits", async () => {
    for (const form of [(n) => `0${n}`, (n) => n.slice(1), (n) => `${n}0`]) {
      const { phone, connection, question, push } = await asked({ mode: Mode.CODE });
      const { state } = await phone.decide(connection, push, "approve", { code: form(question.number) });
      assert.equal(state, ChallengeState.FAILED);
    }
  });

  test("no digits, or no string, or none where a refusal has none: refused, which is no try", async () => {
    const { phone, connection, question, push } = await asked({ mode: Mode.CODE });
    for (const claims of [{}, { code: "" }, { code: Number(question.number) }, { code: "x".repeat(3) }, { code: "1".repeat(100) }, { code: null }])
      assert.equal((await phone.refusedAnswer(connection, push, "approve", { claims })).code, "INVALID", JSON.stringify(claims));
    assert.equal((await phone.refusedAnswer(connection, push, "deny", { code: question.number })).code, "INVALID");
    assert.equal((await phone.decide(connection, push, "approve", { code: question.number })).state, ChallengeState.APPROVED);
  });

  test("the same idempotency key: the same number", async () => {
    const { user } = await portal.connected(ABLE);
    const request = { user, mode: Mode.CODE, idempotencyKey: `key of ${user}` };
    const [one, two] = [await portal.challenges.createChallenge(request), await portal.challenges.createChallenge(request)];
    assert.equal(two.id, one.id);
    assert.equal(two.number, one.number);
  });
});

describe("never downgraded", () => {
  test("an approval of a weaker mode is refused, even when all else is right", async () => {
    for (const mode of [Mode.CHOOSE, Mode.CODE]) {
      const { phone, connection, question, push } = await asked({ mode });
      const weaker = mode === Mode.CODE ? ["tap", "choose"] : ["tap", "code"];
      for (const claimed of weaker)
        for (const code of [undefined, question.number]) {
          const { code: refused } = await phone.refusedAnswer(connection, push, "approve", { code, claims: { mode: claimed } });
          assert.equal(refused, "INVALID");
        }
      assert.equal(await portal.challengeState(question.id), ChallengeState.PENDING);
    }
  });

  test("a phone that cannot is not asked, now or when it comes; one that can is", async () => {
    const able = await portal.connected(ABLE);
    const unable = await withSecond(able, { capabilities: CAN_CHOOSE });
    const question = await portal.ask(able.user, { mode: Mode.CODE });
    const push = await able.phone.nextPush(able.connection);
    await nothing(unable.connection, "challenge");
    const again = await unable.phone.connect();
    await able.phone.decide(able.connection, push, "approve", { code: question.number });
    await verified({ question, pins: able.pins });
    const easier = await portal.ask(able.user);
    assert.equal((await unable.phone.nextPush(again)).challengeId, easier.id, "the first that it is asked");
  });

  test("Welcome counts what follows, and nothing that the phone cannot do", async () => {
    const able = await portal.connected(ABLE);
    const { phone } = await portal.enrol(able.user);
    await portal.ask(able.user, { mode: Mode.CODE });
    const connection = await phone.connect();
    assert.equal(connection.welcome.pendingCount, 0);
    await nothing(connection, "challenge");
    phone.capabilities = CAN_CODE;
    const again = await phone.connect();
    assert.equal(again.welcome.pendingCount, 1);
    await phone.nextPush(again);
  });

  test("a user whose phones cannot: failed_precondition, and other modes are as ever", async () => {
    const { user, phone, pins, connection } = await portal.connected();
    for (const mode of [Mode.UNSPECIFIED, Mode.CHOOSE, Mode.CODE])
      await refuses(portal.ask(user, { mode }), "failed_precondition", /mode/);
    await portal.signIn({ user, phone, pins, connection });
  });

  test("a phone that can is asked though it is not connected", async () => {
    const { user, phone, pins } = await portal.enrol(undefined, ABLE);
    const question = await portal.ask(user, { mode: Mode.CODE });
    const connection = await phone.connect();
    assert.equal(connection.welcome.pendingCount, 1);
    await phone.decide(connection, await phone.nextPush(connection), "approve", { code: question.number });
    await verified({ question, pins });
  });
});

describe("user verification", () => {
  for (const [name, userVerification, possession] of [
    ["required", UserVerification.REQUIRED, false],
    ["preferred", UserVerification.PREFERRED, true],
    ["not asked", UserVerification.NOT_ASKED, true],
  ]) {
    test(`${name}: the possession key ${possession ? "will do" : "is refused"}, and the portal is told which it was`, async () => {
      const all = await asked({ userVerification });
      const { phone, connection, question, push, pins } = all;
      assert.equal(push.userVerification, userVerification);
      if (!possession) {
        assert.equal((await phone.refusedAnswer(connection, push, "approve", { key: phone.possession })).code, "INVALID");
        assert.equal(await portal.challengeState(question.id), ChallengeState.PENDING);
        return;
      }
      assert.equal((await phone.decide(connection, push, "approve", { key: phone.possession })).state, ChallengeState.APPROVED);
      const { challenge } = await portal.challenges.getChallenge({ id: question.id });
      assert.equal(challenge.answer.userVerified, false);
      assert.equal(challenge.userVerification, userVerification);
      await verified(all);
      await assert.rejects(portal.verify(challenge, { ...question, userVerification: UserVerification.REQUIRED }, pins), /1: by/);
    });

    test(`${name}: the user-verification key will do`, async () => {
      const all = await asked({ userVerification });
      const { phone, connection, push } = all;
      assert.equal((await phone.decide(connection, push, "approve", { key: phone.verification })).state, ChallengeState.APPROVED);
      const { challenge } = await portal.challenges.getChallenge({ id: all.question.id });
      assert.equal(challenge.answer.userVerified, true);
      await verified(all);
    });

    test(`${name}: the possession key refuses, as always`, async () => {
      for (const [decision, state] of [["deny", ChallengeState.DENIED], ["not_me", ChallengeState.REPORTED]]) {
        const { phone, connection, push, question } = await asked({ userVerification });
        assert.equal((await phone.decide(connection, push, decision, { key: phone.possession })).state, state);
        const { challenge } = await portal.challenges.getChallenge({ id: question.id });
        assert.equal(challenge.answer.userVerified, false);
      }
    });
  }

  test("not asked for a number: either key, and still the right number only", async () => {
    const all = await asked({ mode: Mode.CODE, userVerification: UserVerification.NOT_ASKED });
    const { phone, connection, push, question } = all;
    const { state } = await phone.decide(connection, push, "approve", { key: phone.possession, code: question.number });
    assert.equal(state, ChallengeState.APPROVED);
    await verified(all);
  });
});

describe("everybody hears of it", () => {
  for (const [decision, state] of [
    ["approve", ChallengeState.APPROVED], ["deny", ChallengeState.DENIED], ["not_me", ChallengeState.REPORTED],
  ])
    test(`${decision}: the watcher and the other phone, at once`, async () => {
      const first = await portal.connected();
      const second = await withSecond(first);
      const question = await portal.ask(first.user);
      const following = portal.follow(question.id);
      await following.until("pending", () => true);
      const push = await first.phone.nextPush(first.connection);
      await second.phone.nextPush(second.connection);
      const said = Date.now();
      first.phone.sendAnswer(first.connection, push, decision);
      const [told, snapshots] = await Promise.all([second.connection.next("resolved"), following.end()]);
      assert.ok(Date.now() - said < deadline(AT_ONCE_MS), `${Date.now() - said} ms`);
      assert.equal(told.challengeId, question.id);
      assert.equal(told.state, state);
      assert.equal(told.deviceId, first.phone.deviceId);
      assert.equal(snapshots.at(-1).state, state);
      assert.equal(snapshots.at(-1).answer.deviceId, first.phone.deviceId);
    });

  test("two phones answer at the same moment: one counts, both are told the same", async () => {
    for (let round = 0; round < 5; round++) {
      const first = await portal.connected();
      const second = await withSecond(first);
      const question = await portal.ask(first.user);
      const pushes = [await first.phone.nextPush(first.connection), await second.phone.nextPush(second.connection)];
      const [yes, no] = await Promise.all([
        first.phone.decide(first.connection, pushes[0], "approve"),
        second.phone.decide(second.connection, pushes[1], "deny"),
      ]);
      const { challenge } = await portal.challenges.getChallenge({ id: question.id });
      const counted = challenge.state === ChallengeState.APPROVED ? first : second;
      assert.equal(challenge.answer.deviceId, counted.phone.deviceId);
      for (const { state, deviceId } of [yes, no])
        assert.deepEqual([state, deviceId], [challenge.state, counted.phone.deviceId]);
    }
  });

  test("an answer that is repeated, on this connection and the next: told the same each time", async () => {
    const all = await asked({ mode: Mode.CODE });
    const { phone, connection, question, push } = all;
    const jws = phone.answer(push, "approve", { code: question.number });
    const say = async (on) => {
      on.send("answer", { challengeId: push.challengeId, jws });
      return on.next("resolved", ({ challengeId }) => challengeId === push.challengeId);
    };
    for (let on = connection, round = 0; round < 3; round++, on = await phone.connect())
      for (const { state, deviceId } of [await say(on), await say(on)]) {
        assert.equal(state, ChallengeState.APPROVED);
        assert.equal(deviceId, phone.deviceId);
      }
    await verified(all);
  });

  test("an answer whose Resolved was lost with the connection is told it on the next", async () => {
    const all = await asked();
    const { phone, connection, question, push } = all;
    const following = portal.follow(question.id);
    const jws = phone.answer(push, "approve");
    connection.send("answer", { challengeId: push.challengeId, jws });
    await following.end();
    connection.destroy();
    const next = await phone.connect();
    assert.equal(next.welcome.pendingCount, 0);
    next.send("answer", { challengeId: push.challengeId, jws });
    assert.equal((await next.next("resolved")).state, ChallengeState.APPROVED);
    await verified(all);
  });

  test("times of receipt, display and answer are each phone's own", async () => {
    const first = await portal.connected();
    const second = await withSecond(first);
    const question = await portal.ask(first.user);
    const following = portal.follow(question.id);
    const push = await first.phone.nextPush(first.connection);
    await second.connection.next("challenge");
    first.connection.send("seen", { challengeId: push.challengeId, attempt: push.attempt });
    // Their workers may be two, each of which writes what it has noted within 100 ms.
    const seen = await following.until("seen", ({ progress, devices }) => progress === Progress.SEEN && devices.length === 2);
    const by = (phone) => seen.devices.find(({ deviceId }) => deviceId === phone.deviceId);
    assert.equal(by(first.phone).progress, Progress.SEEN);
    assert.ok(by(first.phone).seenTime);
    assert.equal(by(second.phone).progress, Progress.SENT);
    assert.equal(by(second.phone).deliveredTime, undefined);
  });
});

describe("resend", () => {
  test("of one that is over: failed_precondition", async () => {
    const { phone, connection, question, push } = await asked();
    await phone.decide(connection, push, "approve");
    await refuses(portal.challenges.resendChallenge({ id: question.id }), "failed_precondition");
    const cancelled = await asked();
    await portal.challenges.cancelChallenge({ id: cancelled.question.id });
    await refuses(portal.challenges.resendChallenge({ id: cancelled.question.id }), "failed_precondition");
  });

  test("not within 10 s: resource_exhausted, which says when, and no phone is alerted", async () => {
    const { connection, question } = await asked();
    await refuses(portal.challenges.resendChallenge({ id: question.id }), "resource_exhausted", /\b(10|9|8) s\b/);
    await nothing(connection, "challenge");
    const { challenge } = await portal.challenges.getChallenge({ id: question.id });
    assert.equal(challenge.attempt, 1);
  });

  test("after that: the same challenge with the same options alerts every phone again, and again not at once", async () => {
    const { first, second, question, pushes, started } = resending;
    await pause(Math.max(0, started + RESEND_MS + 200 - Date.now()));
    assert.deepEqual(pushes[1].options, pushes[0].options, "the same on both phones");
    const { challenge } = await portal.challenges.resendChallenge({ id: question.id });
    assert.equal(challenge.id, question.id);
    assert.equal(challenge.attempt, 2);
    assert.equal(challenge.number, question.number);
    for (const { phone, connection } of [first, second]) {
      const push = await within(2000, "the second attempt", phone.nextPush(connection));
      assert.equal(push.challengeId, question.id);
      assert.equal(push.attempt, 2);
      assert.deepEqual(push.options, pushes[0].options, "the same as before");
      assert.deepEqual(push.nonce, pushes[0].nonce);
      assert.deepEqual(push.display, pushes[0].display);
      assert.equal(push.expireUnixS, pushes[0].expireUnixS, "it lives no longer");
    }
    await refuses(portal.challenges.resendChallenge({ id: question.id }), "resource_exhausted");

    const again = await second.phone.connect();
    const push = await second.phone.nextPush(again);
    assert.deepEqual(push.options, pushes[0].options);
    const { state } = await second.phone.decide(again, pushes[1], "approve", { code: question.number });
    assert.equal(state, ChallengeState.APPROVED, "an answer to the first attempt counts");
    await verified({ question, pins: second.pins });
  });
});

describe("preset nist", () => {
  test("six digits, in mode CODE, which is the one that is asked where none is named", async () => {
    const nist = await Portal.create(broker, { preset: "PRESET_NIST" });
    const enrolled = await nist.connected(ABLE);
    await nist.signIn(enrolled, { mode: Mode.CODE });
    const { number } = await nist.challenges.createChallenge({ user: enrolled.user });
    assert.match(number, /^\d{6}$/);
    const push = await enrolled.phone.nextPush(enrolled.connection);
    assert.equal(push.mode, Mode.CODE);
    const { state } = await enrolled.phone.decide(enrolled.connection, push, "approve", { code: number.slice(3) });
    assert.equal(state, ChallengeState.FAILED, "not half of it");
  });

  test("and nothing else", async () => {
    const nist = await Portal.create(broker, { preset: "PRESET_NIST" });
    const { user } = await nist.enrol(undefined, ABLE);
    for (const mode of [Mode.TAP, Mode.CHOOSE]) await refuses(nist.ask(user, { mode }), "failed_precondition", /mode/);
    for (const modes of [["MODE_TAP"], ALL_MODES]) {
      const portal = { id: "not-nist", organisation: nist.organisation, preset: "PRESET_NIST", modes };
      await refuses(broker.admin("AdminService/CreatePortal", { portal }), "invalid_argument", /preset/);
    }
    const listed = await broker.admin("AdminService/ListPortals", { organisation: nist.organisation });
    assert.equal(listed.portals.find(({ id }) => id === nist.id).preset, "PRESET_NIST");
  });
});
