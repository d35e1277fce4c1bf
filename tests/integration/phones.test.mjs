// A phone after its enrolment: new keys, several accounts on one connection, a clock that is wrong, and its end, wherever
// it hangs.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { ChallengeState, Mode } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { Accepted_Act, GoAway_Reason, Notice_Kind } from "../../build/gen-js/nanopush/v1/device_pb.js";
import { Broker, deadline, within } from "./harness.mjs";
import { CAN_CHOOSE, CAN_CODE, makeKey, makeKeys } from "./phone.mjs";
import { movePins, Portal, refuses } from "./portal.mjs";

const TRIES = 64;
const DAY_MS = 86_400_000;
const broker = new Broker({ workers: 2 });
let portal; // scopes challenge and enrol
let admin; // all scopes, the same organisation

before(async () => {
  await broker.start();
  portal = await Portal.create(broker);
  admin = await Portal.create(broker, {
    organisation: portal.organisation,
    scopes: ["SCOPE_CHALLENGE", "SCOPE_ENROL", "SCOPE_ADMIN"],
  });
});
after(() => broker.stop());

const told = async (connection) => {
  const { code, subject } = await connection.nextError();
  return { code, subject };
};
const devicesOf = async (user) => (await portal.users.getUser({ user })).user.devices;

describe("new keys", () => {
  test("the old ones stop counting, what waits is answered by the new, and the portal's pin moves", async () => {
    const { user, phone, pins, connection } = await portal.connected();
    const question = await portal.ask(user);
    const push = await phone.nextPush(connection);
    const old = await phone.rotate(connection);
    assert.equal(phone.generation, 2);
    assert.equal(phone.deviceId, old.deviceId);

    for (const stale of [{}, { claims: { gen: 2 } }]) {
      assert.equal((await old.refusedAnswer(connection, push, "approve", stale)).code, "INVALID");
      assert.equal((await old.refusedAnswer(connection, push, "deny", stale)).code, "INVALID");
    }
    await assert.rejects(old.connect(), { code: "DENIED" });
    assert.equal((await phone.refusedAnswer(connection, push, "approve", { claims: { gen: 1 } })).code, "INVALID");

    assert.equal((await phone.decide(connection, push, "approve")).state, ChallengeState.APPROVED);
    const { challenge } = await portal.challenges.getChallenge({ id: question.id });
    await assert.rejects(portal.verify(challenge, question, pins), "not under the pins of before");
    const [device] = await devicesOf(user);
    assert.equal(device.generation, 2);
    assert.equal(device.rotations.length, 1);
    const moved = await movePins(pins, device);
    assert.equal(moved.verification.kid, phone.verification.thumbprint);
    await portal.verify(challenge, question, moved);
    await portal.signIn({ user, phone, pins: moved, connection: await phone.connect() });
  });

  test("again and again: the chain grows, each link signed by the one before", async () => {
    const { user, phone, pins, connection } = await portal.connected();
    let moved = pins;
    for (let generation = 2; generation <= 4; generation++) {
      await phone.rotate(connection);
      const [device] = await devicesOf(user);
      assert.equal(device.generation, generation);
      assert.equal(device.rotations.length, generation - 1);
      moved = await movePins(moved, device);
    }
    const [device] = await devicesOf(user);
    assert.deepEqual(await movePins(pins, device), moved, "a portal that was away for all of it gets there as well");
    await assert.rejects(movePins({ ...pins, verification: pins.possession }, device), "and from other pins nowhere");
    const [first, second, third] = device.rotations;
    for (const rotations of [[second, third], [first, second], [first, third], [second, first, third]])
      await assert.rejects(movePins(pins, { ...device, rotations }));
    await portal.signIn({ user, phone, pins: moved, connection: await phone.connect() });
  });

  test("whatever is wrong about it, the keys stay what they are", async () => {
    const { user, phone, pins, connection } = await portal.connected();
    const { phone: other } = await portal.enrol();
    const keys = makeKeys();
    const pretender = { ...makeKey(), thumbprint: phone.verification.thumbprint };
    const offCurve = Buffer.from(keys.possession.point.map((byte, at) => (at === 40 ? byte ^ 1 : byte)));
    const wrong = [
      ["INVALID", keys, { claims: { gen: 1 } }],
      ["INVALID", keys, { claims: { gen: 3 } }],
      ["INVALID", keys, { claims: { v: 2 } }],
      ["INVALID", keys, { claims: { iss: other.deviceId } }],
      ["INVALID", keys, { claims: { org: "elsewhere" } }],
      ["INVALID", keys, { claims: { sub: "eve" } }],
      ["INVALID", keys, { claims: { tp1: keys.verification.thumbprint } }],
      ["INVALID", keys, { claims: { tp2: keys.possession.thumbprint } }],
      ["INVALID", keys, { claims: { iat: phone.brokerNow() - DAY_MS / 1000 } }],
      ["INVALID", keys, { claims: { iat: phone.brokerNow() + DAY_MS / 1000 } }],
      ["INVALID", keys, { claims: { extra: 1 } }],
      ["INVALID", keys, { header: { typ: "nanopush-approval+jwt" } }],
      ["INVALID", keys, { header: { typ: "nanopush-remove+jwt" } }],
      ["INVALID", keys, { header: { jwk: keys.verification.jwk } }],
      ["INVALID", keys, { key: phone.possession }],
      ["INVALID", keys, { key: keys.verification }],
      ["INVALID", keys, { key: pretender }],
      ["INVALID", keys, { possessionKey: offCurve }],
      ["INVALID", keys, { possessionKey: makeKey().point }],
      ["INVALID", keys, { userVerificationKey: new Uint8Array() }],
      ["INVALID", { possession: keys.possession, verification: keys.possession }, {}],
      ["INVALID", { ...keys, possession: phone.possession }, {}],
      ["INVALID", { ...keys, verification: phone.verification }, {}],
      ["INVALID", { possession: phone.verification, verification: phone.possession }, {}],
      ["EXISTS", { ...keys, possession: other.possession }, {}],
      ["EXISTS", { ...keys, verification: other.verification }, {}],
      ["EXISTS", { possession: other.verification, verification: other.possession }, {}],
    ];
    for (const [code, taken, change] of wrong) {
      connection.send("rotate", phone.rotateFields(taken, change));
      assert.equal((await connection.nextError()).code, code, JSON.stringify(change));
    }
    assert.equal((await devicesOf(user))[0].generation, 1);
    await portal.signIn({ user, phone, pins, connection });
    await phone.rotate(connection, keys);
    await other.connect();
  });

  test("a rotation that is said twice is done once", async () => {
    const { user, phone, connection } = await portal.connected();
    const keys = makeKeys();
    const fields = phone.rotateFields(keys);
    await phone.rotate(connection, keys);
    connection.send("rotate", fields);
    assert.equal((await connection.nextError()).code, "INVALID");
    assert.equal((await devicesOf(user))[0].generation, 2);
  });

  test("keys of before are nobody's to enrol again", async () => {
    const { phone, connection } = await portal.connected();
    const old = await phone.rotate(connection);
    for (const keys of [old, phone]) {
      const { possession, verification } = keys;
      const { phone: thief } = await portal.begin({}, { possession, verification });
      await assert.rejects(thief.enrolOn(await thief.open()), { code: "EXISTS" });
    }
  });
});

describe("the end of a phone", () => {
  test("by itself: accepted, cut off, no more asked, the others are told and stay", async () => {
    const stays = await portal.connected();
    const { phone } = await admin.enrol(stays.user, { name: "Ada's old phone" });
    const connection = await phone.connect();
    await phone.remove(connection);
    await within(1000, "its connection ends", connection.closed);
    const { phoneName } = await stays.phone.nextNotice(stays.connection, Notice_Kind.PHONE_REMOVED);
    assert.equal(phoneName, "Ada's old phone");
    await assert.rejects(phone.connect(), { code: "DENIED" });
    assert.deepEqual((await devicesOf(stays.user)).map(({ id }) => id), [stays.phone.deviceId]);
    await portal.signIn(stays);
  });

  test("by its possession key too; the last one leaves a user who cannot be asked", async () => {
    const { user, phone, connection } = await portal.connected();
    await phone.remove(connection, { key: phone.possession });
    assert.deepEqual(await devicesOf(user), []);
    await refuses(portal.ask(user), "failed_precondition", /phone/);
    const again = await portal.enrol(user);
    await portal.signIn({ ...again, connection: await again.phone.connect() });
  });

  test("by nobody else, and for no other connection", async () => {
    const { user, phone, pins, connection } = await portal.connected();
    const { phone: other } = await portal.enrol();
    const elsewhere = await other.connect();
    const wrong = [
      { key: makeKey() },
      { key: other.verification },
      { key: { ...makeKey(), thumbprint: phone.verification.thumbprint } },
      { claims: { cb: elsewhere.cb.toString("base64url") } },
      { claims: { cb: "" } },
      { claims: { gen: 2 } },
      { claims: { iss: other.deviceId } },
      { claims: { sub: other.user } },
      { claims: { iat: phone.brokerNow() - DAY_MS / 1000 } },
      { claims: { v: 2 } },
      { header: { typ: "nanopush-unlock+jwt" } },
      { header: { typ: "nanopush-refusal+jwt" } },
    ];
    for (const change of wrong) {
      connection.send("remove", phone.actFields(connection, "remove", change));
      assert.equal((await connection.nextError()).code, "INVALID", JSON.stringify(change));
    }
    await portal.signIn({ user, phone, pins, connection });
  });

  /** Two phones' connections that hang on different workers of one broker, the first held by a portal that is alone. */
  async function apart(enrolled) {
    const alone = await admin.alone(enrolled.user);
    for (let tries = 0; tries < TRIES; tries += 8) {
      const opened = await Promise.all(Array.from({ length: 8 }, () => enrolled.phone.open()));
      const there = opened.find(({ socket }) => broker.holderOf(socket) !== alone.holder());
      for (const connection of opened.filter((each) => each !== there)) connection.destroy();
      if (!there) continue;
      await enrolled.phone.helloOn(there);
      return { alone, connection: there };
    }
    return assert.fail(`the other worker accepted none of ${TRIES} connections`);
  }

  const revokers = {
    "by a portal at another worker": (alone, request) => alone.users.revokeDevice(request),
    "on the admin socket": (_, request) => broker.admin("UserService/RevokeDevice", request),
  };
  for (const [how, revoke] of Object.entries(revokers))
    test(`revoked ${how} while it is asked: its answer counts no more, and it is cut off within a second`, async () => {
      const stays = await portal.connected();
      const gone = await admin.enrol(stays.user, { name: "Ada's lost phone" });
      const { alone, connection } = await apart(gone);
      const question = await portal.ask(stays.user);
      const push = await gone.phone.nextPush(connection);
      await revoke(alone, { deviceId: gone.phone.deviceId });
      const revoked = Date.now();
      gone.phone.sendAnswer(connection, push, "approve");
      await within(1000, "its connection ends", connection.closed);
      assert.ok(Date.now() - revoked < deadline(1000));

      assert.equal(await portal.challengeState(question.id), ChallengeState.PENDING);
      await assert.rejects(gone.phone.connect(), { code: "DENIED" });
      assert.equal((await devicesOf(stays.user)).length, 1);
      const { phoneName } = await stays.phone.nextNotice(stays.connection, Notice_Kind.PHONE_REMOVED);
      assert.equal(phoneName, "Ada's lost phone");
      const left = await stays.phone.nextPush(stays.connection);
      assert.equal(left.challengeId, question.id);
      assert.equal((await stays.phone.decide(stays.connection, left, "approve")).state, ChallengeState.APPROVED);
      await revoke(alone, { deviceId: gone.phone.deviceId });
    });

  test("one of two accounts of a connection: that one is told and ends, the other goes on; with the last one the connection ends", async () => {
    const abroad = await Portal.create(broker, { scopes: ["SCOPE_CHALLENGE", "SCOPE_ENROL", "SCOPE_ADMIN"] });
    const [here, there] = [await portal.enrol(), await abroad.enrol()];
    const connection = await here.phone.connect();
    await there.phone.helloOn(connection);
    await admin.users.revokeDevice({ deviceId: here.phone.deviceId });
    assert.deepEqual(await told(connection), { code: "REMOVED", subject: here.phone.deviceId });
    await abroad.signIn({ ...there, connection });
    await refuses(portal.ask(here.user), "failed_precondition", /phone/);

    await abroad.users.revokeDevice({ deviceId: there.phone.deviceId });
    assert.deepEqual(await told(connection), { code: "REMOVED", subject: there.phone.deviceId });
    assert.equal((await connection.next("goAway")).reason, GoAway_Reason.NO_ACCOUNT);
    await within(1000, "its connection ends", connection.closed);
  });

  test("one account removes itself, the other of its connection goes on", async () => {
    const [one, two] = [await portal.enrol(), await portal.enrol()];
    const connection = await one.phone.connect();
    await two.phone.helloOn(connection);
    await one.phone.remove(connection);
    assert.deepEqual(await told(connection), { code: "REMOVED", subject: one.phone.deviceId });
    await portal.signIn({ ...two, connection });
  });

  test("one that is revoked while it is away does not come back", async () => {
    const { user, phone } = await portal.enrol();
    const question = await portal.ask(user);
    await admin.users.revokeDevice({ deviceId: phone.deviceId });
    await assert.rejects(phone.connect(), { code: "DENIED" });
    assert.equal(await portal.challengeState(question.id), ChallengeState.PENDING);
    await refuses(portal.ask(user), "failed_precondition", /phone/);
  });
});

describe("what is sent right behind Hello", () => {
  test("waits for Welcome and counts: an answer, an act, of each account of the connection", async () => {
    const one = await portal.asked();
    const two = await portal.asked();
    const connection = await one.phone.open();
    for (const { phone } of [one, two]) connection.send("hello", phone.helloFields(connection));
    for (const { phone, push } of [two, one]) phone.sendAnswer(connection, push, "approve");
    connection.send("unlock", one.phone.actFields(connection, "unlock"));
    for (const { push } of [two, one]) {
      const { state } = await connection.next("resolved", ({ challengeId }) => challengeId === push.challengeId);
      assert.equal(state, ChallengeState.APPROVED);
    }
    await one.phone.accepted(connection, Accepted_Act.UNLOCKED);
  });

  test("is answered as ever where the Hello is refused", async () => {
    const [one, gone] = [await portal.connected(), await portal.asked()];
    await admin.users.revokeDevice({ deviceId: gone.phone.deviceId });
    await gone.connection.untilClosed();
    one.connection.send("hello", gone.phone.helloFields(one.connection));
    gone.phone.sendAnswer(one.connection, gone.push, "approve");
    assert.equal((await one.connection.nextError()).code, "DENIED");
    assert.equal((await one.connection.nextError()).code, "NOT_FOUND");
    await portal.signIn(one);
  });
});

describe("several accounts on one connection", () => {
  test("of two organisations: each gets its own, answered by its own keys", async () => {
    const abroad = await Portal.create(broker);
    const [here, there] = [await portal.enrol(), await abroad.enrol()];
    const connection = await here.phone.connect();
    await there.phone.helloOn(connection);
    const [asked, askedThere] = [await portal.ask(here.user), await abroad.ask(there.user)];
    const [push, pushThere] = [await here.phone.nextPush(connection), await there.phone.nextPush(connection)];
    assert.equal(push.challengeId, asked.id);
    assert.equal(pushThere.challengeId, askedThere.id);
    assert.equal(push.shown.organisation, `${portal.organisation} GmbH`);
    assert.equal(pushThere.shown.organisation, `${abroad.organisation} GmbH`);

    assert.equal((await here.phone.refusedAnswer(connection, pushThere, "approve")).code, "INVALID");
    assert.equal((await there.phone.refusedAnswer(connection, push, "approve")).code, "INVALID");
    for (const [by, { phone, pins }, question, shown] of [[abroad, there, askedThere, pushThere], [portal, here, asked, push]]) {
      assert.equal((await phone.decide(connection, shown, "approve")).state, ChallengeState.APPROVED);
      const { challenge } = await by.challenges.getChallenge({ id: question.id });
      await by.verify(challenge, question, pins);
    }
  });

  test("an act of one is none of the other's", async () => {
    const [one, two] = [await portal.enrol(), await portal.enrol()];
    const connection = await one.phone.connect();
    await two.phone.helloOn(connection);
    for (const kind of ["unlock", "remove"]) {
      connection.send(kind, { ...one.phone.actFields(connection, kind), deviceId: two.phone.deviceId });
      assert.equal((await connection.nextError()).code, "INVALID");
    }
    await one.phone.rotate(connection);
    assert.equal((await devicesOf(two.user))[0].generation, 1);
    await portal.signIn({ ...two, connection });
  });

  test("an account can be enrolled on a connection that has others", async () => {
    const one = await portal.connected();
    const { id, secret, user, phone } = await portal.begin();
    assert.equal((await phone.enrolOn(one.connection)).waiting, false);
    await phone.helloOn(one.connection);
    const { enrolment } = await portal.enrolments.getEnrolment({ id });
    await portal.signIn({ user, phone, connection: one.connection, pins: portal.pin(enrolment, secret) });
    await portal.signIn(one);
  });
});

describe("a phone whose clock is wrong by a day", () => {
  for (const [how, ms] of [["behind", -DAY_MS], ["ahead", DAY_MS]])
    test(`${how}: signs in, rotates, unlocks, leaves, by the broker's time`, async () => {
      const { user, phone, pins } = await portal.enrol();
      phone.clock = () => Date.now() + ms;
      const connection = await phone.connect();
      await portal.signIn({ user, phone, pins, connection });
      const { challenge } = await portal.challenges.getChallenge({ id: (await portal.ask(user)).id });
      const push = await phone.nextPush(connection);
      assert.equal(push.challengeId, challenge.id);
      const claims = JSON.parse(Buffer.from(phone.answer(push, "approve").split(".")[1], "base64url"));
      assert.ok(Math.abs(claims.iat - Number(push.brokerUnixMs) / 1000) < deadline(5000) / 1000);
      await phone.decide(connection, push, "approve");
      await phone.rotate(connection);
      assert.equal((await phone.unlock(connection)).act, Accepted_Act.UNLOCKED);
      await phone.remove(connection);
    });
});

describe("what a phone can do", () => {
  test("is known from its enrolment on, and changes with its Hello", async () => {
    const all = await Portal.create(broker, { organisation: portal.organisation, modes: ["MODE_TAP", "MODE_CHOOSE", "MODE_CODE"] });
    const modes = async (user) => (await all.users.getUser({ user })).user.modes;
    const { user, phone } = await all.enrol(undefined, { capabilities: CAN_CODE });
    assert.deepEqual(await modes(user), [Mode.TAP, Mode.CODE]);
    phone.capabilities = CAN_CHOOSE;
    const connection = await phone.connect();
    assert.deepEqual(await modes(user), [Mode.TAP, Mode.CHOOSE]);
    connection.destroy();
    phone.capabilities = CAN_CHOOSE | CAN_CODE | 64; // of a later version
    await phone.connect();
    assert.deepEqual(await modes(user), [Mode.TAP, Mode.CHOOSE, Mode.CODE]);
    assert.deepEqual((await portal.users.getUser({ user })).user.modes, [Mode.TAP], "those that the portal is allowed");
  });
});
