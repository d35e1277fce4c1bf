// The exact bytes that phones sign and portals check, as the comments in proto/ describe them: written from those
// comments alone, to hold the C code against. Also the few conversions of P-256 keys that go with them.
import { createHash, createHmac, sign } from "node:crypto";

export const sha256 = (bytes) => createHash("sha256").update(bytes).digest();

const u32 = (n) => {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(n);
  return out;
};

/** 16-bit big-endian length, then the bytes. */
export const lp = (text) => {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
};

/** Uncompressed point, 65 bytes, of a JWK. */
export const pointOf = (jwk) =>
  Buffer.concat([Buffer.of(4), Buffer.from(jwk.x, "base64url"), Buffer.from(jwk.y, "base64url")]);

/** Public JWK of an uncompressed point. */
export const jwkOf = (point) => ({
  kty: "EC",
  crv: "P-256",
  x: Buffer.from(point).subarray(1, 33).toString("base64url"),
  y: Buffer.from(point).subarray(33).toString("base64url"),
});

/** RFC 7638, SHA-256, unpadded base64url. */
export const thumbprint = ({ x, y }) =>
  sha256(JSON.stringify({ crv: "P-256", kty: "EC", x, y })).toString("base64url");

/** What Hello.signature covers (device.proto). */
export const helloInput = ({ cb, organisation, deviceId, generation, trustAnchor, capabilities }) =>
  Buffer.concat([
    Buffer.from("nanopush/1 hello\0"), cb, lp(organisation), lp(deviceId), u32(generation), trustAnchor, u32(capabilities),
  ]);

/** What both signatures of Enrol cover (device.proto). */
export const enrolInput = ({ cb, organisation, enrolmentId, tp1, tp2 }) =>
  Buffer.concat([Buffer.from("nanopush/1 enrol\0"), cb, lp(organisation), lp(enrolmentId), Buffer.from(tp1 + tp2)]);

/** What EnrolledDevice.proof is the HMAC of (enrolment.proto). */
export const proofInput = ({ organisation, user, enrolmentId, tp1, tp2 }) =>
  Buffer.concat([Buffer.from("nanopush/1 keys\0"), lp(organisation), lp(user), lp(enrolmentId), Buffer.from(tp1 + tp2)]);

export const proof = (secret, parts) => createHmac("sha256", secret).update(proofInput(parts)).digest();

/** What is hashed of a Display (common.proto). */
export const displayInput = (display) => Buffer.concat([Buffer.from("nanopush-display-v1\0"), display]);

/** The claim `display` of an answer. */
export const displayHash = (display) => sha256(displayInput(display)).toString("base64url");

/** ES256: raw r || s. */
export const es256 = (privateKey, message) =>
  sign("sha256", message, { key: privateKey, dsaEncoding: "ieee-p1363" });

/** What the signature of a compact JWS covers; members keep the order that they are given in. */
export const jwsInput = (header, claims) =>
  [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");

/** The claims of Rotate, of Unlock and of Remove (device.proto), in their order. */
export const rotationClaims = ({ deviceId, organisation, user, generation, tp1, tp2, issued }) =>
  ({ v: 1, iss: deviceId, org: organisation, sub: user, gen: generation, tp1, tp2, iat: issued });

export const boundClaims = ({ deviceId, organisation, user, generation, issued, cb }) =>
  ({ v: 1, iss: deviceId, org: organisation, sub: user, gen: generation, iat: issued, cb: Buffer.from(cb).toString("base64url") });
