// Every field of every message that a phone may send, wrong in every way. The fields are those of the .proto's own
// descriptors: a new one is taken apart by itself, and fails until the table below says what is to come of it. What is
// no protobuf, or a field in a form that is not its own, is fatal whatever the field means.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";

import { create } from "@bufbuild/protobuf";

import { Platform, Progress } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { Error_Code, PhoneMessageSchema } from "../../build/gen-js/nanopush/v1/device_pb.js";
import { Broker } from "./harness.mjs";
import { CAN_CHOOSE, CAN_CODE, frame, makeKeys, Phone } from "./phone.mjs";
import { login, Portal } from "./portal.mjs";
import {
  FIXED32, FIXED64, fieldOfType, GROUP, kindOf, LENGTH, lengthField, putTogether, tag, takeApart, typeOf, VARINT, varint,
  varintField,
} from "./wire.mjs";

const LONG = 12_000; // bytes that still fit into a frame
const FRAME_MAX = 16_384;
const LIFE_S = 300n; // longer than a batch takes
const FATAL = "MALFORMED, closed";
const DENIED = "DENIED, closed"; // the first Hello of a connection
const PROBE = frame(Buffer.alloc(0)); // of no kind: answered with UNSUPPORTED while the connection lives

const broker = new Broker();
let portal;
let bystander;
let counted; // by the broker, at the end of the last test
let heard; // since then: errors by code, and connections that were closed after one

before(async () => {
  await broker.start();
  portal = await Portal.create(broker);
  bystander = (await portal.connected()).connection;
  counted = await countsOf();
  heard = {};
});
after(() => broker.stop());

/* ---- what is wrong, and what it is wrong about ---- */

const flip = (bytes) => Buffer.from(bytes.map((byte, at) => (at === 0 ? byte ^ 1 : byte)));
const NO_TEXT = {
  "not UTF-8": [0xff],
  "overlong UTF-8": [0xc1, 0xa1],
  "half a character": [0xc3],
  "a surrogate": [0xed, 0xa0, 0x80],
  "beyond Unicode": [0xf4, 0x90, 0x80, 0x80],
  NUL: [0],
};

const wrongInForm = (field, value) => {
  const { number } = field;
  const others = [VARINT, FIXED64, LENGTH, GROUP, FIXED32].filter((type) => type !== typeOf(field));
  const own = field.good;
  const forms = {
    twice: Buffer.concat([own, own]),
    ...Object.fromEntries(others.map((type) => [`of wire type ${type}`, fieldOfType(number, type)])),
    "without a value": tag(number, typeOf(field)),
  };
  if (typeOf(field) === LENGTH) {
    forms["cut short"] = lengthField(number, Buffer.from(value), value.length + 1);
    forms["longer than a frame"] = lengthField(number, Buffer.alloc(FRAME_MAX, 0x61));
    forms["of 4 GiB"] = Buffer.concat([tag(number, LENGTH), varint(0xffffffffn)]);
  } else {
    forms["of eleven bytes"] = varintField(number, 1, 11);
    forms["beyond 64 bits"] = varintField(number, 2n ** 64n);
  }
  if (kindOf(field) === "string")
    for (const [what, bytes] of Object.entries(NO_TEXT))
      forms[what] = lengthField(number, Buffer.concat([Buffer.from(value), Buffer.from(bytes)]));
  return forms;
};

// "missing" and what is "empty" or zero are the same to protobuf, and stand here twice since they are not to a parser.
const wrongInValue = (field, value) => {
  const { number } = field;
  const length = (bytes) => lengthField(number, Buffer.from(bytes));
  const limit = field.expected.limit ?? value.length;
  return {
    missing: Buffer.alloc(0),
    ...{
      string: () => ({
        empty: length(""),
        other: length((value[0] === "0" ? "1" : "0") + value.slice(1)), // an id stays an id
        "at its limit": length("0".repeat(limit)),
        "one more": length("0".repeat(limit + 1)),
        long: length("0".repeat(LONG)),
      }),
      bytes: () => ({
        empty: length(""),
        other: length(flip(value)),
        "one less": length(value.subarray(0, -1)),
        "one more": length(Buffer.concat([value, Buffer.of(0)])),
        long: length(Buffer.alloc(LONG, 4)),
      }),
      number: () => ({
        zero: varintField(number, 0),
        other: varintField(number, value ^ 4),
        "of 32 bits": varintField(number, 0xffffffff),
      }),
      enum: () => ({
        zero: varintField(number, 0),
        "one that there is not": varintField(number, Math.max(...field.enum.values.map((each) => each.number)) + 1),
        negative: varintField(number, 2n ** 64n - 1n),
      }),
    }[kindOf(field)](),
  };
};

// Forms that no serialiser writes, and every parser reads as the good value.
const unusual = (field, value) => {
  const { number } = field;
  if (typeOf(field) === VARINT)
    return {
      "in ten bytes": varintField(number, value, 10),
      "above 32 bits": varintField(number, BigInt(value) + 2n ** 32n),
    };
  const length = varint(value.length, 5);
  return { "with its length in five bytes": Buffer.concat([tag(number, LENGTH), length, Buffer.from(value)]) };
};

/* ---- what is to come of it ---- */

/** A phone that was asked, and has said so. */
async function asked() {
  const subject = await portal.asked({ life: { seconds: LIFE_S } });
  await portal.follow(subject.question.id).until("delivered", ({ progress }) => progress === Progress.DELIVERED);
  return subject;
}

const all = (outcome) => ({ otherwise: outcome });
const anything = all("good");

/**
 * For each message: on a connection that said Hello or not, what a good one gets, and for each field what a wrong value
 * gets. `limit`: the length of a string that is tried to the full, else that of the good value.
 */
const kinds = {
  hello: {
    good: "welcome",
    subject: () => portal.enrol(undefined, { capabilities: CAN_CHOOSE | CAN_CODE }),
    message: ({ phone }, connection) => phone.helloFields(connection),
    fields: Object.fromEntries(
      ["organisation", "deviceId", "possessionKey", "generation", "trustAnchor", "capabilities", "signature"]
        .map((name) => [name, all(DENIED)])),
  },
  scan: {
    good: "scanned",
    subject: () => portal.begin(),
    message: ({ phone }) => phone.scanFields(),
    fields: {
      organisation: { ...all("NOT_FOUND, closed"), missing: "INVALID, closed", empty: "INVALID, closed", long: "INVALID, closed" },
      enrolmentId: all("NOT_FOUND, closed"),
      token: { ...all("INVALID, closed"), other: "NOT_FOUND, closed" },
    },
  },
  enrol: {
    good: "enrolled",
    subject: () => portal.begin(),
    message: ({ phone }, connection) =>
      Phone.enrolFields(connection, phone.uri, phone, { capabilities: CAN_CHOOSE, platform: Platform.ANDROID }),
    fields: {
      organisation: all("INVALID, closed"),
      enrolmentId: { ...all("NOT_FOUND, closed"), other: "INVALID, closed" }, // a good id, but not what was signed
      token: { ...all("INVALID, closed"), other: "NOT_FOUND, closed" },
      possessionKey: all("INVALID, closed"),
      userVerificationKey: all("INVALID, closed"),
      possessionSignature: all("INVALID, closed"),
      userVerificationSignature: all("INVALID, closed"),
      proof: { ...all("INVALID, closed"), missing: "good", empty: "good", other: "good" }, // for the portal to check
      name: { ...anything, limit: 64, "one more": "INVALID, closed", long: "INVALID, closed" },
      platform: { ...all("INVALID, closed"), missing: "good", zero: "good" },
      capabilities: anything, // of which the broker takes those that it knows
    },
  },
  ack: {
    attached: true,
    good: "nothing",
    silent: true,
    subject: asked,
    message: ({ push }) => ({ challengeId: push.challengeId, attempt: push.attempt }),
    fields: { challengeId: all("nothing"), attempt: anything },
  },
  seen: {
    attached: true,
    good: "nothing",
    silent: true,
    subject: asked,
    message: ({ push }) => ({ challengeId: push.challengeId, attempt: push.attempt }),
    fields: { challengeId: all("nothing"), attempt: anything },
  },
  answer: {
    attached: true,
    good: "resolved",
    subject: asked,
    message: ({ phone, push }) => ({ challengeId: push.challengeId, jws: phone.answer(push, "approve") }),
    fields: { challengeId: all("NOT_FOUND"), jws: { ...all("INVALID"), limit: 8192 } },
  },
  rotate: {
    attached: true,
    good: "accepted",
    subject: () => portal.enrol(),
    message: ({ phone }) => phone.rotateFields(makeKeys()),
    fields: {
      jws: { ...all("INVALID"), limit: 4096 },
      possessionKey: all("INVALID"),
      userVerificationKey: all("INVALID"),
      deviceId: all("DENIED"),
    },
  },
  unlock: {
    attached: true,
    good: "accepted",
    subject: () => portal.enrol(),
    message: ({ phone }, connection) => phone.actFields(connection, "unlock"),
    fields: { jws: { ...all("INVALID"), limit: 4096 }, deviceId: all("DENIED") },
  },
  remove: {
    attached: true,
    good: "accepted, REMOVED, goAway, closed",
    subject: () => portal.enrol(),
    message: ({ phone }, connection) => phone.actFields(connection, "remove"),
    fields: { jws: { ...all("INVALID"), limit: 4096 }, deviceId: all("DENIED") },
  },
  ping: { attached: true, good: "pong", subject: () => portal.enrol(), message: () => ({}), fields: {} },
  bye: { attached: true, good: "closed", subject: () => portal.enrol(), message: () => ({}), fields: {} },
};

/* ---- one case: a connection of its own, one message, what comes of it ---- */

async function hear(connection) {
  const said = await connection.hear();
  if (said in Error_Code) heard[said] = (heard[said] ?? 0) + 1;
  return said;
}

/** What the broker says to those bytes, "nothing" where it says nothing, and "closed" where it ends the connection. */
async function outcomeOf(connection, bytes, silent) {
  const outcome = [];
  connection.sendBytes(bytes);
  if (!silent) outcome.push(await hear(connection));
  if (outcome[0] !== "closed") {
    connection.sendBytes(PROBE);
    for (let next; (next = await hear(connection)) !== "UNSUPPORTED"; ) {
      outcome.push(next);
      if (next === "closed") break;
    }
  }
  if (outcome.at(-1) === "closed" && outcome[0] in Error_Code) heard.closed = (heard.closed ?? 0) + 1;
  return outcome.join(", ") || "nothing";
}

const innerOf = (kind) => PhoneMessageSchema.oneofs[0].fields.find((field) => field.localName === kind);
const framed = (kind, payload) => frame(lengthField(innerOf(kind).number, payload));

async function tryOne(kind, subject, makeBytes, silent) {
  const { attached, message } = kinds[kind];
  const connection = await (attached ? subject.phone.connect() : subject.phone.open());
  const schema = innerOf(kind).message;
  const value = create(schema, message(subject, connection));
  const bytes = makeBytes(takeApart(schema, value), value);
  const outcome = await outcomeOf(connection, bytes, silent);
  connection.destroy();
  return outcome;
}

/* ---- that nobody else noticed ---- */

// What a phone could have changed; whether it is connected is not of it.
async function stateOf({ user, phone, id, question }) {
  const devices = phone.deviceId ? (await portal.users.getUser({ user })).user : null;
  for (const device of devices?.devices ?? []) delete device.connected;
  const enrolment = id && (await portal.enrolments.getEnrolment({ id })).enrolment;
  const challenge = question && (await portal.challenges.getChallenge({ id: question.id })).challenge;
  return { devices, enrolment, challenge };
}

const countsOf = async () => {
  const metrics = await broker.metrics();
  const errors = Object.fromEntries(Object.keys(Error_Code).filter((name) => /^[A-Z]/.test(name) && name !== "UNSPECIFIED")
    .map((name) => [name, metrics[`nanopush_device_errors_total{code="${name.toLowerCase()}"}`]]));
  const closed = (reason) => metrics[`nanopush_connections_closed_total{reason="${reason}"}`];
  return { errors, protocol: closed("protocol"), internal: closed("internal"), seals: metrics.nanopush_seal_failures_total };
};

afterEach(async () => {
  const counts = await countsOf();
  for (const [code, count] of Object.entries(counts.errors))
    assert.equal(count - counted.errors[code], heard[code] ?? 0, `each ${code} is counted`);
  assert.equal(counts.protocol - counted.protocol, heard.closed ?? 0, "each end is counted");
  assert.deepEqual([counts.internal, counts.seals], [0, 0]);
  counted = counts;
  heard = {};
  assert.deepEqual(broker.complaints(), []);
});

/* ---- the table, field by field ---- */

/** Try every case: an object of what was expected and one of what came. */
async function tryAll(kind, cases) {
  const { good, silent, subject: make } = kinds[kind];
  const subject = await make();
  const before = await stateOf(subject);
  const [came, expected] = [{}, {}];
  for (const [what, outcome, makeBytes] of cases) {
    const isGood = outcome === "good";
    expected[what] = isGood ? good : outcome;
    came[what] = await tryOne(kind, isGood ? await make() : subject, makeBytes, silent && outcome !== FATAL);
  }
  assert.deepEqual(came, expected);
  assert.deepEqual(await stateOf(subject), before, "nothing has changed");
}

for (const { localName: kind, message: schema } of PhoneMessageSchema.oneofs[0].fields)
  describe(kind, () => {
    after(async () => {
      await bystander.ping();
      await login(portal);
    });

    test("stands in the table, each of its fields", () => {
      assert.ok(kinds[kind], "a new message needs a row");
      assert.deepEqual(Object.keys(kinds[kind].fields), schema.fields.map(({ localName }) => localName));
    });

    for (const descriptor of schema.fields)
      test(descriptor.localName, () => {
        const { localName: name, number } = descriptor;
        const expected = kinds[kind].fields[name];
        const cases = [];
        const sample = { string: "x", bytes: Buffer.of(1), number: 1, enum: 1 }[kindOf(descriptor)];
        const add = (make, outcomeFor) => {
          for (const what of Object.keys(make({ ...descriptor, number, good: Buffer.alloc(0), expected }, sample)))
            cases.push([what, outcomeFor(what), (parts, value) => {
              const field = { ...descriptor, number, expected, good: parts.get(number) };
              assert.ok(field.good.length > 0, `${name} of the good message is set`);
              const rest = new Map(parts);
              rest.delete(number);
              const last = make(field, value[name])[what]; // where nothing that follows can complete it
              return framed(kind, Buffer.concat([putTogether(rest), last]));
            }]);
        };
        add(wrongInForm, () => FATAL);
        add(wrongInValue, (what) => expected[what] ?? expected.otherwise);
        add(unusual, () => "good");
        return tryAll(kind, cases);
      });

    test("as a whole", () => {
      const { number } = innerOf(kind);
      const types = [VARINT, FIXED64, LENGTH, FIXED32];
      const another = lengthField(innerOf(kind === "ping" ? "bye" : "ping").number, Buffer.alloc(0));
      const whole = (parts) => putTogether(parts);
      const reversed = (parts) => Buffer.concat([...parts.values()].reverse());
      const extra = (bytes) => (parts) => framed(kind, Buffer.concat([whole(parts), bytes]));
      return tryAll(kind, [
        ["of a wire type that is not its own", FATAL, () => frame(fieldOfType(number, VARINT))],
        ["cut short", FATAL, (parts) => frame(lengthField(number, whole(parts), whole(parts).length + 1))],
        ["twice in one frame", FATAL, (parts) => frame(Buffer.concat(Array(2).fill(lengthField(number, whole(parts)))))],
        ["beside another", FATAL, (parts) => frame(Buffer.concat([lengthField(number, whole(parts)), another]))],
        ["with a field 0", FATAL, extra(fieldOfType(0, VARINT))],
        ["with a field beyond 2^29", FATAL, extra(fieldOfType(2 ** 29, VARINT))],
        ["with a group", FATAL, extra(fieldOfType(100, GROUP))],
        ["with wire type 6", FATAL, extra(tag(100, 6))],
        ["with half a tag", FATAL, extra(Buffer.of(0x80))],
        ["with too many fields", FATAL, extra(Buffer.concat(Array(1024).fill(fieldOfType(100, VARINT))))],
        ["with fields that are not known", "good", extra(Buffer.concat(types.map((type) => fieldOfType(100, type))))],
        ["with its fields in the other order", "good", (parts) => framed(kind, reversed(parts))],
      ]);
    });
  });
