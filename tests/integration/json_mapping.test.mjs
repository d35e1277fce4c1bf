// The JSON mapping of proto3, both ways, against another implementation of it (@bufbuild/protobuf): every message of the
// contract, every field, values at random and values that are wrong.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import path from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { create, equals, fromBinary, fromJson, ScalarType, toBinary, toJson } from "@bufbuild/protobuf";

import { file_nanopush_v1_admin } from "../../build/gen-js/nanopush/v1/admin_pb.js";
import { file_nanopush_v1_challenge } from "../../build/gen-js/nanopush/v1/challenge_pb.js";
import { file_nanopush_v1_enrolment } from "../../build/gen-js/nanopush/v1/enrolment_pb.js";
import { file_nanopush_v1_event } from "../../build/gen-js/nanopush/v1/event_pb.js";
import { file_nanopush_v1_user } from "../../build/gen-js/nanopush/v1/user_pb.js";

const TRANSCODE = path.join(process.env.BUILD ?? fileURLToPath(new URL("../../build", import.meta.url)), "tests/transcode");
const EACH = 60; // random messages of a kind

const files = [file_nanopush_v1_admin, file_nanopush_v1_challenge, file_nanopush_v1_enrolment, file_nanopush_v1_event, file_nanopush_v1_user];

/** All that some service takes or answers with, and its parts. */
const messages = (() => {
  const found = new Map();
  const add = (desc) => {
    if (found.has(desc.typeName) || desc.typeName.startsWith("google.")) return;
    found.set(desc.typeName, desc);
    for (const field of desc.fields) if (field.message) add(field.message);
  };
  for (const { services } of files)
    for (const { methods } of services) methods.forEach(({ input, output }) => [input, output].forEach(add));
  return [...found.values()];
})();

/** Numbers that look random and are the same on every run: 0 <= draw(n) < n. */
let drawn = 0;
const draw = (below) => createHash("sha256").update(`draw ${(drawn += 1)}`).digest().readUInt32BE(0) % below;
const oneOf = (list) => list[draw(list.length)];
const bytes = (length) => createHash("shake256", { outputLength: Math.max(length, 1) }).update(`bytes ${(drawn += 1)}`).digest().subarray(0, length);

const texts = ["", "a", "ada@example.com", 'quote " and \\ and / and \b\f\n\r\t', "\u0001\u001f\u007f", "Grüße, 世界 🔑", "\u2028\u2029", "<script>", "x".repeat(300)];
const scalar = {
  [ScalarType.STRING]: () => oneOf(texts),
  [ScalarType.BYTES]: () => new Uint8Array(bytes(oneOf([0, 1, 2, 3, 16, 65, 200]))),
  [ScalarType.BOOL]: () => draw(2) === 1,
  [ScalarType.UINT32]: () => oneOf([0, 1, 60_000, 0x7fffffff, 0xffffffff]),
  [ScalarType.UINT64]: () => oneOf([0n, 1n, 2n ** 53n + 1n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n]),
};

const time = (name) => name === "google.protobuf.Timestamp"
  ? { seconds: oneOf([0n, 1n, 1795000000n, -62135596800n, 253402300799n]), nanos: oneOf([0, 1, 1000, 500_000_000, 999_999_999]) }
  : { seconds: oneOf([0n, 60n, 315576000000n]), nanos: oneOf([0, 1, 1_000_000, 999_999_999].slice(0, 3)) };

function valueOf({ scalar: type, enum: values, message }) {
  if (message) return message.typeName.startsWith("google.protobuf.") ? create(message, time(message.typeName)) : instance(message);
  if (values) return oneOf(values.values).number;
  assert.ok(scalar[type], `a field of type ${ScalarType[type]}: give the test values for it`);
  return scalar[type]();
}

function instance(desc) {
  const init = {};
  for (const field of desc.fields.filter(({ oneof }) => !oneof))
    if (draw(4) > 0)
      init[field.localName] = field.fieldKind === "list"
        ? Array.from({ length: draw(4) }, () => valueOf(field))
        : valueOf(field);
  for (const oneof of desc.oneofs) {
    const field = oneOf(oneof.fields);
    init[oneof.localName] = { case: field.localName, value: valueOf(field) };
  }
  return create(desc, init);
}

/** What the broker makes of each: {ok: bytes} or {error: what it says}. */
function transcoded(rows) {
  const input = rows.map(([direction, desc, data]) => `${direction} ${desc.typeName} ${Buffer.from(data).toString("hex")}\n`).join("");
  const { status, stdout, stderr, error } = spawnSync(TRANSCODE, { input, encoding: "utf8", maxBuffer: 1 << 28 });
  assert.equal(status, 0, `${error ?? stderr}`);
  const lines = stdout.split("\n").slice(0, -1);
  assert.equal(lines.length, rows.length);
  return lines.map((line) => (line.startsWith("ok ") ? { ok: Buffer.from(line.slice(3), "hex") } : { error: line }));
}

test("the messages of the contract are all there", () => {
  assert.ok(messages.length > 40, `${messages.length}`);
});

describe("what is right", () => {
  const samples = messages.flatMap((desc) => [create(desc), ...Array.from({ length: EACH }, () => instance(desc))].map((message) => ({ desc, message })));

  test(`${samples.length} messages are written as the other implementation writes them`, () => {
    const written = transcoded(samples.map(({ desc, message }) => ["binary", desc, toBinary(desc, message)]));
    samples.forEach(({ desc, message }, at) => {
      assert.ok(written[at].ok, `${desc.typeName}: ${written[at].error}`);
      assert.deepEqual(JSON.parse(written[at].ok.toString()), toJson(desc, message), desc.typeName);
    });
  });

  const forms = {
    "as it is usually written": (desc, message) => JSON.stringify(toJson(desc, message)),
    "with defaults written out": (desc, message) => JSON.stringify(toJson(desc, message, { alwaysEmitImplicit: true })),
    "with the names of the .proto file": (desc, message) => JSON.stringify(toJson(desc, message, { useProtoFieldName: true })),
    "with enums as numbers": (desc, message) => JSON.stringify(toJson(desc, message, { enumAsInteger: true })),
    "indented, with non-ASCII escaped": (desc, message) => JSON.stringify(toJson(desc, message), null, 2)
      .replace(/[^\x20-\x7e\n]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`),
    "with 32-bit numbers as strings": (desc, message) => JSON.stringify(toJson(desc, message), (_, value) => (typeof value === "number" ? `${value}` : value)),
    "with what a later version would add": (desc, message) => JSON.stringify({ later: { x: [1, null, { y: "z" }] }, ...toJson(desc, message), alsoLater: 1.5e300 }),
    "with null for what is absent": (desc, message) => JSON.stringify({ ...Object.fromEntries(desc.fields.map(({ jsonName }) => [jsonName, null])), ...toJson(desc, message) }),
  };
  for (const [name, form] of Object.entries(forms))
    test(`${samples.length} messages are read ${name}`, () => {
      const read = transcoded(samples.map(({ desc, message }) => ["json", desc, form(desc, message)]));
      samples.forEach(({ desc, message }, at) => {
        const text = form(desc, message);
        assert.ok(read[at].ok, `${desc.typeName}: ${read[at].error} for ${text}`);
        const other = fromJson(desc, JSON.parse(text), { ignoreUnknownFields: true });
        assert.ok(equals(desc, fromBinary(desc, read[at].ok), other), `${desc.typeName}: ${text}`);
        assert.ok(equals(desc, other, message), "as does the other one");
      });
    });

  test("bytes in either base64, padded or not", () => {
    const wanted = [bytes(1), bytes(2), bytes(3), Buffer.of(0xfb, 0xff, 0xfe)];
    const desc = messages.find(({ name }) => name === "CreateChallengeRequest");
    const texts = wanted.flatMap((each) => [each.toString("base64"), each.toString("base64url"), each.toString("base64").replace(/=/g, ""),
      each.toString("base64url") + "=".repeat((3 - (each.length % 3)) % 3)].map((text) => [each, text]));
    const read = transcoded(texts.map(([, text]) => ["json", desc, JSON.stringify({ nonce: text })]));
    texts.forEach(([each, text], at) => {
      assert.ok(read[at].ok, `${text}: ${read[at].error}`);
      assert.deepEqual(Buffer.from(fromBinary(desc, read[at].ok).nonce), each, text);
    });
  });
});

describe("what is wrong", () => {
  const kindOf = ({ fieldKind, listKind, scalar: type, enum: values, message }) =>
    fieldKind === "list" ? "list" : message ? (message.typeName.startsWith("google.protobuf.") ? message.name : "message") : values ? "enum" : ScalarType[type];
  const everything = [true, 1, -1, 1.5, 1e300, "x", [], [1], {}, { x: 1 }, [null], [[]]];
  const numbers = ["", " 1", "1 ", "+1", "--1", "-", "1x", "٣", "NaN", "Infinity", "1.5", 4294967296, "18446744073709551616"];
  const wrong = {
    list: everything.filter((value) => !Array.isArray(value)),
    message: everything.filter((value) => typeof value !== "object" || Array.isArray(value)),
    enum: [true, 1.5, 1e300, "x", "", "mode_tap", [], {}, 2147483648, -2147483649],
    STRING: everything.filter((value) => typeof value !== "string"),
    BYTES: [...everything.filter((value) => typeof value !== "string"), "?", "a", "ab=c", "====", "aGk=aGk=", "ä"],
    BOOL: everything.filter((value) => value !== true).concat(["true", "false", 0, ""]),
    UINT32: [...everything.filter((value) => value !== 1), ...numbers],
    UINT64: [...everything.filter((value) => value !== 1 && value !== 1e300), ...numbers.filter((value) => value !== 4294967296), 1e300],
    Timestamp: [...everything, "", "2026-01-31", "2026-01-31T09:30:00", "2026-13-31T09:30:00Z", "2026-01-31T25:30:00Z", "2026-01-31 09:30:00Z",
      "0000-01-31T09:30:00Z", "10000-01-31T09:30:00Z", "2026-01-31T09:30:00.1234567890Z", "2026-01-31T09:30:00+25:00"],
    Duration: [...everything, "", "60", "s", "60 s", "1m", "60S", "1.s", "1.0000000001s", "315576000001s", "--1s", "+-1s"],
  };

  /** What the other implementation takes all the same: it skips names of enums that it does not know. */
  const lax = {
    enum: ["x", "", "mode_tap", 1e300, 2147483648, -2147483649],
    BYTES: ["====", "aGk=aGk="],
    UINT32: ["+1"],
    UINT64: ["+1", " 1", "1 "],
  };

  /** Each field of each message with a wrong value: [desc, text, path, whether the other one takes it]. */
  const rows = messages.flatMap((desc) => desc.fields.flatMap((field) => {
    const kind = kindOf(field);
    assert.ok(wrong[kind], `wrong values for ${kind} of ${desc.typeName}.${field.name}`);
    const row = (of, value, written, at) => [desc, JSON.stringify({ [field.jsonName]: written }), at, (lax[of] ?? []).includes(value)];
    const own = wrong[kind].map((value) => row(kind, value, value, field.jsonName));
    if (kind !== "list") return own;
    const element = { fieldKind: "singular", scalar: field.scalar, enum: field.enum, message: field.message };
    const of = kindOf(element);
    return own.concat([...wrong[of], null].map((value) => row(of, value, [value], `${field.jsonName}[0]`)));
  }));

  test(`${rows.length} fields of a wrong type or out of range: refused by both, with the path`, () => {
    const read = transcoded(rows.map(([desc, text]) => ["json", desc, text]));
    rows.forEach(([desc, text, at, taken], index) => {
      const { error = "taken" } = read[index];
      assert.ok(error.includes(`: ${at}: must be `), `${desc.typeName}: ${text}: ${error}`);
      const other = () => fromJson(desc, JSON.parse(text), { ignoreUnknownFields: true });
      if (taken) other();
      else assert.throws(other, undefined, `${desc.typeName}: the other one takes ${text}`);
    });
  });

  test("every field that stands twice, under one name or under both", () => {
    const twice = messages.flatMap((desc) => desc.fields.flatMap((field) => {
      const value = JSON.stringify(toJson(desc, create(desc, { }), { alwaysEmitImplicit: true })[field.jsonName] ?? null);
      const same = [desc, `{"${field.jsonName}":${value},"${field.jsonName}":${value}}`];
      return field.jsonName === field.name ? [same] : [same, [desc, `{"${field.jsonName}":${value},"${field.name}":${value}}`]];
    }));
    transcoded(twice.map(([desc, text]) => ["json", desc, text]))
      .forEach(({ error }, at) => assert.match(error ?? "taken", /twice/, `${twice[at][0].typeName}: ${twice[at][1]}`));
  });

  test("every text with a NUL, a lone surrogate or bytes that are no UTF-8", () => {
    const bad = messages.flatMap((desc) => desc.fields.filter(({ fieldKind, scalar: type }) => fieldKind === "scalar" && type === ScalarType.STRING)
      .flatMap(({ jsonName }) => ["\\u0000", "\\ud800", "\\udc00x", "\xff", "\xc0\x80", "\xed\xa0\x80"]
        .map((text) => [desc, Buffer.from(`{"${jsonName}":"a${text}"}`, "latin1")])));
    transcoded(bad.map(([desc, text]) => ["json", desc, text]))
      .forEach(({ error }, at) => assert.ok(error, `${bad[at][0].typeName}: ${bad[at][1]}`));
  });
});
