// How somebody's phone becomes a device: the first with or without a code, a further one with the word of an old one, and
// no key twice.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { ChallengeState, Mode, Occasion, Platform } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { Notice_Kind } from "../../build/gen-js/nanopush/v1/device_pb.js";
import { Confirmation, EnrolmentState } from "../../build/gen-js/nanopush/v1/enrolment_pb.js";
import { Broker, pause } from "./harness.mjs";
import { CAN_CODE, makeKeys, Phone } from "./phone.mjs";
import { Portal, refuses, unique } from "./portal.mjs";

const DEVICES_MAX = 3;
const HELLO_TIMEOUT_MS = 3000;
const broker = new Broker({ workers: 2, devices_per_user_max: DEVICES_MAX, hello_timeout_ms: HELLO_TIMEOUT_MS });
let portal; // scopes challenge and enrol
let admin; // all scopes, the same organisation
let patient;

before(async () => {
  await broker.start();
  portal = await Portal.create(broker);
  admin = await Portal.create(broker, {
    organisation: portal.organisation,
    scopes: ["SCOPE_CHALLENGE", "SCOPE_ENROL", "SCOPE_ADMIN"],
  });
  patient = { ...(await scanned({ confirmation: Confirmation.CODE })), started: Date.now() };
});
after(() => broker.stop());

const overrides = async () => (await broker.metrics())['nanopush_events_total{event="enrolment_override"}'];
const devicesOf = async (user) => (await portal.users.getUser({ user })).user.devices;

/** An enrolment that waits: its phone, which has scanned, on its connection. */
async function scanned(request, how, by = portal) {
  const begun = await by.begin(request, how);
  const connection = await begun.phone.open();
  const enrolled = await begun.phone.enrolOn(connection);
  return { ...begun, connection, enrolled };
}

const otherCode = (code) => String((Number(code) + 1) % 1_000_000).padStart(6, "0");

describe("a code to confirm", () => {
  const confirmation = Confirmation.CODE;

  test("the right one: waiting, to confirm, done, all of it live", async () => {
    const { id, phone, secret, user } = await portal.begin({ confirmation });
    const following = portal.followEnrolment(id);
    await following.until("waiting", ({ state }) => state === EnrolmentState.WAITING);

    const connection = await phone.open();
    for (let count = 0; count < 2; count++) connection.send("scan", phone.scanFields());
    await following.until("scanned", ({ state }) => state === EnrolmentState.SCANNED);
    const enrolled = await phone.enrolOn(connection);
    assert.equal(following.snapshots.filter(({ state }) => state === EnrolmentState.SCANNED).length, 1, "told once");
    assert.equal(enrolled.waiting, true);
    assert.match(enrolled.code, /^\d{6}$/);
    const toConfirm = await following.until("to confirm", ({ state }) => state === EnrolmentState.TO_CONFIRM);
    assert.equal(toConfirm.device.deviceId, phone.deviceId);
    assert.equal((await phone.enrolOn(connection)).code, enrolled.code, "asked again, the same");
    assert.deepEqual(await devicesOf(user), [], "not a device yet");
    await assert.rejects(phone.connect(), { code: "DENIED" });

    const { enrolment } = await portal.enrolments.confirmEnrolment({ id, code: enrolled.code });
    assert.equal(enrolment.state, EnrolmentState.DONE);
    const last = (await following.end()).at(-1);
    assert.equal(last.state, EnrolmentState.DONE);
    const pins = portal.pin(last, secret);

    const done = await phone.enrolOn(connection);
    assert.equal(done.waiting, false);
    assert.equal(done.code, "", "it is needed no more");
    await phone.helloOn(connection);
    await portal.signIn({ user, phone, connection, pins });
    await refuses(portal.enrolments.confirmEnrolment({ id, code: enrolled.code }), "failed_precondition");
  });

  test("a wrong one: void, the right one comes too late, and the person begins anew", async () => {
    const { id, phone, user, connection, enrolled } = await scanned({ confirmation });
    const following = portal.followEnrolment(id);
    const { enrolment } = await portal.enrolments.confirmEnrolment({ id, code: otherCode(enrolled.code) });
    assert.equal(enrolment.state, EnrolmentState.VOID);
    assert.equal(enrolment.device, undefined, "nothing to pin");
    assert.equal((await following.end()).at(-1).state, EnrolmentState.VOID);
    await refuses(portal.enrolments.confirmEnrolment({ id, code: enrolled.code }), "failed_precondition");
    await assert.rejects(phone.enrolOn(connection), { code: "USED" });
    await connection.untilClosed(); // refused before any Hello was accepted
    await assert.rejects(phone.connect(), { code: "DENIED" });
    assert.deepEqual(await devicesOf(user), []);
    const again = await portal.enrol(user);
    await portal.signIn({ ...again, connection: await again.phone.connect() });
  });

  test("scanned and cancelled: it cannot be scanned again, nor with another token", async () => {
    const { id, phone } = await portal.begin();
    const connection = await phone.open();
    connection.send("scan", phone.scanFields());
    await portal.followEnrolment(id).until("scanned", ({ state }) => state === EnrolmentState.SCANNED);
    const wrong = await phone.open();
    wrong.send("scan", { ...phone.scanFields(), token: new Uint8Array(16) });
    assert.equal((await wrong.nextError()).code, "NOT_FOUND");
    await wrong.untilClosed();
    await portal.enrolments.cancelEnrolment({ id });
    connection.send("scan", phone.scanFields());
    assert.equal((await connection.nextError()).code, "EXPIRED");
    assert.equal(await portal.enrolmentState(id), EnrolmentState.CANCELLED);
  });

  test("what is not six digits is no try", async () => {
    const { id, enrolled } = await scanned({ confirmation });
    for (const code of ["", "1", enrolled.code.slice(1), `${enrolled.code}0`, ` ${enrolled.code.slice(1)}`, "12345x", "-12345"])
      await refuses(portal.enrolments.confirmEnrolment({ id, code }), "invalid_argument", /code/);
    const { enrolment } = await portal.enrolments.confirmEnrolment({ id, code: enrolled.code });
    assert.equal(enrolment.state, EnrolmentState.DONE);
  });

  test("two confirmations at once, right and wrong: one of them counts, and it is the one that the state tells", async () => {
    const { id, user, enrolled } = await scanned({ confirmation });
    const codes = [enrolled.code, otherCode(enrolled.code)];
    await Promise.allSettled(codes.map((code) => portal.enrolments.confirmEnrolment({ id, code })));
    const state = await portal.enrolmentState(id);
    assert.equal((await devicesOf(user)).length, state === EnrolmentState.DONE ? 1 : 0);
    assert.ok([EnrolmentState.DONE, EnrolmentState.VOID].includes(state));
  });

  test("a second scanner while the first one's code is to be confirmed: void, for both", async () => {
    const { id, phone: first, user, connection, enrolled } = await scanned({ confirmation });
    const following = portal.followEnrolment(id);
    const second = Phone.of(first.uri);
    broker.onStop(() => second.hangUp());
    await assert.rejects(second.enrolOn(await second.open()), { code: "USED" });
    assert.equal((await following.end()).at(-1).state, EnrolmentState.VOID);
    await refuses(portal.enrolments.confirmEnrolment({ id, code: enrolled.code }), "failed_precondition");
    await assert.rejects(first.enrolOn(connection), { code: "USED" });
    assert.deepEqual(await devicesOf(user), []);
  });

  test("cancelled while it waits: the phone is told, and no code helps", async () => {
    const { id, phone, connection, enrolled } = await scanned({ confirmation });
    await portal.enrolments.cancelEnrolment({ id });
    await refuses(portal.enrolments.confirmEnrolment({ id, code: enrolled.code }), "failed_precondition");
    await assert.rejects(phone.enrolOn(connection), { code: "EXPIRED" });
  });

  test("confirmed after the same keys were enrolled and renewed: it brings the old ones not back", async () => {
    const user = unique("user");
    const late = await scanned({ user, confirmation }, {}, admin);
    const { phone } = await admin.enrol(user, { possession: late.phone.possession, verification: late.phone.verification });
    const connection = await phone.connect();
    await phone.rotate(connection);
    await admin.enrolments.confirmEnrolment({ id: late.id, code: late.enrolled.code }).catch(() => {});
    const [device] = await devicesOf(user);
    assert.equal(device.generation, 2);
    assert.deepEqual(Buffer.from(device.possessionKey), phone.possession.point);
    await phone.connect();
  });
});

describe("the platform that the person said", () => {
  test("another one is refused, and the token is still good for the right one", async () => {
    const { id, phone } = await portal.begin({ platform: Platform.IOS }, { platform: Platform.ANDROID });
    await assert.rejects(phone.enrolOn(await phone.open()), { code: "INVALID" });
    assert.equal(await portal.enrolmentState(id), EnrolmentState.WAITING);
    const right = await Phone.enrol(phone.uri, { platform: Platform.IOS, name: "Ada's iPhone" });
    const [device] = await devicesOf(right.user);
    assert.equal(device.platform, Platform.IOS);
    assert.equal(device.name, "Ada's iPhone");
  });

  test("where none was said, each is welcome", async () => {
    for (const platform of [Platform.IOS, Platform.ANDROID, Platform.OTHER]) {
      const { user } = await portal.enrol(undefined, { platform });
      assert.equal((await devicesOf(user))[0].platform, platform);
    }
  });

  test("where none was said, one that there is not is refused all the same", async () => {
    const { id, phone } = await portal.begin();
    for (const platform of [Platform.OTHER + 1, -1]) {
      phone.platform = platform;
      await assert.rejects(phone.enrolOn(await phone.open()), { code: "INVALID" });
    }
    assert.equal(await portal.enrolmentState(id), EnrolmentState.WAITING);
  });
});

describe("a further phone", () => {
  /** Somebody with a phone that is connected and is asked about a further one, which has scanned; code: its number. */
  async function toApprove(request = {}) {
    const old = await portal.connected({ capabilities: CAN_CODE });
    const further = await scanned({ user: old.user, ...request }, { name: "Ada's tablet" });
    const push = await old.phone.nextPush(old.connection);
    return { old, further, push, code: further.enrolled.number };
  }

  test("is approved on the old one: asked as what it is, then enrolled, and it signs in", async () => {
    const { old, further, push, code } = await toApprove();
    assert.equal(further.enrolled.waiting, true);
    assert.equal(further.enrolled.code, "");
    assert.match(code, /^\d{6}$/);
    assert.equal(push.mode, Mode.CODE);
    assert.equal((await further.phone.enrolOn(further.connection)).number, code, "asked again, the same");
    assert.equal(push.shown.occasion, Occasion.NEW_PHONE);
    assert.equal(push.shown.user, old.user);
    assert.equal(push.shown.portal, `Portal ${portal.id}`);
    assert.ok(push.shown.fields.some(({ value }) => value === "Ada's tablet"), "it names the new phone");

    const following = portal.followEnrolment(further.id);
    await following.until("to approve", ({ state }) => state === EnrolmentState.TO_APPROVE);
    assert.equal((await further.phone.enrolOn(further.connection)).waiting, true);
    await assert.rejects(further.phone.connect(), { code: "DENIED" });

    assert.equal((await old.phone.decide(old.connection, push, "approve", { code })).state, ChallengeState.APPROVED);
    const last = (await following.end()).at(-1);
    assert.equal(last.state, EnrolmentState.DONE);
    const pins = portal.pin(last, further.secret);
    const { phoneName } = await old.phone.nextNotice(old.connection, Notice_Kind.PHONE_ADDED);
    assert.equal(phoneName, "Ada's tablet");
    await further.phone.untilEnrolled(further.connection);
    await further.phone.helloOn(further.connection);
    await portal.signIn({ ...further, pins });
    await old.connection.next("challenge"); // of that sign-in, it went to both
    await old.connection.ping();
    const asksOrTells = old.connection.messages.filter((message) => message.case !== "resolved");
    assert.deepEqual(asksOrTells, [], "asked once, and told once");
  });

  test("by the possession key it is not approved", async () => {
    const { old, further, push, code: number } = await toApprove();
    const { code } = await old.phone.refusedAnswer(old.connection, push, "approve", { code: number, key: old.phone.possession });
    assert.equal(code, "INVALID");
    assert.equal(await portal.enrolmentState(further.id), EnrolmentState.TO_APPROVE);
  });

  test("its own keys approve nothing", async () => {
    const { old, further, push, code: number } = await toApprove();
    const { code } = await old.phone.refusedAnswer(old.connection, push, "approve", { code: number, key: further.phone.verification });
    assert.equal(code, "INVALID");
    further.connection.send("answer", { challengeId: push.challengeId, jws: further.phone.answer(push, "approve", { code: number }) });
    assert.equal((await further.connection.nextError()).code, "NOT_FOUND");
    assert.equal(await portal.enrolmentState(further.id), EnrolmentState.TO_APPROVE);
  });

  for (const [decision, state] of [["deny", ChallengeState.DENIED], ["not_me", ChallengeState.REPORTED]])
    test(`${decision} on the old one: void, and the old one still signs in`, async () => {
      const { old, further, push } = await toApprove();
      const following = portal.followEnrolment(further.id);
      assert.equal((await old.phone.decide(old.connection, push, decision)).state, state);
      assert.equal((await following.end()).at(-1).state, EnrolmentState.VOID);
      await assert.rejects(further.phone.enrolOn(further.connection), { code: "USED" });
      await assert.rejects(further.phone.connect(), { code: "DENIED" });
      assert.equal((await devicesOf(old.user)).length, 1);
      await old.phone.unlock(old.connection);
      await portal.signIn(old);
    });

  test("with a code as well: first the code, then the old one", async () => {
    const old = await portal.connected({ capabilities: CAN_CODE });
    const further = await scanned({ user: old.user, confirmation: Confirmation.CODE });
    assert.match(further.enrolled.code, /^\d{6}$/);
    assert.equal(further.enrolled.number, "", "nothing to type into the old one yet");
    await old.connection.ping();
    assert.equal(old.connection.messages.length, 0, "not asked before the code is right");
    const { enrolment } = await portal.enrolments.confirmEnrolment({ id: further.id, code: further.enrolled.code });
    assert.equal(enrolment.state, EnrolmentState.TO_APPROVE);
    const push = await old.phone.nextPush(old.connection);
    const { number: code } = await further.phone.enrolOn(further.connection);
    await old.phone.decide(old.connection, push, "approve", { code });
    await further.phone.untilEnrolled(further.connection);
    await further.phone.connect();
  });

  test("a second scanner while the old one is asked: void, it is told so, and its approval enrols nobody", async () => {
    const { old, further, push, code } = await toApprove();
    const second = Phone.of(further.phone.uri);
    broker.onStop(() => second.hangUp());
    await assert.rejects(second.enrolOn(await second.open()), { code: "USED" });
    assert.equal((await old.connection.next("resolved")).state, ChallengeState.CANCELLED);
    assert.equal((await old.phone.decide(old.connection, push, "approve", { code })).state, ChallengeState.CANCELLED);
    assert.equal(await portal.enrolmentState(further.id), EnrolmentState.VOID);
    assert.equal((await devicesOf(old.user)).length, 1);
  });

  test("cancelled by the portal: the old one is told, and its approval lifts no delay", async () => {
    const { old, further, push, code } = await toApprove();
    const denied = await portal.ask(old.user);
    const other = await old.phone.pushOf(old.connection, denied.id);
    await old.phone.decide(old.connection, other, "deny");
    await portal.enrolments.cancelEnrolment({ id: further.id });
    assert.equal((await old.connection.next("resolved")).state, ChallengeState.CANCELLED);
    assert.equal((await old.phone.decide(old.connection, push, "approve", { code })).state, ChallengeState.CANCELLED);
    assert.equal((await devicesOf(old.user)).length, 1);
    await refuses(portal.ask(old.user), "resource_exhausted", /again in/);
  });

  test("a wrong number on the old one: void; a person who approves what they do not hold lets nobody in", async () => {
    const { old, further, push, code } = await toApprove();
    const following = portal.followEnrolment(further.id);
    const { state } = await old.phone.decide(old.connection, push, "approve", { code: otherCode(code) });
    assert.equal(state, ChallengeState.FAILED);
    assert.equal((await following.end()).at(-1).state, EnrolmentState.VOID);
    await assert.rejects(further.phone.enrolOn(further.connection), { code: "USED" });
    assert.equal((await devicesOf(old.user)).length, 1);
    await portal.signIn(old);
  });

  test("an old one that cannot be asked for a number is not asked at all", async () => {
    const old = await portal.connected();
    const further = await scanned({ user: old.user });
    assert.equal(further.enrolled.waiting, true);
    await old.connection.ping();
    assert.equal(old.connection.messages.length, 0);
    assert.equal(await portal.enrolmentState(further.id), EnrolmentState.TO_APPROVE);
  });

  test("the question falls with push: a lock ends it, and the new phone learns that nothing comes of it", async () => {
    const { old, further } = await toApprove();
    const reported = await portal.ask(old.user);
    await old.phone.decide(old.connection, await old.phone.pushOf(old.connection, reported.id), "not_me");
    assert.equal((await old.connection.next("resolved")).state, ChallengeState.CANCELLED);
    await assert.rejects(further.phone.untilEnrolled(further.connection), { code: "USED" });
    assert.equal(await portal.enrolmentState(further.id), EnrolmentState.VOID);
  });

  test("an old phone that was away is asked when it comes", async () => {
    const { user, phone } = await portal.enrol(undefined, { capabilities: CAN_CODE });
    const further = await scanned({ user });
    const connection = await phone.connect();
    const push = await phone.nextPush(connection);
    assert.equal(push.shown.occasion, Occasion.NEW_PHONE);
    await phone.decide(connection, push, "approve", { code: further.enrolled.number });
    await further.phone.untilEnrolled(further.connection);
  });

  test("a sign-in that waits and a phone that waits do not take each other's place", async () => {
    const { old, further, push, code } = await toApprove();
    await portal.signIn(old);
    await old.phone.decide(old.connection, push, "approve", { code });
    await further.phone.untilEnrolled(further.connection);
  });

  test("that is so for a portal of whatever name", async () => {
    const { organisation } = portal;
    const { credential } = await broker.admin("AdminService/CreatePortal", {
      portal: { id: "enrolment", organisation, modes: ["MODE_TAP"], scopes: ["SCOPE_CHALLENGE"] },
    });
    const namesake = new Portal(broker, { id: "enrolment", organisation, credential });
    const { old } = await toApprove();
    await namesake.challenges.createChallenge({ user: old.user, mode: Mode.TAP });
  });

  test("two at once are asked about one after the other", async () => {
    const { old, further, push, code } = await toApprove();
    const third = await scanned({ user: old.user }, { name: "Ada's third" });
    await old.connection.ping();
    assert.deepEqual(old.connection.messages.filter((message) => message.case === "challenge"), []);
    await old.phone.decide(old.connection, push, "approve", { code });
    await further.phone.untilEnrolled(further.connection);

    const enrolled = third.phone.untilEnrolled(third.connection);
    const next = await old.phone.nextPush(old.connection);
    assert.ok(next.shown.fields.some(({ value }) => value === "Ada's third"));
    await old.phone.decide(old.connection, next, "approve", { code: third.enrolled.number });
    await enrolled;
    assert.equal((await devicesOf(old.user)).length, 3);
  });

  test("scope admin alone does not do without: it is asked for, by a portal that may", async () => {
    const old = await portal.connected({ capabilities: CAN_CODE });
    const { enrolled, phone, connection } = await scanned({ user: old.user, overrideApproval: false }, {}, admin);
    assert.equal(enrolled.waiting, true);
    const push = await old.phone.nextPush(old.connection);
    await old.phone.decide(old.connection, push, "approve", { code: enrolled.number });
    await phone.untilEnrolled(connection);
    const request = { user: old.user, overrideApproval: true };
    await refuses(portal.enrolments.createEnrolment(request), "permission_denied", /admin/);
  });

  test("a portal with scope admin does without, which is an event, and the old ones are told", async () => {
    const old = await portal.connected();
    const before = await overrides();
    await admin.enrol(old.user, { name: "Ada's new phone" });
    assert.equal(await overrides(), before + 1);
    const { phoneName } = await old.phone.nextNotice(old.connection, Notice_Kind.PHONE_ADDED);
    assert.equal(phoneName, "Ada's new phone");
    await old.connection.ping();
    assert.equal(old.connection.messages.length, 0, "and not asked");
  });

  test(`at most ${DEVICES_MAX}, by option; when one goes there is room again`, async () => {
    const user = unique("user");
    const all = [];
    for (let count = 0; count < DEVICES_MAX; count++) all.push((await admin.enrol(user)).phone);
    const { id, phone } = await admin.begin({ user });
    const refused = await phone.open();
    await assert.rejects(phone.enrolOn(refused), { code: "LIMIT" });
    await refused.untilClosed();
    assert.equal(await admin.enrolmentState(id), EnrolmentState.WAITING);
    await admin.users.revokeDevice({ deviceId: all[0].deviceId });
    assert.equal((await phone.enrolOn(await phone.open())).waiting, false);
    assert.equal((await devicesOf(user)).length, DEVICES_MAX);
  });

  test("and no more either when they wait at the same time", async () => {
    const old = await portal.connected();
    await admin.enrol(old.user);
    const codes = { user: old.user, confirmation: Confirmation.CODE };
    const waiting = [await scanned(codes, {}, admin), await scanned(codes, {}, admin)];
    const states = [];
    for (const { id, enrolled } of waiting)
      states.push((await admin.enrolments.confirmEnrolment({ id, code: enrolled.code })).enrolment.state);
    assert.deepEqual(states, [EnrolmentState.DONE, EnrolmentState.VOID]);
    assert.equal((await devicesOf(old.user)).length, DEVICES_MAX);
  });
});

test("a connection whose enrolment waits for the person may wait longer than one that says nothing", async () => {
  const { id, user, phone, connection, enrolled, secret, started } = patient;
  await pause(Math.max(0, started + HELLO_TIMEOUT_MS + 500 - Date.now()));
  await portal.enrolments.confirmEnrolment({ id, code: enrolled.code });
  assert.equal((await phone.enrolOn(connection)).waiting, false);
  await phone.helloOn(connection);
  const { enrolment } = await portal.enrolments.getEnrolment({ id });
  await portal.signIn({ user, phone, connection, pins: portal.pin(enrolment, secret) });
});

describe("a key", () => {
  const refusedWith = async (keys, user) => {
    const { id, phone } = await admin.begin({ user: user ?? unique("user") }, { ...makeKeys(), ...keys });
    const connection = await phone.open();
    await assert.rejects(phone.enrolOn(connection), { code: "EXISTS" });
    await connection.untilClosed();
    assert.equal(await admin.enrolmentState(id), EnrolmentState.WAITING);
    await Phone.enrol(phone.uri);
  };

  test("that is another user's is refused, in either role", async () => {
    const { possession, verification } = (await portal.enrol()).phone;
    for (const key of [possession, verification]) {
      await refusedWith({ possession: key });
      await refusedWith({ verification: key });
    }
    await refusedWith({ possession, verification });
  });

  test("that is another phone's of the same user is refused too, or is this phone's in the other role", async () => {
    const { user, phone } = await portal.enrol();
    await refusedWith({ possession: phone.verification, verification: phone.possession }, user);
    const { possession, verification } = (await portal.enrol()).phone;
    await refusedWith({ possession: verification }, unique("user"));
    await refusedWith({ verification: possession }, unique("user"));
  });

  test("that was another's stays so after that phone was revoked", async () => {
    const { phone } = await portal.enrol();
    await admin.users.revokeDevice({ deviceId: phone.deviceId });
    await refusedWith({ possession: phone.possession });
    await refusedWith({ verification: phone.verification });
  });
});
