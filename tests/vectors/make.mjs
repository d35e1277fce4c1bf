// Writes proto/vectors/*.json: for each construction of the contract all of its inputs, the literal bytes and the
// result. Keys are hashes of their own names: public, for tests only. A second run writes the same files.
//
//   node tests/vectors/make.mjs
import { writeFileSync } from "node:fs";

import { create, toBinary, toJson } from "@bufbuild/protobuf";

import { DisplaySchema, Mode, Occasion, Platform } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { EnrolSchema, HelloSchema, RemoveSchema, RotateSchema, UnlockSchema } from "../../build/gen-js/nanopush/v1/device_pb.js";
import {
  boundClaims, displayHash, displayInput, enrolInput, helloInput, jwkOf, jwsInput, proof, proofInput, rotationClaims, sha256,
  thumbprint,
} from "./inputs.mjs";
import { publicPoint, signDeterministically } from "./rfc6979.mjs";

const hex = (bytes) => Buffer.from(bytes).toString("hex");
const base64url = (bytes) => Buffer.from(bytes).toString("base64url");

/** Bytes that look random and are not: the hash of their name. */
const fixed = (name, length = 32) => sha256(`nanopush test vector: ${name}`).subarray(0, length);

function keyNamed(name) {
  const secret = fixed(name);
  const point = publicPoint(secret);
  const jwk = jwkOf(point);
  return { secret, point, jwk: { ...jwk, d: base64url(secret) }, thumbprint: thumbprint(jwk) };
}

const possession = keyNamed("possession key");
const verification = keyNamed("user-verification key");
const organisation = "example";
const user = "ada";
const tag = "-00112233445566778899"; // of the user, behind every id that is the user's
const enrolmentId = hex(fixed("enrolment id", 16)) + tag;
const deviceId = hex(sha256(possession.point).subarray(0, 16)) + tag;
const challengeId = hex(fixed("challenge id", 16)) + tag;
const trustAnchor = fixed("trust anchor");

const publish = (name, about, vectors) => {
  const text = JSON.stringify({ about, vectors }, null, 2);
  writeFileSync(new URL(`../../proto/vectors/${name}.json`, import.meta.url), `${text}\n`);
};

const keyFields = (name, key) => ({
  [`${name}_jwk`]: key.jwk,
  [`${name}_point`]: hex(key.point),
  [`${name}_thumbprint`]: key.thumbprint,
});

// display.json

function displayVector(name, fields) {
  const display = create(DisplaySchema, fields);
  const bytes = toBinary(DisplaySchema, display);
  return {
    name,
    display: toJson(DisplaySchema, display),
    bytes: hex(bytes),
    hashed: hex(displayInput(bytes)),
    hash: displayHash(bytes),
  };
}

const signIn = {
  organisation: "Example GmbH",
  portal: "Example Portal",
  user,
  application: "Payroll",
  address: "192.0.2.7",
  place: "Würzburg, Deutschland",
  browser: "Firefox 128",
  operatingSystem: "Debian 12",
  message: "Monthly run",
  occasion: Occasion.SIGN_IN,
  fields: [
    { label: "Batch", value: "2026-11" },
    { label: "Approver", value: "Žofie" },
  ],
};

const displays = [
  displayVector("sign-in", signIn),
  displayVector("as little as there can be", { organisation, portal: "nano", user, occasion: Occasion.SIGN_IN }),
  displayVector("another phone", { ...signIn, message: "", fields: [], occasion: Occasion.NEW_PHONE }),
  displayVector("another sign-in under way", { ...signIn, message: "", fields: [], otherSignIn: true }),
];
publish("display", "common.proto, Display: hash = base64url(SHA-256(hashed)); bytes is the serialised message.", displays);

// hello.json

function helloVector(name, { generation, capabilities }) {
  const cb = fixed(`hello channel binding, ${name}`);
  const signed = helloInput({ cb, organisation, deviceId, generation, trustAnchor, capabilities });
  const signature = signDeterministically(possession.secret, signed);
  const message = create(HelloSchema, {
    organisation, deviceId, possessionKey: possession.point, generation, trustAnchor, capabilities, signature,
  });
  return {
    name,
    cb: hex(cb),
    organisation,
    device_id: deviceId,
    generation,
    trust_anchor: hex(trustAnchor),
    capabilities,
    ...keyFields("possession", possession),
    signed: hex(signed),
    signature: hex(signature),
    message: hex(toBinary(HelloSchema, message)),
  };
}

publish("hello", "device.proto, Hello: signature = ES256(possession key, signed); message is the serialised Hello.", [
  helloVector("first keys", { generation: 1, capabilities: 0 }),
  helloVector("rotated keys, CHOOSE and CODE", { generation: 258, capabilities: 3 }),
]);

// enrol.json

function enrolVector(name, { enrolled, percentEncoded, secret }) {
  const cb = fixed(`enrol channel binding, ${name}`);
  const token = fixed("enrolment token", 16);
  const [tp1, tp2] = [possession.thumbprint, verification.thumbprint];
  const signed = enrolInput({ cb, organisation, enrolmentId, tp1, tp2 });
  const parts = { organisation, user: enrolled, enrolmentId, tp1, tp2 };
  const signatures = [possession, verification].map((key) => signDeterministically(key.secret, signed));
  const message = create(EnrolSchema, {
    organisation,
    enrolmentId,
    token,
    possessionKey: possession.point,
    userVerificationKey: verification.point,
    possessionSignature: signatures[0],
    userVerificationSignature: signatures[1],
    proof: secret ? proof(secret, parts) : new Uint8Array(),
    name: "Ada's phone",
    platform: Platform.ANDROID,
    capabilities: 3,
  });
  return {
    name,
    uri:
      `nanopush://enrol?v=1&h=push.example.com:7440&n=push.example.com&o=${organisation}&u=${percentEncoded}` +
      `&e=${enrolmentId}&t=${base64url(token)}&p=${base64url(trustAnchor)}` + (secret ? `#s=${base64url(secret)}` : ""),
    address: "push.example.com:7440",
    server_name: "push.example.com",
    organisation,
    user: enrolled,
    enrolment_id: enrolmentId,
    token: hex(token),
    pin: hex(trustAnchor),
    secret: secret ? hex(secret) : "",
    cb: hex(cb),
    ...keyFields("possession", possession),
    ...keyFields("user_verification", verification),
    signed: hex(signed),
    possession_signature: hex(signatures[0]),
    user_verification_signature: hex(signatures[1]),
    proof_input: hex(proofInput(parts)),
    proof: secret ? hex(proof(secret, parts)) : "",
    message: hex(toBinary(EnrolSchema, message)),
  };
}

publish(
  "enrol",
  "enrolment.proto, the URI; device.proto, Enrol: both signatures = ES256(key, signed); EnrolledDevice.proof = " +
    "HMAC-SHA-256(secret, proof_input); message is the serialised Enrol.",
  [
    enrolVector("portal with a secret of its own", {
      enrolled: user, percentEncoded: "ada", secret: fixed("portal secret", 16),
    }),
    enrolVector("a name to be percent-encoded, no secret", {
      enrolled: "Žofie & co@example.com", percentEncoded: "%C5%BDofie%20%26%20co%40example.com", secret: null,
    }),
  ],
);

// answer.json

const claimsOf = (changes) => ({
  v: 1,
  iss: deviceId,
  org: organisation,
  sub: user,
  aud: "nano-prod",
  jti: challengeId,
  nonce: base64url(fixed("portal nonce")),
  decision: "approve",
  mode: "tap",
  display: displays[0].hash,
  gen: 1,
  iat: 1790000000,
  exp: 1790000060,
  ...changes,
});

const coded = ({ display, gen, iat, exp, ...before }, code) => ({ ...before, code, display, gen, iat, exp });

const headerOf = (claims, key) => ({
  alg: "ES256",
  typ: claims.decision === "approve" ? "nanopush-approval+jwt" : "nanopush-refusal+jwt",
  kid: key.thumbprint,
});

const seal = (key, input) => `${input}.${base64url(signDeterministically(key.secret, Buffer.from(input)))}`;

function answerVector(name, claims, key) {
  const header = headerOf(claims, key);
  const input = jwsInput(header, claims);
  const jws = seal(key, input);
  return {
    name,
    header: JSON.stringify(header),
    claims: JSON.stringify(claims),
    ...keyFields("signer", key),
    signed: hex(Buffer.from(input)),
    signature: hex(Buffer.from(jws.split(".")[2], "base64url")),
    jws,
  };
}

/** Rightly signed by the key of its kid, and to be refused all the same. */
const refusedVector = (name, part, header, payload, key = verification) => ({
  name,
  refused: part,
  signer_point: hex(key.point),
  jws: seal(key, [header, payload].map((text) => base64url(Buffer.from(text))).join(".")),
});

const tap = claimsOf({});
const tapHeader = JSON.stringify(headerOf(tap, verification));
const tapClaims = JSON.stringify(tap);
const tapJws = seal(verification, jwsInput(headerOf(tap, verification), tap));
const without = (claim) => JSON.stringify(Object.fromEntries(Object.entries(tap).filter(([name]) => name !== claim)));
const withMember = (json, member) => json.replace("{", `{${member},`);
const spoilt = (jws, part, change) => jws.split(".").map((text, at) => (at === part ? change(text) : text)).join(".");
const asText = (name, part, jws) => ({ name, refused: part, signer_point: hex(verification.point), jws });

// The last character of 64 bytes in base64url carries four unused bits: "A" to "P" there spell the same byte.
const otherSpelling = (text) => text.slice(0, -1) + String.fromCharCode(text.charCodeAt(text.length - 1) + 1);
const flipped = (text) => (text[0] === "A" ? "B" : "A") + text.slice(1);

publish(
  "answer",
  "challenge.proto, Answer: jws = signed || '.' || base64url(signature), signature = ES256(signer, signed). Those with " +
    "`refused` must be refused: by the parser of the JWS, by that of the claims, or by the signature.",
  [
    answerVector("approve, tap", tap, verification),
    answerVector("approve, code", coded(claimsOf({ mode: "code" }), "042"), verification),
    answerVector("approve, choose", coded(claimsOf({ mode: "choose" }), "17"), verification),
    answerVector("deny, by the possession key", claimsOf({ decision: "deny" }), possession),
    answerVector("not me, in mode code", claimsOf({ decision: "not_me", mode: "code" }), possession),

    refusedVector("header with a further member", "jws", withMember(tapHeader, '"crit":[]'), tapClaims),
    refusedVector("header with a duplicate member", "jws", withMember(tapHeader, '"alg":"ES256"'), tapClaims),
    refusedVector("header without kid", "jws", '{"alg":"ES256","typ":"nanopush-approval+jwt"}', tapClaims),
    refusedVector("alg none", "jws", tapHeader.replace("ES256", "none"), tapClaims),
    refusedVector("header that is an array", "jws", '["ES256"]', tapClaims),
    asText("two parts", "jws", tapJws.slice(0, tapJws.lastIndexOf("."))),
    asText("four parts", "jws", `${tapJws}.`),
    asText("padding", "jws", `${tapJws}==`),
    asText("signature in another spelling", "jws", spoilt(tapJws, 2, otherSpelling)),
    asText("signature of 63 bytes", "jws", tapJws.slice(0, -2)),
    asText("white space", "jws", ` ${tapJws}`),

    ...["v", "iss", "org", "sub", "aud", "jti", "nonce", "decision", "mode", "display", "gen", "iat", "exp"].map((claim) =>
      refusedVector(`claims without ${claim}`, "claims", tapHeader, without(claim))),
    refusedVector("claims with a further one", "claims", tapHeader, withMember(tapClaims, '"nbf":1')),
    refusedVector("claims with a duplicate", "claims", tapHeader, withMember(tapClaims, '"v":1')),
    refusedVector("version 2", "claims", tapHeader, JSON.stringify(claimsOf({ v: 2 }))),
    refusedVector("nonce of 15 bytes", "claims", tapHeader, JSON.stringify(claimsOf({ nonce: base64url(fixed("n", 15)) }))),
    refusedVector("time as a string", "claims", tapHeader, JSON.stringify(claimsOf({ exp: "1790000060" }))),
    refusedVector("time with a fraction", "claims", tapHeader, tapClaims.replace('"iat":1790000000', '"iat":1790000000.5')),
    refusedVector("approve in mode code without a code", "claims", tapHeader, JSON.stringify(claimsOf({ mode: "code" }))),
    refusedVector("approve in mode tap with a code", "claims", tapHeader, JSON.stringify(coded(tap, "042"))),
    refusedVector("code that is no number", "claims", tapHeader,
      JSON.stringify(coded(claimsOf({ mode: "code" }), "04x"))),
    refusedVector("deny with a code", "claims", JSON.stringify(headerOf({ decision: "deny" }, possession)),
      JSON.stringify(coded(claimsOf({ decision: "deny", mode: "code" }), "042")), possession),
    refusedVector("claims that are no object", "claims", tapHeader, "[]"),

    asText("signature spoilt", "signature", spoilt(tapJws, 2, flipped)),
    asText("claims of another answer", "signature",
      spoilt(tapJws, 1, () => base64url(Buffer.from(JSON.stringify(claimsOf({ sub: "eve" })))))),
    asText("signed by the other key", "signature", seal(possession, jwsInput(headerOf(tap, verification), tap))),
  ],
);

// acts.json

const nextPossession = keyNamed("possession key, rotated");
const nextVerification = keyNamed("user-verification key, rotated");
const cb = fixed("act channel binding");
const issued = 1790000000;
const account = { deviceId, organisation, user, issued };

function actVector(name, { typ, claims, key, more, message }) {
  const header = { alg: "ES256", typ: `nanopush-${typ}+jwt`, kid: key.thumbprint };
  const input = jwsInput(header, claims);
  const jws = seal(key, input);
  return {
    name,
    typ: header.typ,
    organisation,
    user,
    device_id: deviceId,
    generation: 1,
    issued_unix_s: issued,
    ...more,
    header: JSON.stringify(header),
    claims: JSON.stringify(claims),
    ...keyFields("signer", key),
    signed: hex(Buffer.from(input)),
    signature: hex(Buffer.from(jws.split(".")[2], "base64url")),
    jws,
    message: hex(message(jws)),
  };
}

const boundVector = (name, typ, schema, key) =>
  actVector(name, {
    typ,
    claims: boundClaims({ ...account, generation: 1, cb }),
    key,
    more: { cb: hex(cb) },
    message: (jws) => toBinary(schema, create(schema, { jws, deviceId })),
  });

publish(
  "acts",
  "device.proto, Rotate, Unlock and Remove: jws = signed || '.' || base64url(signature), signature = ES256(signer, signed); " +
    "generation is the one before the act; message is the serialised Rotate, Unlock or Remove.",
  [
    actVector("rotation", {
      typ: "rotation",
      claims: rotationClaims({ ...account, generation: 2, tp1: nextPossession.thumbprint, tp2: nextVerification.thumbprint }),
      key: verification,
      more: { ...keyFields("next_possession", nextPossession), ...keyFields("next_user_verification", nextVerification) },
      message: (jws) =>
        toBinary(RotateSchema, create(RotateSchema, {
          jws, possessionKey: nextPossession.point, userVerificationKey: nextVerification.point, deviceId,
        })),
    }),
    boundVector("unlock", "unlock", UnlockSchema, verification),
    boundVector("remove, by the possession key", "remove", RemoveSchema, possession),
    boundVector("remove, by the user-verification key", "remove", RemoveSchema, verification),
  ],
);
