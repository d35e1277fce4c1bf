// Every field of every request of a portal, wrong in every way that its type and its rules know, over JSON and protobuf:
// the fields come from the descriptors, the rules from the table at the end.
import assert from "node:assert/strict";
import http2 from "node:http2";
import { after, before, describe, test } from "node:test";

import { fromJson, ScalarType, toBinary } from "@bufbuild/protobuf";

import { ChallengeService } from "../../build/gen-js/nanopush/v1/challenge_pb.js";
import { EnrolmentService } from "../../build/gen-js/nanopush/v1/enrolment_pb.js";
import { EventService } from "../../build/gen-js/nanopush/v1/event_pb.js";
import { UserService } from "../../build/gen-js/nanopush/v1/user_pb.js";
import { Broker, within } from "./harness.mjs";
import { login, Portal } from "./portal.mjs";

const AT_ONCE = 50;
const broker = new Broker({ log_level: "info" });
let portal;
let session;
let user;
const methods = [ChallengeService, EnrolmentService, UserService, EventService].flatMap(({ methods: each }) => each);
const implemented = [];

before(async () => {
  await broker.start();
  portal = await Portal.create(broker, { scopes: ["SCOPE_CHALLENGE", "SCOPE_ENROL", "SCOPE_ADMIN"] });
  ({ user } = await portal.enrol());
  session = http2.connect(`https://localhost:${broker.ports.portal}`, { ca: broker.ca });
  broker.onStop(() => session.destroy());
  for (const method of methods) {
    const { code, message } = await json(method, "{}");
    if (!(code === "unimplemented" && /not in this version/.test(message))) implemented.push(method);
  }
});
after(async () => {
  await login(portal);
  await broker.stop();
});

/** One call: {code, message}, or {} where it was taken; a stream is left once it has said something. */
async function call({ parent, name, methodKind }, form, message) {
  const streams = methodKind === "server_streaming";
  const envelope = Buffer.alloc(5);
  envelope.writeUInt32BE(message.length, 1);
  const stream = session.request({
    ":method": "POST", ":path": `/${parent.typeName}/${name}`, authorization: `Bearer ${portal.credential}`,
    "content-type": `application/${streams ? "connect+" : ""}${form}`, "connect-timeout-ms": "5000",
  });
  stream.end(streams ? Buffer.concat([envelope, message]) : message);
  const heard = await within(15_000, `${name} answers`, new Promise((resolve, reject) => {
    const parts = [];
    let status;
    stream.on("response", (headers) => (status = headers[":status"]));
    stream.on("data", (part) => {
      parts.push(part);
      const all = Buffer.concat(parts);
      if (streams && all.length >= 5 && all[0] <= 2 && all.length >= 5 + all.readUInt32BE(1))
        resolve(all[0] === 2 ? JSON.parse(all.subarray(5)).error ?? {} : {});
    });
    stream.on("end", () => resolve(status === 200 ? {} : JSON.parse(Buffer.concat(parts))));
    stream.on("error", reject);
  }));
  if (streams) stream.close();
  return heard;
}

const json = (method, text) => call(method, "json", Buffer.from(text));
const proto = (method, bytes) => call(method, "proto", Buffer.from(bytes));

/** Every row is called, some at a time. */
async function each(rows, act) {
  for (let at = 0; at < rows.length; at += AT_ONCE) await Promise.all(rows.slice(at, at + AT_ONCE).map(act));
}

/** All fields below a message: the path in words, and a wrapper that puts a value (or bytes) where they stand. */
function fieldsOf(desc, path = "", inJson = (value) => value, onWire = (bytes) => bytes) {
  return desc.fields.flatMap((field) => {
    const list = field.fieldKind === "list";
    const at = `${path}${field.jsonName}`;
    const here = { desc, field, path: at, json: (value) => inJson({ [field.jsonName]: value }), wire: onWire };
    if (!field.message || field.message.typeName.startsWith("google.")) return [here];
    return [here, ...fieldsOf(field.message, `${at}${list ? "[0]" : ""}.`,
      (value) => inJson({ [field.jsonName]: list ? [value] : value }),
      (bytes) => onWire(Buffer.concat([Buffer.of((field.number << 3) | 2), varint(bytes.length), bytes])))];
  });
}

function varint(value) {
  const bytes = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return Buffer.of(...bytes, value);
}

const everyField = () => implemented.flatMap((method) => fieldsOf(method.input).map((field) => ({ method, ...field })));
const isText = ({ fieldKind, scalar }) => fieldKind === "scalar" && scalar === ScalarType.STRING;
const isNumber = (field) => field.fieldKind === "enum" || [ScalarType.UINT32, ScalarType.UINT64, ScalarType.BOOL].includes(field.scalar);
const called = ({ method, path }) => `${method.name}.${path}`;

describe("what the type of a field does not allow", () => {
  test("JSON of a wrong type: invalid_argument, with the path", async (t) => {
    const rows = everyField().flatMap((field) => [true, 1.5, "\u00fc?", [[]], { x: [] }, -1]
      .filter((value) => !fits(field.field, value)).map((value) => ({ ...field, value })));
    t.diagnostic(`${rows.length} calls`);
    await each(rows, async (row) => {
      const { code, message } = await json(row.method, JSON.stringify(row.json(row.value)));
      assert.equal(code, "invalid_argument", `${called(row)}: ${JSON.stringify(row.value)}: ${message}`);
      assert.match(message, new RegExp(`^${row.path.replace(/[[\].]/g, "\\$&")}(\\[0\\])?: must be `), called(row));
    });
  });

  test("JSON that has it twice, in one spelling or in both", async () => {
    const rows = everyField();
    await each(rows, async (row) => {
      for (const name of new Set([row.field.jsonName, row.field.name])) {
        const text = JSON.stringify(row.json(null)).replace(`"${row.field.jsonName}":null`, `"${row.field.jsonName}":null,"${name}":null`);
        const { code, message } = await json(row.method, text);
        assert.equal(code, "invalid_argument", `${called(row)}: ${text}`);
        assert.match(message, name === row.field.jsonName ? /twice/ : /: stands twice, under both of its names$/);
      }
    });
  });

  test("protobuf of a wrong wire type, cut short, twice, with text that is none", async (t) => {
    const rows = everyField().flatMap((row) => {
      const { number } = row.field;
      const own = isNumber(row.field) && row.field.fieldKind !== "list" ? 0 : 2;
      const value = own === 0 ? Buffer.of(1) : Buffer.of(0);
      const tag = (type) => varint((number << 3) | type);
      const bad = [0, 1, 5].filter((type) => type !== own).map((type) => Buffer.concat([tag(type), Buffer.alloc(type === 1 ? 8 : type === 5 ? 4 : 1)]));
      bad.push(tag(own), Buffer.concat([tag(3)]), Buffer.concat([tag(6), Buffer.alloc(8)]));
      if (own === 2) bad.push(Buffer.concat([tag(2), Buffer.of(2, 0x61)]));
      if (row.field.fieldKind !== "list") bad.push(Buffer.concat([tag(own), value, tag(own), value]));
      if (isText(row.field)) for (const text of ["\x00", "\xff", "\xc0\x80", "\xed\xa0\x80", "\xf5\x80\x80\x80"]) bad.push(Buffer.concat([tag(2), Buffer.of(text.length), Buffer.from(text, "latin1")]));
      return bad.map((bytes) => ({ ...row, bytes: row.wire(bytes) }));
    });
    t.diagnostic(`${rows.length} calls`);
    await each(rows, async (row) => {
      const { code, message } = await proto(row.method, row.bytes);
      assert.equal(code, "invalid_argument", `${called(row)}: ${row.bytes.toString("hex")}: ${message}`);
    });
  });

  test("text that is not UTF-8, or has a NUL, in JSON", async () => {
    const rows = everyField().filter(({ field }) => isText(field));
    await each(rows, async (row) => {
      for (const text of ["\\u0000", "\\ud800", "\xff", "\xc0\x80"]) {
        const { code } = await json(row.method, Buffer.from(JSON.stringify(row.json("@")).replace("@", text), "latin1"));
        assert.equal(code, "invalid_argument", `${called(row)}: ${text}`);
      }
    });
  });

  test("what a later version would add is ignored, in either form", async () => {
    await each(implemented, async (method) => {
      const known = await json(method, "{}");
      assert.deepEqual(await json(method, '{"later":{"x":[1,null]}}'), known, method.name);
      assert.deepEqual(await proto(method, [0xf2, 0x07, 1, 0x78]), known, method.name);
    });
  });
});

/** Whether a wrong value is right for once. */
function fits(field, value) {
  if (value === -1) return field.fieldKind === "enum"; // an unknown number of an enum: the rules' matter
  if (field.fieldKind === "message") return !field.message.typeName.startsWith("google.") && !Array.isArray(value) && typeof value === "object";
  if (field.fieldKind === "list") return false;
  return (isText(field) && typeof value === "string") || (field.scalar === ScalarType.BOOL && value === true);
}

describe("what its rules do not allow: the same answer over JSON and protobuf", () => {
  const context = (change) => ({ user, context: change });
  const long = (length) => "x".repeat(length);
  const base64 = (length) => Buffer.alloc(length, 1).toString("base64");
  const id = `${"0".repeat(32)}-${"0".repeat(20)}`;
  const rows = () => [
    // method, request, code, what the message begins with
    ...["", long(257), "a\nb", "a\u202eb"].map((wrong) => ["CreateChallenge", { user: wrong }, "invalid_argument", "user: "]),
    ["CreateChallenge", {}, "invalid_argument", "user: "],
    ["CreateChallenge", { user: "nobody" }, "not_found", ""],
    ["CreateChallenge", { user, mode: 99 }, "failed_precondition", "mode: "],
    ["CreateChallenge", { user, mode: "MODE_CODE" }, "failed_precondition", "mode: "],
    ...[4, 99, -1].map((wrong) => ["CreateChallenge", { user, userVerification: wrong }, "invalid_argument", "userVerification: "]),
    ...["0s", "29.999s", "300.001s", "-60s", "315576000000s"].map((life) => ["CreateChallenge", { user, life }, "invalid_argument", "life: "]),
    ...[1, 15, 65, 1000].map((length) => ["CreateChallenge", { user, nonce: base64(length) }, "invalid_argument", "nonce: "]),
    ...[long(129), "a\u0001b"].map((browserSession) => ["CreateChallenge", { user, browserSession }, "invalid_argument", "browserSession: "]),
    ["CreateChallenge", { user, idempotencyKey: long(129) }, "invalid_argument", "idempotencyKey: "],
    ...["application", "address", "place", "browser", "operatingSystem", "message"].flatMap((name) =>
      [long(257), "a\nb", "a\u2067b"].map((wrong) => ["CreateChallenge", context({ [name]: wrong }), "invalid_argument", `context.${name}`])),
    ...[{ label: long(257), value: "v" }, { label: "l", value: long(257) }, { label: "a\nb" }, { value: "\u200e" }].map((field) =>
      ["CreateChallenge", context({ fields: [{ label: "l", value: "v" }, field] }), "invalid_argument", "context.fields"]),
    ["CreateChallenge", context({ fields: Array(17).fill({ label: "l", value: "v" }) }), "invalid_argument", "context.fields"],
    ["CreateChallenge", context({ fields: Array(16).fill({ label: long(200), value: long(200) }) }), "invalid_argument", "context"],
    ...["GetChallenge", "WatchChallenge", "ResendChallenge", "CancelChallenge", "GetEnrolment", "WatchEnrolment", "CancelEnrolment"].flatMap((method) =>
      ["", "x", long(5000), id, id.toUpperCase(), `${id}0`].map((wrong) => [method, { id: wrong }, "not_found", ""])),
    ["GetChallenge", { id, waitMs: 60001 }, "invalid_argument", "waitMs: "],
    ["GetChallenge", { id, waitMs: 4294967295 }, "invalid_argument", "waitMs: "],
    ...["", long(257), "a\nb"].map((wrong) => ["CreateEnrolment", { user: wrong }, "invalid_argument", "user: "]),
    ...["0s", "59.999s", "600.001s", "-60s"].map((life) => ["CreateEnrolment", { user: "new", life }, "invalid_argument", "life: "]),
    ...[3, 99, -1].map((confirmation) => ["CreateEnrolment", { user: "new", confirmation }, "invalid_argument", "confirmation: "]),
    ...[99, -1].map((platform) => ["CreateEnrolment", { user: "new", platform }, "invalid_argument", "platform: "]),
    ...["", "12345", "1234567", "12345x", long(5000)].map((code) => ["ConfirmEnrolment", { id, code }, "invalid_argument", "code: "]),
    ["ConfirmEnrolment", { id, code: "123456" }, "not_found", ""],
    ["GetUser", { user: "nobody" }, "not_found", ""],
    ["UnlockUser", { user: "" }, "invalid_argument", "user: "],
    ["UnlockUser", { user: "nobody" }, "not_found", ""],
    ["RevokeDevice", {}, "invalid_argument", "deviceId: "],
    ["RevokeDevice", { deviceId: long(5000) }, "invalid_argument", "deviceId: "],
  ];

  test("each row of the table", async (t) => {
    const table = rows();
    const failed = [];
    t.diagnostic(`${table.length} requests`);
    await each(table, async ([name, request, code, start]) => {
      const method = methods.find((one) => one.name === name);
      const text = JSON.stringify(request);
      const [said, inProto] = [await json(method, text), await proto(method, toBinary(method.input, fromJson(method.input, request)))];
      const row = `${name} ${text.slice(0, 200)}`;
      if (said.code !== code || !said.message.startsWith(start)) failed.push([row, said]);
      else if (said.message !== inProto.message || said.code !== inProto.code) failed.push([row, said, inProto]);
    });
    assert.deepEqual(failed, []);
  });
});
