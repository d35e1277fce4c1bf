// What a phone says at the wrong time, or what is somebody else's: before Hello, after Bye, twice, all at once; of another
// connection, device, organisation or challenge; and keys that are none.
import assert from "node:assert/strict";
import { createECDH, generateKeyPairSync } from "node:crypto";
import { after, afterEach, before, describe, test } from "node:test";

import { create, toBinary } from "@bufbuild/protobuf";

import { ChallengeState } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { PhoneMessageSchema } from "../../build/gen-js/nanopush/v1/device_pb.js";
import { EnrolmentState } from "../../build/gen-js/nanopush/v1/enrolment_pb.js";
import { jwkOf, thumbprint } from "../vectors/inputs.mjs";
import { Broker } from "./harness.mjs";
import { frame, makeKey, makeKeys, Phone } from "./phone.mjs";
import { login, movePins, Portal, refuses } from "./portal.mjs";

const OPERATIONS_MAX = 8; // that one connection has under way
const RACES = 6;
const broker = new Broker();
let portal;
let bystander;
let known = 0; // complaints of earlier tests

before(async () => {
  await broker.start();
  portal = await Portal.create(broker, { scopes: ["SCOPE_CHALLENGE", "SCOPE_ENROL", "SCOPE_ADMIN"] });
  bystander = (await portal.connected()).connection;
});
afterEach(async () => {
  const complaints = broker.complaints().filter((line) => !/event=enrolment-void/.test(line));
  assert.deepEqual(complaints.slice(known), []);
  known = complaints.length;
  await bystander.ping();
  await login(portal);
});
after(() => broker.stop());

/* ---- what can be said, rightly, by somebody who was asked ---- */

const KINDS = PhoneMessageSchema.oneofs[0].fields.map(({ localName }) => localName);

/** Somebody who was asked, whose phone has hung up; with another enrolment that waits for a phone. */
async function somebody() {
  const subject = await portal.asked();
  subject.connection.destroy();
  return { ...subject, newcomer: (await portal.begin()).phone };
}

const messages = {
  hello: ({ phone }, connection) => phone.helloFields(connection),
  scan: ({ newcomer }) => newcomer.scanFields(),
  enrol: ({ newcomer }, connection) => Phone.enrolFields(connection, newcomer.uri, newcomer),
  ack: ({ push }) => ({ challengeId: push.challengeId, attempt: 1 }),
  seen: ({ push }) => ({ challengeId: push.challengeId, attempt: 1 }),
  answer: ({ phone, push }) => ({ challengeId: push.challengeId, jws: phone.answer(push, "approve") }),
  rotate: ({ phone }) => phone.rotateFields(makeKeys()),
  unlock: ({ phone }, connection) => phone.actFields(connection, "unlock"),
  remove: ({ phone }, connection) => phone.actFields(connection, "remove"),
  ping: () => ({}),
  bye: () => ({}),
};

const bytesOf = (kind, value) =>
  frame(toBinary(PhoneMessageSchema, create(PhoneMessageSchema, { message: { case: kind, value } })));
const say = (kind, subject, connection) => bytesOf(kind, messages[kind](subject, connection));

/** What the broker says: as many replies as there should be, and what else until it has answered a frame of no kind. */
async function replies(connection, expected) {
  const heard = [];
  while (heard.length < expected.length && heard.at(-1) !== "closed") heard.push(await connection.hear());
  if (heard.at(-1) === "closed") return heard;
  connection.sendBytes(frame(Buffer.alloc(0)));
  for (let next; (next = await connection.hear()) !== "UNSUPPORTED" && next !== "closed"; ) heard.push(next);
  return heard;
}

const untouched = async ({ user, phone, question, newcomer }) => {
  const { devices } = (await portal.users.getUser({ user })).user;
  assert.deepEqual(devices.map(({ id, generation }) => [id, generation]), [[phone.deviceId, 1]]);
  assert.equal(await portal.challengeState(question.id), ChallengeState.PENDING);
  await refuses(portal.users.getUser({ user: newcomer.user }), "failed_precondition").catch(async () => {
    assert.deepEqual((await portal.users.getUser({ user: newcomer.user })).user.devices, []);
  });
};

/* ---- out of order ---- */

/** For each kind: send what make() says on a connection, and compare every reply with the table's. */
async function eachKind(expected, make) {
  const came = {};
  for (const kind of KINDS) {
    const subject = await somebody();
    const connection = await subject.phone.open();
    connection.sendBytes(await make(kind, subject, connection));
    came[kind] = await replies(connection, expected[kind]);
    if (!expected.moves.includes(kind)) await untouched(subject);
    connection.destroy();
  }
  const { moves, ...table } = expected;
  assert.deepEqual(came, table);
}

const REMOVED = ["accepted", "REMOVED", "goAway", "closed"];

describe("each message", () => {
  test("before Hello", () =>
    eachKind({
      moves: ["enrol"],
      hello: ["welcome"],
      scan: ["scanned"],
      enrol: ["enrolled"],
      ack: [],
      seen: [],
      answer: ["NOT_FOUND"],
      rotate: ["DENIED"],
      unlock: ["DENIED"],
      remove: ["DENIED"],
      ping: [],
      bye: ["closed"],
    }, say));

  test("right behind Hello, before its answer", () =>
    eachKind({
      moves: ["enrol", "answer", "rotate", "remove"],
      hello: ["INVALID", "welcome"],
      scan: ["welcome", "scanned"],
      enrol: ["welcome", "enrolled"],
      ack: ["welcome"],
      seen: ["welcome"],
      answer: ["welcome", "resolved"],
      rotate: ["welcome", "accepted"],
      unlock: ["welcome", "accepted"],
      remove: ["welcome", ...REMOVED],
      ping: ["welcome"], // what is no account's needs none, and waits for none
      bye: ["closed"],
    }, (kind, ...of) => Buffer.concat([say("hello", ...of), say(kind, ...of)])));

  test("twice at once", () =>
    eachKind({
      moves: ["enrol", "answer", "rotate", "remove"],
      hello: ["INVALID", "INVALID"],
      scan: ["scanned", "scanned"],
      enrol: ["enrolled", "enrolled"],
      ack: [],
      seen: [],
      answer: ["resolved", "resolved"],
      rotate: ["accepted", "accepted"],
      unlock: ["accepted", "accepted"],
      remove: REMOVED,
      ping: ["pong", "pong"],
      bye: ["closed"],
    }, async (kind, subject, connection) => {
      await subject.phone.helloOn(connection);
      const bytes = say(kind, subject, connection);
      return Buffer.concat([bytes, bytes]);
    }));

  test("behind Bye", () =>
    eachKind({ moves: [], ...Object.fromEntries(KINDS.map((kind) => [kind, ["closed"]])) },
      async (kind, subject, connection) => {
        await subject.phone.helloOn(connection);
        return Buffer.concat([say("bye"), say(kind, subject, connection)]);
      }));
});

test("two rotations to different keys at once: one of them is done, and the phone goes on with its keys", async () => {
  const { user, phone, pins, connection } = await portal.connected();
  const both = [makeKeys(), makeKeys()];
  connection.sendBytes(Buffer.concat(both.map((keys) => bytesOf("rotate", phone.rotateFields(keys)))));
  assert.deepEqual(await replies(connection, ["accepted", "DENIED"]), ["accepted", "DENIED"]);
  Object.assign(phone, both[0], { generation: 2 });
  const [device] = (await portal.users.getUser({ user })).user.devices;
  await portal.signIn({ user, phone, connection: await phone.connect(), pins: await movePins(pins, device) });
});

test("more at once than one connection may have under way: LIMIT for what is beyond, and the rest goes on", async () => {
  const { phone, connection, push } = await portal.asked();
  const wrong = bytesOf("answer", { challengeId: push.challengeId, jws: "x" });
  connection.sendBytes(Buffer.concat(Array(OPERATIONS_MAX + 4).fill(wrong)));
  const expected = [...Array(4).fill("LIMIT"), ...Array(OPERATIONS_MAX).fill("INVALID")];
  assert.deepEqual(await replies(connection, expected), expected);
  assert.equal((await phone.decide(connection, push, "approve")).state, ChallengeState.APPROVED);
});

test("receipts of what is nobody's, or by nobody, are no receipts", async () => {
  const { phone, connection, push } = await portal.asked();
  await connection.ping();
  const count = async () => (await broker.metrics()).nanopush_pushes_acked_total;
  const before = await count();
  const mute = await phone.open();
  const stranger = (await portal.connected()).connection;
  for (const each of [mute, stranger]) {
    each.send("ack", { challengeId: push.challengeId, attempt: 1 });
    assert.deepEqual(await replies(each, []), []);
  }
  assert.equal(await count(), before);
});

/* ---- somebody else's ---- */

describe("an answer", () => {
  const refused = async (connection, challengeId, jws) => {
    connection.send("answer", { challengeId, jws });
    assert.deepEqual(await replies(connection, ["INVALID"]), ["INVALID"]);
  };

  test("of another challenge of the same person counts for neither", async () => {
    const { user, phone, connection, push, question } = await portal.asked();
    const second = await Portal.create(broker, { organisation: portal.organisation });
    const other = await second.ask(user);
    const otherPush = await phone.pushOf(connection, other.id);
    for (const decision of ["approve", "deny"]) {
      await refused(connection, question.id, phone.answer(otherPush, decision));
      await refused(connection, other.id, phone.answer(push, decision));
      await refused(connection, other.id, phone.answer({ ...push, challengeId: other.id }, decision));
    }
    assert.equal((await phone.decide(connection, push, "approve")).state, ChallengeState.APPROVED);
    await refused(connection, other.id, phone.answer(push, "approve"));
    assert.equal((await phone.decide(connection, otherPush, "deny")).state, ChallengeState.DENIED);
  });

  test("of another phone of the same person is not this one's", async () => {
    const { user, phone, connection, push } = await portal.asked();
    const { phone: other } = await portal.enrol(user);
    const answers = [
      other.answer(push, "approve"),
      other.answer(push, "deny"),
      other.answer(push, "approve", { claims: { iss: phone.deviceId } }),
      phone.answer(push, "approve", { claims: { iss: other.deviceId } }),
    ];
    for (const jws of answers) await refused(connection, push.challengeId, jws);
    assert.equal((await phone.decide(connection, push, "approve")).state, ChallengeState.APPROVED);
  });

  test("of either of two devices of one person that are on one connection counts", async () => {
    const { user, phone } = await portal.enrol();
    const { phone: again } = await portal.enrol(user);
    const connection = await phone.connect();
    await again.helloOn(connection);
    for (const each of [again, phone]) {
      const { id } = await portal.ask(user);
      const push = await each.pushOf(connection, id);
      const { state, deviceId } = await each.decide(connection, push, "approve");
      assert.deepEqual([state, deviceId], [ChallengeState.APPROVED, each.deviceId]);
    }
  });

  test("of another organisation's account on the same connection", async () => {
    const { phone, connection, push } = await portal.asked();
    const elsewhere = await Portal.create(broker);
    const { phone: other } = await elsewhere.enrol();
    await other.helloOn(connection);
    for (const decision of ["approve", "deny"]) {
      await refused(connection, push.challengeId, other.answer(push, decision));
      const claims = { iss: phone.deviceId, org: phone.organisation, sub: phone.user };
      await refused(connection, push.challengeId, other.answer(push, decision, { claims }));
    }
    assert.equal((await phone.decide(connection, push, "approve")).state, ChallengeState.APPROVED);
  });
});

describe("a Hello", () => {
  test("of another connection, relayed to one that has an account: denied there, and nobody is moved", async () => {
    const { user, phone, connection } = await portal.connected();
    const eve = await portal.connected();
    const fields = phone.helloFields(connection);
    eve.connection.send("hello", fields);
    assert.deepEqual(await replies(eve.connection, ["DENIED"]), ["DENIED"]);
    await connection.ping();
    const { id } = await portal.ask(user);
    assert.equal((await phone.pushOf(connection, id)).deviceId, phone.deviceId);
    assert.equal(eve.connection.messages.length, 0);
  });

  test("for another's device, rightly signed by one's own key: denied, in every combination", async () => {
    const [victim, eve] = [(await portal.connected()), (await portal.enrol()).phone];
    const { phone } = victim;
    const changes = [
      { deviceId: phone.deviceId },
      { deviceId: phone.deviceId, generation: 2 },
      { deviceId: phone.deviceId, possessionKey: phone.possession.point },
      { possessionKey: phone.possession.point },
      { organisation: (await Portal.create(broker)).organisation },
      { trustAnchor: Buffer.alloc(32) },
    ];
    for (const change of changes) {
      const connection = await eve.open();
      connection.send("hello", eve.helloFields(connection, change));
      assert.deepEqual(await replies(connection, ["DENIED", "closed"]), ["DENIED", "closed"], JSON.stringify(change));
    }
    await victim.connection.ping();
  });
});

test("an Enrol on a connection that was resumed is refused, and the token is still good on another", async () => {
  const { connection } = await portal.connected();
  await connection.ping();
  const { id, phone } = await portal.begin();
  const resumed = await phone.open({ session: connection.tickets[0] });
  assert.ok(resumed.resumed);
  resumed.send("enrol", Phone.enrolFields(resumed, phone.uri, phone));
  assert.deepEqual(await replies(resumed, ["INVALID", "closed"]), ["INVALID", "closed"]);
  assert.equal(await portal.enrolmentState(id), EnrolmentState.WAITING);
  await Phone.enrol(phone.uri);
});

/* ---- keys that are none ---- */

const NO_KEYS = (() => {
  const { point } = makeKey();
  const [x, y] = [point.subarray(1, 33), point.subarray(33)];
  const of = (first, ...rest) => Buffer.concat([Buffer.of(first), ...rest]);
  const fieldPrime = Buffer.from("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff", "hex");
  const compressed = of(2 + (point[64] & 1), x);
  const p384 = createECDH("secp384r1").generateKeys();
  const spki = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ type: "spki", format: "der" });
  return {
    "off the curve": of(4, x, y.map((byte, at) => (at === 31 ? byte ^ 1 : byte))),
    "at infinity": of(0),
    "at infinity, in 65 bytes": of(0, Buffer.alloc(64)),
    "the origin": of(4, Buffer.alloc(64)),
    compressed,
    "compressed, in 65 bytes": Buffer.concat([compressed, Buffer.alloc(32)]),
    hybrid: of(6 + (point[64] & 1), x, y),
    "without its first byte": Buffer.concat([x, y]),
    "with another first byte": of(5, x, y),
    "coordinates exchanged": of(4, y, x),
    "x is the field's prime": of(4, fieldPrime, y),
    "y is the field's prime": of(4, x, fieldPrime),
    "all bits set": of(4, Buffer.alloc(64, 255)),
    "of P-384": p384,
    "of P-384, cut": p384.subarray(0, 65),
    "as SubjectPublicKeyInfo": spki,
    "a byte longer": Buffer.concat([point, Buffer.alloc(1)]),
    empty: Buffer.alloc(0),
  };
})();

const inEachForm = async (expected, attempt) => {
  const came = {};
  for (const [what, point] of Object.entries(NO_KEYS)) came[what] = await attempt(point);
  assert.deepEqual(came, Object.fromEntries(Object.keys(NO_KEYS).map((what) => [what, expected])));
};
const tpOf = (point) => thumbprint(jwkOf(point));

describe("a key that is no uncompressed point of P-256", () => {
  for (const role of ["possession", "verification"]) {
    const field = role === "possession" ? "possessionKey" : "userVerificationKey";

    test(`is not enrolled, as ${role} key`, async () => {
      const { id, phone } = await portal.begin();
      await inEachForm(["INVALID", "closed"], async (point) => {
        const connection = await phone.open();
        const keys = { ...phone, [role]: { ...phone[role], thumbprint: tpOf(point) } };
        connection.send("enrol", Phone.enrolFields(connection, phone.uri, keys, { [field]: point }));
        return replies(connection, ["INVALID", "closed"]);
      });
      assert.equal(await portal.enrolmentState(id), EnrolmentState.WAITING);
      await Phone.enrol(phone.uri);
    });

    test(`is not rotated to, as ${role} key`, async () => {
      const { phone, connection } = await portal.connected();
      await inEachForm(["INVALID"], async (point) => {
        const keys = makeKeys();
        connection.send("rotate", phone.rotateFields({ ...keys, [role]: { point, thumbprint: tpOf(point) } }));
        return replies(connection, ["INVALID"]);
      });
      await phone.rotate(connection);
    });
  }

  test("says no Hello", async () => {
    const { phone } = await portal.enrol();
    await inEachForm(["DENIED", "closed"], async (possessionKey) => {
      const connection = await phone.open();
      connection.send("hello", phone.helloFields(connection, { possessionKey }));
      return replies(connection, ["DENIED", "closed"]);
    });
    await phone.connect();
  });
});

test("a key that the device had before is not rotated to again, in either role", async () => {
  const { user, phone, connection } = await portal.connected();
  const first = { possession: phone.possession, verification: phone.verification };
  await phone.rotate(connection);
  const second = { possession: phone.possession, verification: phone.verification };
  await phone.rotate(connection);
  for (const { possession, verification } of [first, second]) {
    const inOneRole = [{ possession }, { verification }, { possession: verification }, { verification: possession }];
    for (const old of [...inOneRole, { possession, verification }]) {
      connection.send("rotate", phone.rotateFields({ ...makeKeys(), ...old }));
      assert.deepEqual(await replies(connection, ["INVALID"]), ["INVALID"]);
    }
  }
  assert.equal((await portal.users.getUser({ user })).user.devices[0].generation, 3);
  await phone.rotate(connection);
});

/* ---- two scanners ---- */

test(`two scanners of one code at the same moment, ${RACES} times: no phone is enrolled`, async () => {
  for (let race = 0; race < RACES; race++) {
    const { id, phone: owner } = await portal.begin();
    const thief = Phone.of(owner.uri);
    const connections = await Promise.all([owner.open(), thief.open()]);
    const frames = [owner, thief].map((phone, at) => bytesOf("enrol", Phone.enrolFields(connections[at], phone.uri, phone)));
    connections.forEach((connection, at) => connection.sendBytes(frames[at]));
    const outcomes = await Promise.all(connections.map((connection) => connection.hear()));
    assert.ok(outcomes.includes("USED") && outcomes.every((each) => ["USED", "enrolled"].includes(each)), `${outcomes}`);
    assert.equal(await portal.enrolmentState(id), EnrolmentState.VOID);
    assert.deepEqual((await portal.users.getUser({ user: owner.user })).user.devices, []);
    for (const connection of connections) connection.destroy();
  }
});
