// Checks proto/vectors/*.json against the contract anew: keys and signatures with jose and WebCrypto, which share no
// line with what made them, the messages by parsing them.
//
//   node --test tests/vectors/check.mjs
import assert from "node:assert/strict";
import { createPrivateKey, createPublicKey, webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";

import { fromBinary, toBinary, toJson } from "@bufbuild/protobuf";
import { calculateJwkThumbprint, compactVerify, importJWK } from "jose";

import { DisplaySchema } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { EnrolSchema, HelloSchema, RemoveSchema, RotateSchema, UnlockSchema } from "../../build/gen-js/nanopush/v1/device_pb.js";
import { displayHash, displayInput, enrolInput, helloInput, jwkOf, proof, proofInput } from "./inputs.mjs";
import { signDeterministically } from "./rfc6979.mjs";

const { subtle } = webcrypto;
const read = (name) => JSON.parse(readFileSync(new URL(`../../proto/vectors/${name}.json`, import.meta.url))).vectors;
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const bytes = (text) => Buffer.from(text, "hex");

async function verifies(jwk, signature, signed) {
  const { d, ...pub } = jwk;
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const key = await subtle.importKey("jwk", pub, algorithm, false, ["verify"]);
  return subtle.verify(algorithm, key, bytes(signature), bytes(signed));
}

async function checkKey(vector, name) {
  const jwk = vector[`${name}_jwk`];
  const { d, ...pub } = jwk;
  assert.deepEqual(jwkOf(bytes(vector[`${name}_point`])), pub);
  assert.equal(await calculateJwkThumbprint(pub), vector[`${name}_thumbprint`]);
  const derived = createPublicKey(createPrivateKey({ key: jwk, format: "jwk" })).export({ format: "jwk" });
  assert.deepEqual(derived, pub, "d belongs to the point");
}

test("deterministic signatures are those of RFC 6979, A.2.5", () => {
  const key = bytes("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
  assert.equal(
    hex(signDeterministically(key, Buffer.from("sample"))),
    "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716" +
      "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
  );
});

describe("display", () => {
  for (const vector of read("display"))
    test(vector.name, () => {
      const display = bytes(vector.bytes);
      const message = fromBinary(DisplaySchema, display);
      assert.deepEqual(toJson(DisplaySchema, message), vector.display);
      assert.equal(hex(toBinary(DisplaySchema, message)), vector.bytes);
      assert.equal(hex(displayInput(display)), vector.hashed);
      assert.equal(displayHash(display), vector.hash);
    });
});

describe("hello", () => {
  for (const vector of read("hello"))
    test(vector.name, async () => {
      await checkKey(vector, "possession");
      const parts = {
        cb: bytes(vector.cb),
        organisation: vector.organisation,
        deviceId: vector.device_id,
        generation: vector.generation,
        trustAnchor: bytes(vector.trust_anchor),
        capabilities: vector.capabilities,
      };
      assert.equal(hex(helloInput(parts)), vector.signed);
      assert.ok(await verifies(vector.possession_jwk, vector.signature, vector.signed));

      const hello = fromBinary(HelloSchema, bytes(vector.message));
      const { cb, ...said } = parts;
      const { organisation, deviceId, generation, capabilities } = hello;
      assert.deepEqual({ organisation, deviceId, generation, trustAnchor: Buffer.from(hello.trustAnchor), capabilities }, said);
      assert.equal(hex(hello.possessionKey), vector.possession_point);
      assert.equal(hex(hello.signature), vector.signature);
    });
});

describe("enrol", () => {
  for (const vector of read("enrol"))
    test(vector.name, async () => {
      await checkKey(vector, "possession");
      await checkKey(vector, "user_verification");

      const uri = new URL(vector.uri);
      const parameters = Object.fromEntries(uri.searchParams);
      assert.deepEqual(parameters, {
        v: "1",
        h: vector.address,
        n: vector.server_name,
        o: vector.organisation,
        u: vector.user,
        e: vector.enrolment_id,
        t: bytes(vector.token).toString("base64url"),
        p: bytes(vector.pin).toString("base64url"),
      });
      assert.equal(uri.hash, vector.secret ? `#s=${bytes(vector.secret).toString("base64url")}` : "");

      const parts = {
        cb: bytes(vector.cb),
        organisation: vector.organisation,
        user: vector.user,
        enrolmentId: vector.enrolment_id,
        tp1: vector.possession_thumbprint,
        tp2: vector.user_verification_thumbprint,
      };
      assert.equal(hex(enrolInput(parts)), vector.signed);
      assert.ok(await verifies(vector.possession_jwk, vector.possession_signature, vector.signed));
      assert.ok(await verifies(vector.user_verification_jwk, vector.user_verification_signature, vector.signed));
      assert.equal(hex(proofInput(parts)), vector.proof_input);
      assert.equal(vector.secret ? hex(proof(bytes(vector.secret), parts)) : "", vector.proof);

      const enrol = fromBinary(EnrolSchema, bytes(vector.message));
      assert.equal(enrol.organisation, vector.organisation);
      assert.equal(enrol.enrolmentId, vector.enrolment_id);
      assert.equal(hex(enrol.token), vector.token);
      assert.equal(hex(enrol.possessionKey), vector.possession_point);
      assert.equal(hex(enrol.userVerificationKey), vector.user_verification_point);
      assert.equal(hex(enrol.possessionSignature), vector.possession_signature);
      assert.equal(hex(enrol.userVerificationSignature), vector.user_verification_signature);
      assert.equal(hex(enrol.proof), vector.proof);
      assert.equal(enrol.capabilities, 3);
    });
});

describe("answer", () => {
  const all = read("answer");

  for (const vector of all.filter((each) => !each.refused))
    test(vector.name, async () => {
      await checkKey(vector, "signer");
      const key = await importJWK(vector.signer_jwk, "ES256");
      const { payload, protectedHeader } = await compactVerify(vector.jws, key);
      const claims = JSON.parse(vector.claims);
      assert.equal(Buffer.from(payload).toString(), vector.claims);
      assert.equal(JSON.stringify(protectedHeader), vector.header);
      assert.equal(bytes(vector.signed).toString(), vector.jws.slice(0, vector.jws.lastIndexOf(".")));
      assert.ok(await verifies(vector.signer_jwk, vector.signature, vector.signed));
      assert.deepEqual(protectedHeader, {
        alg: "ES256",
        typ: claims.decision === "approve" ? "nanopush-approval+jwt" : "nanopush-refusal+jwt",
        kid: vector.signer_thumbprint,
      });
      assert.equal("code" in claims, claims.decision === "approve" && claims.mode !== "tap");
    });

  for (const vector of all.filter((each) => each.refused === "signature"))
    test(`refused: ${vector.name}`, async () => {
      const key = await importJWK(jwkOf(bytes(vector.signer_point)), "ES256");
      await assert.rejects(compactVerify(vector.jws, key), { code: "ERR_JWS_SIGNATURE_VERIFICATION_FAILED" });
    });

  for (const vector of all.filter((each) => each.refused === "claims"))
    test(`refused, though rightly signed: ${vector.name}`, async () => {
      const key = await importJWK(jwkOf(bytes(vector.signer_point)), "ES256");
      await compactVerify(vector.jws, key);
    });

  test("each way to refuse one is there", () => {
    const ways = new Set(all.map((vector) => vector.refused ?? "none"));
    assert.deepEqual([...ways].sort(), ["claims", "jws", "none", "signature"]);
  });
});

describe("acts", () => {
  const all = read("acts");
  const schemas = { rotation: RotateSchema, unlock: UnlockSchema, remove: RemoveSchema };

  for (const vector of all)
    test(vector.name, async () => {
      await checkKey(vector, "signer");
      const { payload, protectedHeader } = await compactVerify(vector.jws, await importJWK(vector.signer_jwk, "ES256"));
      const [act] = /(?<=^nanopush-)[a-z]+(?=\+jwt$)/.exec(vector.typ);
      assert.deepEqual(protectedHeader, { alg: "ES256", typ: vector.typ, kid: vector.signer_thumbprint });
      assert.equal(JSON.stringify(protectedHeader), vector.header);
      assert.equal(Buffer.from(payload).toString(), vector.claims);
      assert.equal(bytes(vector.signed).toString(), vector.jws.slice(0, vector.jws.lastIndexOf(".")));
      assert.ok(await verifies(vector.signer_jwk, vector.signature, vector.signed));

      const { organisation: org, user: sub, device_id: iss, generation, issued_unix_s: iat } = vector;
      const expected =
        act === "rotation"
          ? [["v", 1], ["iss", iss], ["org", org], ["sub", sub], ["gen", generation + 1],
             ["tp1", vector.next_possession_thumbprint], ["tp2", vector.next_user_verification_thumbprint], ["iat", iat]]
          : [["v", 1], ["iss", iss], ["org", org], ["sub", sub], ["gen", generation], ["iat", iat],
             ["cb", bytes(vector.cb).toString("base64url")]];
      assert.deepEqual(Object.entries(JSON.parse(vector.claims)), expected);

      const message = fromBinary(schemas[act], bytes(vector.message));
      assert.equal(message.jws, vector.jws);
      assert.equal(message.deviceId, iss);
      if (act !== "rotation") return;
      await checkKey(vector, "next_possession");
      await checkKey(vector, "next_user_verification");
      assert.equal(hex(message.possessionKey), vector.next_possession_point);
      assert.equal(hex(message.userVerificationKey), vector.next_user_verification_point);
    });

  test("each act is there, and a removal by either key", () => {
    assert.deepEqual(all.map(({ typ }) => typ.slice("nanopush-".length, -"+jwt".length)), ["rotation", "unlock", "remove", "remove"]);
    assert.equal(new Set(all.map(({ signer_thumbprint: kid }) => kid)).size, 2);
  });
});
