// What clients/node/approval.mjs lets a portal believe, and each thing that it must refuse: against answers of the phone
// of these tests, right in all but one, and against proto/vectors. No broker: it could be anybody's.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { create, fromJson, toBinary } from "@bufbuild/protobuf";

import { DisplaySchema, Mode, Occasion, UserVerification } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { EnrolmentState } from "../../build/gen-js/nanopush/v1/enrolment_pb.js";
import { es256, jwkOf, jwsInput, proof } from "../vectors/inputs.mjs";
import { makeKey, makeKeys, Phone } from "./phone.mjs";

const generate = fileURLToPath(new URL("../../clients/node/generate.sh", import.meta.url));
execFileSync(generate, { stdio: ["ignore", "ignore", "inherit"] });
const { followRotations, pinPhone, Refusal, verifyApproval } = await import("../../clients/node/approval.mjs");

const NOW_MS = 1_790_000_000_000;
const CONTEXT = {
  application: "Payroll",
  address: "192.0.2.7",
  place: "Würzburg, Deutschland",
  browser: "Firefox 128",
  operatingSystem: "Debian 12",
  message: "Monthly run",
  fields: [{ label: "Batch", value: "2026-11" }],
};
const vectors = (name) => JSON.parse(readFileSync(new URL(`../../proto/vectors/${name}.json`, import.meta.url))).vectors;
const bytes = (hex) => Buffer.from(hex, "hex");

const displayOf = (asked, changes = {}) => toBinary(DisplaySchema, create(DisplaySchema, {
  organisation: "Example GmbH",
  portal: asked.portalName ?? "Example Portal",
  user: asked.user,
  ...asked.context,
  occasion: Occasion.SIGN_IN,
  ...changes,
}));

const somebodysPhone = (deviceId = "device-1") =>
  Object.assign(new Phone(), { ...makeKeys(), deviceId, organisation: "example", user: "ada", clock: () => NOW_MS });

const pinOf = ({ deviceId, organisation, user, generation, possession, verification }) => ({
  deviceId,
  organisation,
  user,
  generation,
  keys: [
    { role: "possession", kid: possession.thumbprint, jwk: possession.jwk },
    { role: "user_verification", kid: verification.thumbprint, jwk: verification.jwk },
  ],
});

/** A set as `used` wants it. */
function oncePerNonce() {
  const nonces = new Set();
  return (nonce) => nonces.has(nonce) || !nonces.add(nonce);
}

/** A question with a phone that can answer it. */
function world(changes = {}) {
  const phone = somebodysPhone();
  const asked = {
    portal: "nano-prod",
    organisation: "example",
    user: "ada",
    id: "challenge-1",
    nonce: randomBytes(32),
    mode: Mode.TAP,
    userVerification: UserVerification.REQUIRED,
    number: "",
    context: CONTEXT,
    ...changes,
  };
  const push = {
    portalId: asked.portal,
    challengeId: asked.id,
    nonce: asked.nonce,
    mode: asked.mode,
    userVerification: asked.userVerification,
    display: displayOf(asked),
    expireUnixS: NOW_MS / 1000 + 60,
  };
  return { phone, asked, push, pins: [pinOf(phone)], used: oncePerNonce(), now: NOW_MS };
}

/** Verify what the phone says to the push, or another jws or display than that. */
function verify({ phone, push, ...all }, { decision = "approve", jws, display, ...changes } = {}) {
  const answer = { jws: jws ?? phone.answer(push, decision, { code: all.asked.number || undefined, ...changes }) };
  return verifyApproval({ ...all, challenge: { answer, display: display ?? push.display } });
}

async function refuses(call, reason, point) {
  await assert.rejects(call, (error) => {
    assert.ok(error instanceof Refusal, String(error.stack));
    assert.equal(error.reason, reason);
    if (point !== undefined) assert.equal(error.point, point);
    assert.ok(error.message.length > 0);
    return true;
  });
}

describe("holds", () => {
  const coded = { mode: Mode.CODE, number: "042" };
  for (const [title, asked, changes] of [
    ["a tap", {}],
    ["a number chosen", { mode: Mode.CHOOSE, number: "17" }],
    ["a number typed", coded],
    ["a stronger mode than was asked", { mode: Mode.CHOOSE, number: "17" }, { claims: { mode: "code" } }],
    ["without a context", { context: undefined }],
    ["the portal's own name shown", { portalName: "Example Portal", organisationName: "Example GmbH" }],
  ])
    test(title, async () => {
      const all = world(asked);
      const claims = await verify(all, changes);
      assert.equal(claims.iss, all.phone.deviceId);
      assert.equal(claims.decision, "approve");
    });

  for (const userVerification of [UserVerification.PREFERRED, UserVerification.NOT_ASKED])
    test(`the possession key, where user verification was ${UserVerification[userVerification]}`, async () => {
      const all = world({ userVerification });
      await verify(all, { key: all.phone.possession });
    });

  test("a second phone of the user", async () => {
    const all = world();
    await verify({ ...all, pins: [pinOf(somebodysPhone("device-0")), ...all.pins] });
  });

  test("members of the header in any order", async () => {
    const all = world();
    const { privateKey, thumbprint: kid } = all.phone.verification;
    const claims = JSON.parse(Buffer.from(all.phone.answer(all.push, "approve").split(".")[1], "base64url"));
    const input = jwsInput({ kid, typ: "nanopush-approval+jwt", alg: "ES256" }, claims);
    await verify(all, { jws: `${input}.${es256(privateKey, Buffer.from(input)).toString("base64url")}` });
  });

  test("another sign-in under way, which the broker says and not the portal", async () => {
    const all = world();
    all.push.display = displayOf(all.asked, { otherSignIn: true });
    await verify(all);
  });

  test("a name with everything in it that JSON writes in its own way", async () => {
    const all = world({ user: 'Ž "a\\b": {x}:/\u2028' });
    Object.assign(all.phone, { user: all.asked.user });
    await verify(all);
  });

  test("used may promise", async () => {
    const all = world();
    await verify({ ...all, used: async () => false });
    await refuses(verify({ ...all, used: async () => true }), "nonce_used");
  });
});

describe("1: whose statement it is", () => {
  test("no answer at all", async () => {
    const { phone, push, ...all } = world();
    await refuses(verifyApproval({ ...all, challenge: { display: push.display } }), "no_jws", 1);
  });

  for (const [title, change] of [
    ["cut short at each byte", null],
    ["a byte too long", (jws) => `${jws}A`],
    ["padding", (jws) => `${jws}=`],
    ["a line end", (jws) => `${jws}\n`],
    ["a fourth part", (jws) => `${jws}.e30`],
    ["no header", (jws) => jws.replace(/^[^.]*/, "")],
  ])
    test(`no JWS: ${title}`, async () => {
      const all = world();
      const jws = all.phone.answer(all.push, "approve");
      for (const wrong of change ? [change(jws)] : Array.from(jws, (_, at) => jws.slice(0, at)))
        await refuses(verify(all, { jws: wrong }), "no_jws", 1);
    });

  test("no JWS: longer than any, though rightly signed", () =>
    refuses(verify(world(), { claims: { jti: "a".repeat(16384) } }), "no_jws", 1));

  for (const [title, header] of [
    ["alg none", { alg: "none" }],
    ["alg HS256", { alg: "HS256" }],
    ["a further member", { jwk: makeKey().jwk }],
    ["a further member that is plain", { crit: "" }],
    ["no typ", { typ: undefined }],
    ["no kid", { kid: undefined }],
  ])
    test(`a header with ${title}`, () => refuses(verify(world(), { header }), "no_jws", 1));

  test("a key that was never pinned", async () => {
    await refuses(verify(world(), { key: makeKey() }), "key_unknown", 1);
    await refuses(verify({ ...world(), pins: [] }), "key_unknown", 1);
    await refuses(verify(world(), { header: { kid: "__proto__" } }), "key_unknown", 1);
  });

  test("the possession key, where user verification was asked", async () => {
    for (const userVerification of [UserVerification.REQUIRED, UserVerification.UNSPECIFIED, undefined]) {
      const all = world({ userVerification });
      await refuses(verify(all, { key: all.phone.possession }), "key_role", 1);
    }
  });

  test("another key's signature under a pinned kid", async () => {
    const all = world();
    const { thumbprint: kid } = all.phone.verification;
    await refuses(verify(all, { key: makeKey(), header: { kid } }), "signature", 1);
  });

  test("claims changed after they were signed", async () => {
    const all = world();
    const [header, , signature] = all.phone.answer(all.push, "approve", { claims: { jti: "another" } }).split(".");
    const [, payload] = all.phone.answer(all.push, "approve").split(".");
    await refuses(verify(all, { jws: [header, payload, signature].join(".") }), "signature", 1);
  });

  for (const typ of ["nanopush-refusal+jwt", "nanopush-rotation+jwt", "JWT", "NANOPUSH-APPROVAL+JWT"])
    test(`typ ${typ}`, () => refuses(verify(world(), { header: { typ } }), "type", 1));

  for (const decision of ["deny", "not_me"])
    test(`a refusal in place of an approval: ${decision}`, async () => {
      const all = world();
      await refuses(verify(all, { decision, key: all.phone.verification }), "type", 1);
      await refuses(verify(all, { decision }), "key_role", 1);
    });

  test("claims of another kind", async () => {
    for (const claims of [
      { v: 2 }, { v: "1" }, { extra: 1 }, { exp: "1790000060" }, { exp: 1.5 }, { org: "" }, { sub: ["ada"] },
      { mode: "tap", code: "042" }, { mode: "constructor", code: "042" },
    ])
      await refuses(verify(world(), { claims }), "no_statement", 1);
    await refuses(verify(world({ mode: Mode.CODE, number: "042" }), { claims: { code: 42 } }), "no_statement", 1);
    await refuses(verify(world({ mode: Mode.CODE, number: "042" }), { code: "042\n" }), "no_statement", 1);
  });

  test("one phone's name under another's key", async () => {
    const all = world();
    const other = pinOf(somebodysPhone("device-2"));
    await refuses(verify({ ...all, pins: [...all.pins, other] }, { claims: { iss: "device-2" } }), "device", 1);
  });
});

describe("2 and 3: that it answers this question, once", () => {
  for (const [claim, reason] of [["aud", "audience"], ["org", "organisation"], ["sub", "subject"], ["jti", "challenge"]])
    test(`another ${reason}`, () => refuses(verify(world(), { claims: { [claim]: "another" } }), reason, 2));

  test("another nonce", async () => {
    await refuses(verify(world(), { claims: { nonce: randomBytes(32).toString("base64url") } }), "nonce", 3);
    const all = world();
    const padded = `${all.asked.nonce.toString("base64url")}=`;
    await refuses(verify(all, { claims: { nonce: padded } }), "nonce", 3);
  });

  test("a nonce too short to be anybody's own", () => refuses(verify(world({ nonce: Buffer.alloc(15) })), "nonce", 3));

  test("a nonce used twice", async () => {
    const all = world();
    const jws = all.phone.answer(all.push, "approve");
    await verify(all, { jws });
    await refuses(verify(all, { jws }), "nonce_used", 3);
  });

  test("two at once: one of them", async () => {
    const all = world();
    const jws = all.phone.answer(all.push, "approve");
    const outcomes = await Promise.allSettled([verify(all, { jws }), verify(all, { jws })]);
    assert.deepEqual(outcomes.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
  });

  test("an old approval, replayed to a new question", async () => {
    const old = world();
    const jws = old.phone.answer(old.push, "approve");
    await verify(old, { jws });
    const asked = { ...old.asked, id: "challenge-2", nonce: randomBytes(32) };
    await refuses(verify({ ...old, asked }, { jws }), "challenge", 2);
    await refuses(verify({ ...old, asked: { ...asked, id: old.asked.id } }, { jws }), "nonce", 3);
  });

  test("the nonce is not spent by somebody else's answer", async () => {
    const all = world();
    await refuses(verify(all, { key: makeKey() }), "key_unknown");
    await refuses(verify(all, { claims: { aud: "another" } }), "audience");
    await verify(all);
  });
});

describe("4: how it was said", () => {
  const MODES = ["tap", "choose", "code"];
  for (const [asked, answered] of [[Mode.CODE, "tap"], [Mode.CODE, "choose"], [Mode.CHOOSE, "tap"]])
    test(`${answered} where ${Mode[asked]} was asked`, async () => {
      const all = world({ mode: asked, number: "17" });
      const code = answered === "tap" ? undefined : "17";
      await refuses(verify(all, { claims: { mode: answered, code } }), "mode", 4);
    });

  test("a mode that was not named is none", async () => {
    for (const mode of [Mode.UNSPECIFIED, undefined])
      for (const answered of MODES) {
        const all = world({ mode, number: "17" });
        await refuses(verify(all, { claims: { mode: answered, code: answered === "tap" ? undefined : "17" } }), "mode", 4);
      }
  });

  test("another number than was shown", async () => {
    for (const code of ["043", "42", "0042", "0"])
      await refuses(verify(world({ mode: Mode.CODE, number: "042" }), { code }), "code", 4);
  });

  test("a number, where none was shown", async () => {
    await refuses(verify(world(), { claims: { mode: "code", code: "042" } }), "code", 4);
    await refuses(verify(world({ mode: Mode.CODE, number: "" }), { code: "042" }), "code", 4);
  });

  test("none, where one was shown", () =>
    refuses(verify(world({ number: "042" }), { claims: { code: undefined } }), "code", 4));
});

describe("5: what was shown", () => {
  test("other bytes than were signed", async () => {
    for (const display of [displayOf(world().asked, { place: "elsewhere" }), new Uint8Array()])
      await refuses(verify(world(), { display }), "display_hash", 5);
  });

  const changes = {
    user: "ben",
    application: "Mail",
    address: "192.0.2.8",
    place: "",
    browser: "another",
    operatingSystem: "another",
    message: "another",
    fields: [],
    occasion: Occasion.NEW_PHONE,
    portal: "Another Portal",
    organisation: "Another GmbH",
  };
  for (const [field, value] of Object.entries(changes))
    test(`another ${field}, shown and signed`, async () => {
      const all = world({ portalName: "Example Portal", organisationName: "Example GmbH" });
      all.push.display = displayOf(all.asked, { [field]: value });
      await refuses(verify(all), "display_content", 5);
    });

  test("one field more, or with another label, or in another order", async () => {
    const [batch, other] = [CONTEXT.fields[0], { label: "Approver", value: "Ben" }];
    for (const [sent, shown] of [
      [[batch], [batch, other]],
      [[batch], [{ ...batch, label: "b" }]],
      [[batch, other], [other, batch]],
    ]) {
      const all = world({ context: { ...CONTEXT, fields: sent } });
      all.push.display = displayOf(all.asked, { fields: shown });
      await refuses(verify(all), "display_content", 5);
    }
  });

  test("a field that nobody knows, and what is no Display", async () => {
    const unknown = Buffer.from([0x98, 0x06, 0x01]); // field 99, a varint
    for (const wrong of [Buffer.concat([displayOf(world().asked), unknown]), Buffer.from([0x0a, 0xff])]) {
      const all = world();
      all.push.display = wrong;
      await refuses(verify(all), "display_content", 5);
    }
  });
});

describe("6 and 7: that it says yes, and still counts", () => {
  for (const decision of ["deny", "not_me"])
    test(`${decision}, as an approval`, () => refuses(verify(world(), { claims: { decision } }), "decision", 6));

  test("expired by the portal's own clock", async () => {
    const all = world();
    const end = Number(all.push.expireUnixS) * 1000;
    await verify({ ...all, now: end - 1, used: oncePerNonce() });
    for (const now of [end, end + 1]) await refuses(verify({ ...all, now, used: oncePerNonce() }), "expired", 7);
  });
});

describe("the vectors of answers", () => {
  const all = vectors("answer");
  const named = (name) => all.find((vector) => vector.name === name);
  const keyOf = (role, { signer_point: point, signer_thumbprint: kid }) => ({ role, kid, jwk: jwkOf(bytes(point)) });
  const [yes, no] = [named("approve, tap"), named("deny, by the possession key")];
  const { iss, org, sub, aud, jti, nonce, exp } = JSON.parse(yes.claims);
  const { bytes: shown, display } = vectors("display")[0];
  const pins = [{ deviceId: iss, keys: [keyOf("possession", no), keyOf("user_verification", yes)] }];
  const { application, address, place, browser, operatingSystem, message, fields } = fromJson(DisplaySchema, display);

  const verifyVector = ({ jws }, { mode, number }) => verifyApproval({
    challenge: { answer: { jws }, display: bytes(shown) },
    asked: {
      portal: aud, organisation: org, user: sub, id: jti, nonce: Buffer.from(nonce, "base64url"), mode, number,
      context: { application, address, place, browser, operatingSystem, message, fields },
    },
    pins,
    now: (exp - 1) * 1000,
    used: oncePerNonce(),
  });

  for (const [name, how] of [
    ["approve, tap", { mode: Mode.TAP }],
    ["approve, choose", { mode: Mode.CHOOSE, number: "17" }],
    ["approve, code", { mode: Mode.CODE, number: "042" }],
  ])
    test(name, () => verifyVector(named(name), how));

  const REASONS = { jws: "no_jws", claims: "no_statement", signature: "signature" };
  const SOONER = { "nonce of 15 bytes": "nonce", "deny with a code": "key_role" };
  for (const { name, refused, jws } of all.filter((vector) => vector.refused))
    test(`refused: ${name}`, () => refuses(verifyVector({ jws }, { mode: Mode.TAP }), SOONER[name] ?? REASONS[refused]));
});

describe("pinning a phone", () => {
  const secret = randomBytes(16);
  const asked = { id: "enrolment-1", organisation: "example", user: "ada", secret };
  const { possession, verification } = makeKeys();
  const parts = { ...asked, enrolmentId: asked.id, tp1: possession.thumbprint, tp2: verification.thumbprint };
  const done = (device = {}, enrolment = {}) => ({
    state: EnrolmentState.DONE,
    ...enrolment,
    device: {
      deviceId: "device-1",
      possessionKey: possession.point,
      userVerificationKey: verification.point,
      possessionThumbprint: possession.thumbprint,
      userVerificationThumbprint: verification.thumbprint,
      proof: proof(secret, parts),
      ...device,
    },
  });

  test("both keys, under thumbprints of its own making", async () => {
    const pin = await pinPhone({ enrolment: done(), asked });
    assert.deepEqual(pin, pinOf({ ...somebodysPhone(), possession, verification }));
    assert.deepEqual(JSON.parse(JSON.stringify(pin)), pin, "plain JSON");
  });

  test("the vector", async () => {
    const [vector] = vectors("enrol");
    const pin = await pinPhone({
      enrolment: {
        state: EnrolmentState.DONE,
        device: {
          deviceId: "d",
          possessionKey: bytes(vector.possession_point),
          userVerificationKey: bytes(vector.user_verification_point),
          possessionThumbprint: vector.possession_thumbprint,
          userVerificationThumbprint: vector.user_verification_thumbprint,
          proof: bytes(vector.proof),
        },
      },
      asked: { id: vector.enrolment_id, organisation: vector.organisation, user: vector.user, secret: bytes(vector.secret) },
    });
    assert.deepEqual(pin.keys.map(({ kid }) => kid), [vector.possession_thumbprint, vector.user_verification_thumbprint]);
  });

  test("not before the enrolment is done", async () => {
    for (const state of [EnrolmentState.WAITING, EnrolmentState.TO_CONFIRM, EnrolmentState.TO_APPROVE, EnrolmentState.VOID])
      await refuses(pinPhone({ enrolment: done({}, { state }), asked }), "not_done", 0);
    await refuses(pinPhone({ enrolment: { state: EnrolmentState.DONE }, asked }), "not_done", 0);
  });

  test("no proof, or one of something else", async () => {
    const off = Buffer.from(proof(secret, parts));
    off[31] ^= 1;
    const wrong = [
      new Uint8Array(), off, off.subarray(1), proof(randomBytes(16), parts),
      ...["organisation", "user", "enrolmentId"].map((name) => proof(secret, { ...parts, [name]: "another" })),
      proof(secret, { ...parts, tp1: parts.tp2, tp2: parts.tp1 }),
    ];
    for (const each of wrong) await refuses(pinPhone({ enrolment: done({ proof: each }), asked }), "proof", 0);
  });

  test("a secret that anybody can guess proves nothing", async () => {
    for (const guessed of [Buffer.alloc(0), Buffer.alloc(15)]) {
      const enrolment = done({ proof: proof(guessed, parts) });
      await refuses(pinPhone({ enrolment, asked: { ...asked, secret: guessed } }), "proof", 0);
    }
  });

  test("other keys than the proven ones", async () => {
    const other = makeKey();
    await refuses(pinPhone({ enrolment: done({ userVerificationKey: other.point }), asked }), "key", 0);
    const both = { userVerificationKey: other.point, userVerificationThumbprint: other.thumbprint };
    await refuses(pinPhone({ enrolment: done(both), asked }), "proof", 0);
    for (const name of ["possessionThumbprint", "userVerificationThumbprint"])
      await refuses(pinPhone({ enrolment: done({ [name]: other.thumbprint }), asked }), "key", 0);
    const same = { userVerificationKey: possession.point, userVerificationThumbprint: possession.thumbprint };
    await refuses(pinPhone({ enrolment: done(same), asked }), "key", 0);
  });

  test("what is no point of P-256", async () => {
    const off = Buffer.from(possession.point);
    off[64] ^= 1;
    const hybrid = Buffer.concat([Buffer.of(6), possession.point.subarray(1)]);
    const compressed = Buffer.concat([Buffer.of(2), possession.point.subarray(1, 33)]);
    const long = Buffer.concat([possession.point, Buffer.of(0)]);
    const short = possession.point.subarray(0, 64);
    for (const point of [off, hybrid, compressed, long, short, new Uint8Array(), Buffer.alloc(65, 4)])
      await refuses(pinPhone({ enrolment: done({ possessionKey: point }), asked }), "key", 0);
  });
});

describe("following rotations", () => {
  /** A phone that took new keys so many times, the pin of its first ones, and what GetUser says of it. */
  function rotated(times, changes = {}) {
    const phone = somebodysPhone();
    const pin = { ...pinOf(phone), name: "Ada's phone" };
    const device = { id: phone.deviceId, rotations: [] };
    for (let done = 0; done < times; done++) {
      const keys = makeKeys();
      const { jws } = phone.rotateFields(keys, changes);
      device.rotations.push({ jws, userVerificationKey: keys.verification.point });
      Object.assign(phone, keys, { generation: phone.generation + 1 });
    }
    Object.assign(device, {
      generation: phone.generation,
      possessionKey: phone.possession.point,
      userVerificationKey: phone.verification.point,
    });
    return { phone, pin, device };
  }

  for (const times of [0, 1, 3])
    test(`${times} of them`, async () => {
      const { phone, pin, device } = rotated(times);
      assert.deepEqual(await followRotations(pin, device), { ...pinOf(phone), name: pin.name });
    });

  test("from where the pin was moved to last", async () => {
    const { phone, pin, device } = rotated(3);
    const [first] = device.rotations;
    const { tp1 } = JSON.parse(Buffer.from(first.jws.split(".")[1], "base64url"));
    const between = await followRotations(pin, { ...device, rotations: [first], generation: 2 }).catch((error) => error);
    assert.equal(between.reason, "rotation", "to the keys of now, or not at all");
    const second = JSON.parse(Buffer.from(device.rotations[1].jws.split(".")[0], "base64url")).kid;
    const moved = {
      ...pin,
      generation: 2,
      keys: [
        { role: "possession", kid: tp1 },
        { role: "user_verification", kid: second, jwk: jwkOf(first.userVerificationKey) },
      ],
    };
    assert.deepEqual(await followRotations(moved, device), { ...pinOf(phone), name: pin.name });
  });

  test("the vector", async () => {
    const [vector] = vectors("acts");
    const pin = {
      deviceId: vector.device_id,
      organisation: vector.organisation,
      user: vector.user,
      generation: vector.generation,
      keys: [
        { role: "possession", kid: "before" },
        { role: "user_verification", kid: vector.signer_thumbprint, jwk: jwkOf(bytes(vector.signer_point)) },
      ],
    };
    const point = bytes(vector.next_user_verification_point);
    const moved = await followRotations(pin, {
      id: vector.device_id,
      generation: vector.generation + 1,
      rotations: [{ jws: vector.jws, userVerificationKey: point }],
      possessionKey: bytes(vector.next_possession_point),
      userVerificationKey: point,
    });
    const next = [vector.next_possession_thumbprint, vector.next_user_verification_thumbprint];
    assert.deepEqual(moved.keys.map(({ kid }) => kid), next);
  });

  for (const [title, change] of [
    ["new keys without a rotation", (device) => (device.rotations = [])],
    ["one left out", (device) => device.rotations.splice(1, 1)],
    ["another phone", (device) => (device.id = "device-2")],
    ["another generation", (device) => (device.generation += 1)],
    ["another possession key of now", (device) => (device.possessionKey = makeKey().point)],
    ["another user-verification key of now", (device) => (device.userVerificationKey = makeKey().point)],
    ["another key shown than was named", (device) => (device.rotations[0].userVerificationKey = makeKey().point)],
  ])
    test(`refused: ${title}`, async () => {
      const { pin, device } = rotated(3);
      change(device);
      await refuses(followRotations(pin, device), "rotation", 0);
    });

  for (const [title, changes] of [
    ["signed by another key", { key: makeKey() }],
    ["of another type", { header: { typ: "nanopush-approval+jwt" } }],
    ["of another phone", { claims: { iss: "device-2" } }],
    ["of another organisation", { claims: { org: "another" } }],
    ["of another user", { claims: { sub: "ben" } }],
    ["of the same generation", { claims: { gen: 1 } }],
    ["of another version", { claims: { v: 2 } }],
    ["with a further claim", { claims: { extra: 1 } }],
    ["for another possession key", { claims: { tp1: makeKey().thumbprint } }],
    ["for another user-verification key", { claims: { tp2: makeKey().thumbprint } }],
  ])
    test(`refused: ${title}`, async () => {
      const { pin, device } = rotated(1, changes);
      await refuses(followRotations(pin, device), "rotation", 0);
    });

  test("refused: signed by another key under the pinned kid", async () => {
    const { pin, device } = rotated(1, { key: makeKey() });
    const [header, ...rest] = device.rotations[0].jws.split(".");
    const named = { ...JSON.parse(Buffer.from(header, "base64url")), kid: pin.keys[1].kid };
    device.rotations[0].jws = [Buffer.from(JSON.stringify(named)).toString("base64url"), ...rest].join(".");
    await refuses(followRotations(pin, device), "rotation", 0);
  });

  test("refused: the right signature under another kid", async () => {
    const { phone, pin, device } = rotated(1);
    const keys = makeKeys();
    const { jws } = phone.rotateFields(keys, { header: { kid: makeKey().thumbprint } });
    device.rotations.push({ jws, userVerificationKey: keys.verification.point });
    const now = { possessionKey: keys.possession.point, userVerificationKey: keys.verification.point, generation: 3 };
    await refuses(followRotations(pin, { ...device, ...now }), "rotation", 0);
  });

  test("refused: no JWS", async () => {
    const { pin, device } = rotated(2);
    device.rotations[1].jws = device.rotations[1].jws.slice(0, -1);
    await refuses(followRotations(pin, device), "no_jws", 1);
  });

  test("refused: both keys one", async () => {
    const { pin, device } = rotated(1);
    device.possessionKey = device.userVerificationKey;
    await refuses(followRotations(pin, device), "key", 0);
  });
});
