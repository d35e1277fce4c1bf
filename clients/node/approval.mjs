// What a portal checks by itself before it signs somebody in (verifyApproval), pins a phone (pinPhone) or moves a pin
// (followRotations): messages Answer, EnrolledDevice and Rotation of proto/nanopush/v1. It believes no word of the
// broker's, calls nobody and keeps nothing, so it can be taken into any portal as it is.
//
// A pin is what a portal stores of a phone, plain JSON:
//
//   {deviceId, organisation, user, generation, keys: [{role, kid, jwk}, {role, kid, jwk}]}
//
// role is "possession" or "user_verification"; jwk the public key; kid its RFC 7638 thumbprint, computed here.
import { createHash, createHmac, timingSafeEqual } from "node:crypto";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { calculateJwkThumbprint, compactVerify, importJWK } from "jose";

import { DisplaySchema, Mode, Occasion, UserVerification } from "./gen/nanopush/v1/common_pb.js";
import { EnrolmentState } from "./gen/nanopush/v1/enrolment_pb.js";

const JWS_MAX_BYTES = 16384;
const SIGNATURE_BYTES = 64;
const SECRET_MIN_BYTES = 16; // of nonces, and of the s of an enrolment

// reason: [the point of the list at message Answer, or 0 where it is none of these, what it means]
const REASONS = {
  no_jws: [1, "it is no signed statement of this protocol"],
  key_unknown: [1, "it is signed by a key that was never pinned for this user"],
  key_role: [1, "it is signed by the possession key, and user verification was asked for"],
  signature: [1, "its signature is wrong"],
  type: [1, "it is not of the type of an approval"],
  no_statement: [1, "its claims are not those of an answer"],
  device: [1, "it names another phone than the one whose key signed it"],
  audience: [2, "it is for another portal"],
  organisation: [2, "it is of another organisation"],
  subject: [2, "it is of another user"],
  challenge: [2, "it answers another challenge"],
  nonce: [3, "its nonce is not the one that was sent"],
  nonce_used: [3, "its nonce was accepted before"],
  mode: [4, "its mode is weaker than the one that was asked for, or none was asked for by name"],
  code: [4, "its number is not the one that was shown"],
  display_hash: [5, "the phone showed something else than the broker returned"],
  display_content: [5, "the phone showed something else than was asked"],
  decision: [6, "it is not an approval"],
  expired: [7, "it has expired by this machine's clock"],
  not_done: [0, "the enrolment is not done"],
  key: [0, "the phone's keys are not two different points of P-256 with the thumbprints that are said"],
  proof: [0, "the phone's keys are not proven under the portal's own secret"],
  rotation: [0, "the rotations do not lead from the pinned keys to those of now"],
};

/** Something does not count: `reason` is the first of REASONS that holds, `point` and `message` say more of it. */
export class Refusal extends Error {
  constructor(reason) {
    const [point, text] = REASONS[reason];
    super(text);
    Object.assign(this, { name: "Refusal", reason, point });
  }
}

/**
 * The seven checks at message Answer of challenge.proto, in that order: the claims of an approval that holds.
 *
 * @param challenge  the final Challenge, as the broker gave it; only its answer and its display are read.
 * @param asked      what the portal itself remembers: portal, organisation (its own ids), user, id (the challenge's),
 *                   nonce (bytes, of its own), mode (TAP, CHOOSE or CODE: what was not named cannot be checked),
 *                   userVerification, number (that it showed), context (as sent); and, where the portal knows the names
 *                   that the broker's registry has for it, portalName and organisationName.
 * @param pins       of the phones of that user.
 * @param now        milliseconds since 1970, by the portal's own clock.
 * @param used       function of the nonce, in base64url: records it and says, or promises to say, whether it was
 *                   recorded before, in one step. A nonce is spent by the first answer that passed the points before
 *                   it, and may be forgotten when the challenge has expired.
 * @throws Refusal
 */
export async function verifyApproval({ challenge, asked, pins, now, used }) {
  const jws = challenge.answer?.jws;
  const { header, payload } = parseJws(jws);
  const signer = pins
    .flatMap(({ deviceId, keys }) => keys.map((key) => ({ deviceId, ...key })))
    .find(({ kid }) => kid === header.kid);
  check(signer, "key_unknown");
  check(signer.role === "user_verification" || takesPossessionKey(asked), "key_role");
  check(await isSignedBy(signer.jwk, jws), "signature");
  check(header.typ === "nanopush-approval+jwt", "type");
  const claims = parseStatement(payload);
  check(claims.iss === signer.deviceId, "device");

  check(claims.aud === asked.portal, "audience");
  check(claims.org === asked.organisation, "organisation");
  check(claims.sub === asked.user, "subject");
  check(claims.jti === asked.id, "challenge");

  check(asked.nonce.length >= SECRET_MIN_BYTES && claims.nonce === base64url(asked.nonce), "nonce");
  check(!(await used(claims.nonce)), "nonce_used");

  check(asked.mode > Mode.UNSPECIFIED && STRENGTH[claims.mode] >= asked.mode, "mode");
  check((claims.code ?? "") === (asked.number ?? ""), "code");

  check(claims.display === displayHash(challenge.display), "display_hash");
  check(shows(challenge.display, asked), "display_content");

  check(claims.decision === "approve", "decision");
  check(claims.exp * 1000 > now, "expired");
  return claims;
}

/**
 * The pin of a phone that has enrolled, once it proved to know the secret that the portal put into the QR code.
 *
 * @param enrolment  as the broker gave it, DONE.
 * @param asked      what the portal itself remembers: id (the enrolment's), organisation, user, secret (bytes: the s).
 * @throws Refusal   not_done, key, proof
 */
export async function pinPhone({ enrolment, asked }) {
  check(enrolment.state === EnrolmentState.DONE && enrolment.device, "not_done");
  const { id, organisation, user, secret } = asked;
  const { deviceId, proof, ...device } = enrolment.device;
  const keys = await publicKeys(device);
  const [tp1, tp2] = keys.map(({ kid }) => kid);
  check(tp1 === device.possessionThumbprint && tp2 === device.userVerificationThumbprint, "key");
  const parts = [Buffer.from("nanopush/1 keys\0"), ...[organisation, user, id].map(lp), Buffer.from(tp1 + tp2)];
  const own = createHmac("sha256", secret).update(Buffer.concat(parts)).digest();
  check(secret.length >= SECRET_MIN_BYTES && proof.length === own.length && timingSafeEqual(proof, own), "proof");
  return { deviceId, organisation, user, generation: 1, keys };
}

/**
 * The pin of now: along the rotations from the pinned keys on, each signed by the user-verification key before it, to the
 * keys that the phone has. Whatever else stands in the pin stays.
 *
 * @param pin     as it was pinned or moved last.
 * @param device  the Device of GetUser.
 * @throws Refusal  rotation, key, no_jws
 */
export async function followRotations(pin, device) {
  check(device.id === pin.deviceId, "rotation");
  const keys = await publicKeys(device);
  const chain = device.rotations.map((rotation) => ({ ...rotation, ...parseJws(rotation.jws) }));
  const first = chain.findIndex(({ header }) => header.kid === userVerificationKey(pin).kid);
  let last = pin;
  for (const rotation of first < 0 ? [] : chain.slice(first)) last = await followOne(last, rotation);
  check(keys.every(({ kid }, at) => kid === last.keys[at].kid) && last.generation === device.generation, "rotation");
  return { ...last, keys };
}

async function followOne(pin, { jws, header, payload, userVerificationKey: point }) {
  const signer = userVerificationKey(pin);
  check(header.kid === signer.kid && header.typ === "nanopush-rotation+jwt", "rotation");
  check(await isSignedBy(signer.jwk, jws), "rotation");
  const claims = parseFlat(payload);
  check(hasMembers(claims, ["v", "iss", "org", "sub", "gen", "tp1", "tp2", "iat"]), "rotation");
  const next = await publicKey("user_verification", point);
  const expected = { v: 1, iss: pin.deviceId, org: pin.organisation, sub: pin.user, gen: pin.generation + 1, tp2: next.kid };
  check(Object.entries(expected).every(([name, value]) => claims[name] === value), "rotation");
  return { ...pin, generation: claims.gen, keys: [{ role: "possession", kid: claims.tp1 }, next] };
}

function check(holds, reason) {
  if (!holds) throw new Refusal(reason);
}

const base64url = (bytes) => Buffer.from(bytes).toString("base64url");

/** 16-bit big-endian length, then the bytes. */
function lp(text) {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

// Keys

/** The two keys of a phone in the order of a pin: possession, user verification. */
async function publicKeys(device) {
  const possession = await publicKey("possession", device.possessionKey);
  const verification = await publicKey("user_verification", device.userVerificationKey);
  check(possession.kid !== verification.kid, "key");
  return [possession, verification];
}

/** @param point  uncompressed, 65 bytes */
async function publicKey(role, point) {
  check(point.length === 65 && point[0] === 4, "key");
  const jwk = { kty: "EC", crv: "P-256", x: base64url(point.subarray(1, 33)), y: base64url(point.subarray(33)) };
  await importJWK(jwk, "ES256").catch(() => check(false, "key")); // not on the curve
  return { role, kid: await calculateJwkThumbprint(jwk), jwk };
}

const userVerificationKey = ({ keys }) => keys.find(({ role }) => role === "user_verification");

const takesPossessionKey = ({ userVerification }) =>
  [UserVerification.PREFERRED, UserVerification.NOT_ASKED].includes(userVerification);

// Signed statements

/** Header and payload of a compact JWS in the one form that this protocol has. They prove nothing yet. */
function parseJws(jws) {
  check(typeof jws === "string" && jws.length <= JWS_MAX_BYTES, "no_jws");
  const parts = jws.split(".").map(decode);
  check(parts.length === 3 && parts[2].length === SIGNATURE_BYTES, "no_jws");
  const header = parseFlat(parts[0]);
  check(hasMembers(header, ["alg", "typ", "kid"]) && header.alg === "ES256", "no_jws");
  return { header, payload: parts[1] };
}

// Buffer passes over what is not base64url; only the canonical spelling survives the way back.
function decode(part) {
  const bytes = Buffer.from(part, "base64url");
  check(base64url(bytes) === part, "no_jws");
  return bytes;
}

/**
 * A JSON object of plain values; null for anything else, also where a member stands twice, which JSON.parse() lets pass:
 * outside its strings such an object has as many colons as members.
 */
function parseFlat(bytes) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    const members = JSON.parse(text);
    const colons = text.match(/"(?:[^"\\]|\\.)*"|:/g).filter((token) => token === ":");
    return colons.length === Object.keys(members).length ? members : null;
  } catch {
    return null;
  }
}

const hasMembers = (object, names) =>
  object !== null && Object.keys(object).length === names.length && names.every((name) => Object.hasOwn(object, name));

async function isSignedBy(jwk, jws) {
  const key = await importJWK(jwk, "ES256");
  try {
    await compactVerify(jws, key, { algorithms: ["ES256"] });
    return true;
  } catch {
    return false;
  }
}

// Answers

/** Higher is stronger, as the numbers of Mode are. */
const STRENGTH = { tap: Mode.TAP, choose: Mode.CHOOSE, code: Mode.CODE };

const isText = (value) => typeof value === "string" && value !== "";
const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
const CLAIMS = {
  v: (value) => value === 1,
  iss: isText,
  org: isText,
  sub: isText,
  aud: isText,
  jti: isText,
  nonce: isText,
  decision: (value) => ["approve", "deny", "not_me"].includes(value),
  mode: (value) => isText(value) && Object.hasOwn(STRENGTH, value),
  display: isText,
  gen: isCount,
  iat: isCount,
  exp: isCount,
};
const DIGITS = /^[0-9]{1,8}$/;

function parseStatement(payload) {
  const claims = parseFlat(payload);
  const coded = claims?.decision === "approve" && claims.mode !== "tap";
  check(hasMembers(claims, [...Object.keys(CLAIMS), ...(coded ? ["code"] : [])]), "no_statement");
  check(Object.entries(CLAIMS).every(([name, holds]) => holds(claims[name])), "no_statement");
  check(!coded || (isText(claims.code) && DIGITS.test(claims.code)), "no_statement");
  return claims;
}

const displayHash = (display) =>
  createHash("sha256").update("nanopush-display-v1\0").update(display).digest("base64url");

/** Whether the phone showed what was asked, and nothing besides: fields that are not known here count too. */
function shows(display, { user, context, portalName, organisationName }) {
  let shown;
  try {
    shown = fromBinary(DisplaySchema, display);
  } catch {
    return false;
  }
  const { application, address, place, browser, operatingSystem, message, fields } = context ?? {};
  const expected = create(DisplaySchema, {
    organisation: organisationName ?? shown.organisation,
    portal: portalName ?? shown.portal,
    user, application, address, place, browser, operatingSystem, message, fields,
    occasion: Occasion.SIGN_IN,
    otherSignIn: shown.otherSignIn,
  });
  return Buffer.compare(toBinary(DisplaySchema, shown), toBinary(DisplaySchema, expected)) === 0;
}
