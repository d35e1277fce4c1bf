// Somebody knows the password and asks and asks (SECURITY.md, "Push bombing, without locking the victim out"). Each rule
// is tried over the API as the attacker meets it, and each time the victim signs in afterwards. What takes hours is
// tried on a clock of its own, in tests/unit.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { timestampMs } from "@bufbuild/protobuf/wkt";

import { ChallengeState, Mode, Occasion } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { Notice_Kind } from "../../build/gen-js/nanopush/v1/device_pb.js";
import { EnrolmentState } from "../../build/gen-js/nanopush/v1/enrolment_pb.js";
import { Broker, deadline } from "./harness.mjs";
import { CAN_CHOOSE, CAN_CODE, makeKey } from "./phone.mjs";
import { Portal, refuses } from "./portal.mjs";

const LOCK_MS = 15 * 60_000;
const DAY_MS = 86_400_000;
const PUSHES_A_DAY = 20;
const HOME = "the victim's own browser";
const LOCKED = /locked/;
const broker = new Broker({ workers: 2 });
let portal;
let sibling; // another portal of the same organisation

before(async () => {
  await broker.start();
  const how = { modes: ["MODE_TAP", "MODE_CHOOSE", "MODE_CODE"], scopes: ["SCOPE_CHALLENGE", "SCOPE_ENROL", "SCOPE_ADMIN"] };
  portal = await Portal.create(broker, how);
  sibling = await Portal.create(broker, { ...how, organisation: portal.organisation });
});
after(() => broker.stop());

/** Somebody who is to be worn down: with a phone that is connected and can do everything. */
const victim = () => portal.connected({ capabilities: CAN_CHOOSE | CAN_CODE });

/** The attacker asks, the victim answers: how it ended. */
async function attack({ user, phone, connection }, decision, { code, ...request } = {}) {
  const question = await portal.ask(user, request);
  const push = await phone.pushOf(connection, question.id);
  const { state } = await phone.decide(connection, push, decision, code && { code: code(question.number, push.options) });
  return state;
}

const lockedUntil = async (user) => (await portal.users.getUser({ user })).user.lockedUntil;
const isAbout = (ms, wanted) => assert.ok(Math.abs(ms - wanted) < deadline(10_000), `${ms} ms, not about ${wanted}`);

/** Whoever asks is told that push is locked, by any portal and from any browser; the phone learns it too. */
async function assertLocked({ user, phone }) {
  for (const by of [portal, sibling])
    for (const request of [{}, { mode: Mode.CODE }, { browserSession: HOME }, { idempotencyKey: "another" }])
      await refuses(by.ask(user, request), "resource_exhausted", LOCKED);
  isAbout(timestampMs(await lockedUntil(user)) - Date.now(), LOCK_MS);
  const connection = await phone.connect();
  isAbout(Number(connection.welcome.lockedUntilUnixMs) - Date.now(), LOCK_MS);
  assert.equal(connection.welcome.pendingCount, 0);
  return connection;
}

async function assertUnlocked({ user, phone }) {
  assert.equal(await lockedUntil(user), undefined);
  const connection = await phone.connect();
  assert.equal(connection.welcome.lockedUntilUnixMs, 0n);
  return connection;
}

/** The seconds that a refusal tells to wait, which is no lock. */
async function backoffOf(call) {
  let wait;
  await assert.rejects(call, ({ rawMessage }) => {
    assert.doesNotMatch(rawMessage, LOCKED);
    wait = Number(/in (\d+) s/.exec(rawMessage)?.[1]);
    return wait > 0;
  });
  return wait;
}

const wrong = {
  code: (number) => (number === "000" ? "001" : "000"),
  option: (number, options) => options.find((option) => option !== number),
};

describe("one \"it's not me\"", () => {
  test("locks push for all portals, takes back all that waits, tells every phone; the phone lifts it and signs in", async () => {
    const target = await victim();
    const { user, phone, connection } = target;
    const { phone: second } = await portal.enrol(user);
    const secondConnection = await second.connect();
    const bystander = await victim();

    const elsewhere = await sibling.ask(user, { mode: Mode.TAP });
    const watched = sibling.follow(elsewhere.id);
    await phone.nextPush(connection);
    const enrolls = await Portal.create(broker, { organisation: portal.organisation, scopes: ["SCOPE_ENROL"] });
    const intruder = await enrolls.begin({ user });
    const { number: code } = await intruder.phone.enrolOn(await intruder.phone.open());
    const newPhone = await phone.nextPush(connection);
    assert.equal(newPhone.shown.occasion, Occasion.NEW_PHONE);

    assert.equal(await attack(target, "not_me"), ChallengeState.REPORTED);
    assert.equal((await watched.end()).at(-1).state, ChallengeState.CANCELLED);
    for (const id of [elsewhere.id, newPhone.challengeId]) {
      const told = await connection.next("resolved", ({ challengeId }) => challengeId === id);
      assert.equal(told.state, ChallengeState.CANCELLED);
    }
    for (const [each, on] of [[phone, connection], [second, secondConnection]])
      isAbout(Number((await each.nextNotice(on, Notice_Kind.LOCKED)).untilUnixMs) - Date.now(), LOCK_MS);
    assert.equal((await phone.decide(connection, newPhone, "approve", { code })).state, ChallengeState.CANCELLED);
    assert.equal(await enrolls.enrolmentState(intruder.id), EnrolmentState.TO_APPROVE, "and no phone has come in");
    await refuses(portal.challenges.resendChallenge({ id: elsewhere.id }), "not_found");
    await refuses(sibling.challenges.resendChallenge({ id: elsewhere.id }), "failed_precondition");

    target.connection = await assertLocked(target);
    await portal.signIn(bystander);
    await phone.unlock(target.connection);
    await phone.nextNotice(target.connection, Notice_Kind.UNLOCKED);
    await second.nextNotice(secondConnection, Notice_Kind.UNLOCKED);
    target.connection = await assertUnlocked(target);
    await portal.signIn(target);
    await sibling.signIn(target);
  });

  test("a browser that the victim signed in with before is locked out as well, until the phone says otherwise", async () => {
    const target = await victim();
    await portal.signIn(target, { browserSession: HOME });
    assert.equal(await attack(target, "not_me"), ChallengeState.REPORTED);
    target.connection = await assertLocked(target);
    await target.phone.unlock(target.connection);
    await portal.signIn(target, { browserSession: HOME });
  });

  for (const [who, unlock] of [
    ["an administrator's portal", ({ user }) => sibling.users.unlockUser({ user })],
    ["the admin socket", ({ user }) => broker.admin("UserService/UnlockUser", { user, organisation: portal.organisation })],
  ])
    test(`lifted by ${who}: the phone is told, and the victim signs in`, async () => {
      const target = await victim();
      await attack(target, "not_me");
      target.connection = await assertLocked(target);
      await unlock(target);
      await target.phone.nextNotice(target.connection, Notice_Kind.UNLOCKED);
      target.connection = await assertUnlocked(target);
      await portal.signIn(target);
    });

  test("is not lifted by who has not the person before it: wrong key, connection, phone, time or act", async () => {
    const target = await victim();
    await attack(target, "not_me");
    const connection = await assertLocked(target);
    const { phone } = target;
    const { phone: other } = await portal.enrol();
    const elsewhere = await other.connect();
    const wrongActs = [
      { key: phone.possession },
      { key: other.verification },
      { key: makeKey() },
      { key: { ...makeKey(), thumbprint: phone.verification.thumbprint } },
      { claims: { cb: elsewhere.cb.toString("base64url") } },
      { claims: { gen: 2 } },
      { claims: { iss: other.deviceId } },
      { claims: { sub: other.user } },
      { claims: { org: "elsewhere" } },
      { claims: { v: 2 } },
      { claims: { iat: phone.brokerNow() - DAY_MS / 1000 } },
      { claims: { iat: phone.brokerNow() + DAY_MS / 1000 } },
      { claims: { extra: true } },
      { header: { typ: "nanopush-remove+jwt" } },
      { header: { typ: "nanopush-approval+jwt" } },
      { header: { alg: "none" } },
    ];
    for (const change of wrongActs) {
      connection.send("unlock", phone.actFields(connection, "unlock", change));
      assert.equal((await connection.nextError()).code, "INVALID", JSON.stringify(change));
    }
    connection.send("unlock", phone.actFields(elsewhere, "unlock"));
    assert.equal((await connection.nextError()).code, "INVALID", "another connection's");
    await refuses(portal.ask(target.user), "resource_exhausted", LOCKED);
    await phone.unlock(connection);
    await portal.signIn({ ...target, connection });
  });

  test("no further phone is asked about while push is locked; afterwards it is, and comes in", async () => {
    const target = await victim();
    await attack(target, "not_me");
    target.connection = await assertLocked(target);
    const enrols = await Portal.create(broker, { organisation: portal.organisation, scopes: ["SCOPE_ENROL"] });
    const { phone: further } = await enrols.begin({ user: target.user });
    const waiting = await further.open();
    assert.equal((await further.enrolOn(waiting)).waiting, true);
    await target.phone.unlock(target.connection);
    const unasked = target.connection.messages.filter((message) => message.case === "challenge");
    assert.deepEqual(unasked, []);
    const enrolled = further.untilEnrolled(waiting);
    const push = await target.phone.nextPush(target.connection);
    assert.equal(push.shown.occasion, Occasion.NEW_PHONE);
    const { number: code } = await further.enrolOn(await further.open());
    await target.phone.decide(target.connection, push, "approve", { code });
    await enrolled;
    await portal.signIn(target);
  });

  test("an Unlock that was heard is no good on a later connection", async () => {
    const target = await victim();
    const { phone } = target;
    const heard = phone.actFields(target.connection, "unlock");
    target.connection.send("unlock", heard);
    await target.connection.next("accepted");
    await attack(target, "not_me");
    const connection = await assertLocked(target);
    connection.send("unlock", heard);
    assert.equal((await connection.nextError()).code, "INVALID");
    await refuses(portal.ask(target.user), "resource_exhausted", LOCKED);
    await phone.unlock(connection);
    await portal.signIn({ ...target, connection });
  });
});

describe("wrong numbers", () => {
  for (const [name, mode, code] of [["codes", Mode.CODE, wrong.code], ["choices", Mode.CHOOSE, wrong.option]])
    test(`two wrong ${name} lock; one does not, and the phone lifts it`, async () => {
      const target = await victim();
      assert.equal(await attack(target, "approve", { mode, code }), ChallengeState.FAILED);
      assert.equal(await lockedUntil(target.user), undefined);
      assert.equal(await attack(target, "approve", { mode, code }), ChallengeState.FAILED);
      await target.phone.nextNotice(target.connection, Notice_Kind.LOCKED);
      target.connection = await assertLocked(target);
      await target.phone.unlock(target.connection);
      await portal.signIn(target, { mode });
    });

  test("one wrong one and then the right one: forgiven", async () => {
    const target = await victim();
    for (let round = 0; round < 3; round++) {
      assert.equal(await attack(target, "approve", { mode: Mode.CODE, code: wrong.code }), ChallengeState.FAILED);
      await portal.signIn(target, { mode: Mode.CODE });
    }
    assert.equal(await lockedUntil(target.user), undefined);
  });
});

describe("denials", () => {
  test("each makes the attacker wait longer, the third one locks; the victim's own browser waits for none of it", async () => {
    const target = await victim();
    await portal.signIn(target, { browserSession: HOME });
    for (const seconds of [10, 20]) {
      assert.equal(await attack(target, "deny", { browserSession: HOME }), ChallengeState.DENIED);
      for (const request of [{}, { browserSession: "the attacker's" }, { mode: Mode.CODE }])
        for (const by of [portal, sibling]) {
          const wait = await backoffOf(by.ask(target.user, request));
          assert.ok(wait <= seconds && wait > seconds - deadline(5000) / 1000, `${wait} s, not ${seconds}`);
        }
      assert.equal(await lockedUntil(target.user), undefined);
    }
    assert.equal(await attack(target, "deny", { browserSession: HOME }), ChallengeState.DENIED);
    await target.phone.nextNotice(target.connection, Notice_Kind.LOCKED);
    target.connection = await assertLocked(target);
    await target.phone.unlock(target.connection);
    await portal.signIn(target);
  });

  test("after one, the victim signs in from the known browser, and nobody waits any more", async () => {
    const target = await victim();
    await portal.signIn(target, { browserSession: HOME });
    await attack(target, "deny");
    await backoffOf(portal.ask(target.user));
    await portal.signIn(target, { browserSession: HOME });
    await portal.signIn(target);
  });

  test("a browser that is known to one portal is not to another", async () => {
    const target = await victim();
    await portal.signIn(target, { browserSession: HOME });
    await attack(target, "deny");
    await backoffOf(sibling.ask(target.user, { browserSession: HOME }));
    await portal.signIn(target, { browserSession: HOME });
  });

  test("another user's wait is not this one's", async () => {
    const [target, bystander] = [await victim(), await victim()];
    await attack(target, "deny");
    await backoffOf(portal.ask(target.user));
    await portal.signIn(bystander);
    await target.phone.unlock(target.connection);
    await portal.signIn(target);
  });
});

describe("a second sign-in from another browser", () => {
  test("is refused with less than a code, and the first goes on", async () => {
    const target = await victim();
    const { user, phone, connection, pins } = target;
    const question = await portal.ask(user, { browserSession: "one" });
    const push = await phone.nextPush(connection);
    for (const request of [{ browserSession: "two" }, {}, { browserSession: "two", mode: Mode.CHOOSE }])
      await refuses(portal.ask(user, request), "failed_precondition", /another sign-in/);
    assert.equal(push.shown.otherSignIn, false);
    assert.equal((await phone.decide(connection, push, "approve")).state, ChallengeState.APPROVED);
    await portal.approved(question, pins);
  });

  test("with a code it takes the first one's place, and the phone says so before anything else", async () => {
    const target = await victim();
    const { user, phone, connection, pins } = target;
    const first = await portal.ask(user, { browserSession: "one", mode: Mode.CODE });
    const following = portal.follow(first.id);
    assert.equal((await phone.nextPush(connection)).shown.otherSignIn, false);
    const question = await portal.ask(user, { browserSession: "two", mode: Mode.CODE });
    assert.equal((await following.end()).at(-1).state, ChallengeState.SUPERSEDED);
    const push = await phone.nextPush(connection);
    assert.equal(push.challengeId, question.id);
    assert.equal(push.shown.otherSignIn, true);
    assert.equal((await phone.decide(connection, push, "approve", { code: question.number })).state, ChallengeState.APPROVED);
    await portal.approved(question, pins);
  });

  test("of the same browser it takes the first one's place in any mode, and there is nothing to say", async () => {
    const target = await victim();
    await portal.signIn(target, { browserSession: HOME });
    for (const mode of [Mode.TAP, Mode.CHOOSE, Mode.CODE, Mode.TAP]) {
      const question = await portal.ask(target.user, { browserSession: HOME, mode });
      const push = await target.phone.pushOf(target.connection, question.id);
      assert.equal(push.shown.otherSignIn, false);
    }
    await portal.signIn(target, { browserSession: HOME });
  });

  test("at another portal it is its own, and both go on", async () => {
    const { user, phone, connection, pins } = await victim();
    for (const [by, question] of [[portal, await portal.ask(user)], [sibling, await sibling.ask(user)]].reverse()) {
      const push = await phone.pushOf(connection, question.id);
      assert.equal(push.shown.otherSignIn, false);
      await phone.decide(connection, push, "approve");
      await by.approved(question, pins);
    }
  });

  test("several at once: one of them waits, whatever the order", async () => {
    const target = await victim();
    const asked = await Promise.allSettled(["a", "b", "c", "d"].map((browserSession) => portal.ask(target.user, { browserSession })));
    const accepted = asked.filter(({ status }) => status === "fulfilled");
    assert.equal(accepted.length, 1);
    await portal.challenges.cancelChallenge({ id: accepted[0].value.id });
    await portal.signIn(target);
  });
});

describe("what the portal takes back", () => {
  test("is slowed from the second on, at every portal; nothing locks, and the victim answers what comes", async () => {
    const target = await victim();
    for (let count = 0; count < 2; count++) {
      const { id } = await portal.ask(target.user);
      await portal.challenges.cancelChallenge({ id });
    }
    for (const by of [portal, sibling]) await refuses(by.ask(target.user), "resource_exhausted", /again in (10|[1-9]) s/);
    assert.equal(await lockedUntil(target.user), undefined);
    await target.phone.unlock(target.connection); // or some seconds later
    await portal.signIn(target);
  });

  test("and so is what takes each other's place", async () => {
    const target = await victim();
    const request = { browserSession: "the attacker's" };
    const asked = [];
    for (let count = 0; count < 3; count++) asked.push(await portal.ask(target.user, request));
    await refuses(portal.ask(target.user, request), "resource_exhausted", /again in/);
    const push = await target.phone.pushOf(target.connection, asked[2].id);
    assert.equal((await target.phone.decide(target.connection, push, "approve")).state, ChallengeState.APPROVED);
    await portal.signIn(target);
  });
});

describe("pushes a day", () => {
  /** As many pushes as may be, each taken back at once, from a browser that nothing slows, at either portal in turn. */
  async function exhaust(target) {
    const browserSession = HOME;
    for (const by of [portal, sibling]) await by.signIn(target, { browserSession });
    for (let count = 0; count < PUSHES_A_DAY; count++) {
      const by = count % 2 ? portal : sibling;
      const { id } = await by.ask(target.user, { browserSession });
      await by.challenges.cancelChallenge({ id });
    }
  }

  test("after the twentieth it is as if locked; the known browser goes on, and the phone lifts it", async () => {
    const target = await victim();
    await exhaust(target);
    for (const by of [portal, sibling])
      for (const request of [{}, { browserSession: "another" }, { mode: Mode.CODE }])
        await refuses(by.ask(target.user, request), "resource_exhausted", LOCKED);
    isAbout(timestampMs(await lockedUntil(target.user)) - Date.now(), DAY_MS);
    const connection = await target.phone.connect();
    isAbout(Number(connection.welcome.lockedUntilUnixMs) - Date.now(), DAY_MS);
    await target.phone.unlock(connection);
    await portal.signIn({ ...target, connection });
  });

  test("the known browser signs in all the same, and with it the day begins anew", async () => {
    const target = await victim();
    await exhaust(target);
    await refuses(portal.ask(target.user), "resource_exhausted", LOCKED);
    await portal.signIn(target, { browserSession: HOME });
    assert.equal(await lockedUntil(target.user), undefined);
    await portal.signIn(target);
  });

  test("an administrator lifts it too", async () => {
    const target = await victim();
    await exhaust(target);
    await refuses(portal.ask(target.user), "resource_exhausted", LOCKED);
    await portal.users.unlockUser({ user: target.user });
    await portal.signIn(target);
  });

  test("a repeat under the same idempotency key is no further push", async () => {
    const target = await victim();
    const request = { user: target.user, mode: Mode.TAP, idempotencyKey: "once" };
    const ids = new Set();
    for (let count = 0; count < PUSHES_A_DAY + 5; count++) ids.add((await portal.challenges.createChallenge(request)).id);
    assert.equal(ids.size, 1);
    const push = await target.phone.nextPush(target.connection);
    assert.equal((await target.phone.decide(target.connection, push, "approve")).state, ChallengeState.APPROVED);
    await portal.signIn(target);
  });
});
