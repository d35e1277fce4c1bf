// What a phone signs (approval, refusal, rotation, unlock, removal), wrong in every way in which JWS and JSON can be: all
// of it with the right signature over the very bytes that are sent, unless it is the signature that is wrong.
import assert from "node:assert/strict";
import { createHmac, generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { after, before, describe, test } from "node:test";

import { ChallengeState } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { es256 } from "../vectors/inputs.mjs";
import { Broker } from "./harness.mjs";
import { makeKey, makeKeys } from "./phone.mjs";
import { login, Portal } from "./portal.mjs";

const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n; // of P-256
const ANSWER_MAX = 8192;
const ACT_MAX = 4096;
const HEADER_MAX = 256; // bytes of JSON

const broker = new Broker();
let portal;
let stranger; // a phone of another user

before(async () => {
  await broker.start();
  portal = await Portal.create(broker);
  stranger = (await portal.enrol()).phone;
});
after(() => broker.stop());

const text64 = (text) => Buffer.from(text).toString("base64url");
const textOf = (part) => Buffer.from(part, "base64url").toString();

/* ---- the five of them ---- */

const asked = () => portal.asked({ life: { seconds: 300n } });
const answers = (decision) => ({
  kind: "answer",
  good: "resolved",
  max: ANSWER_MAX,
  subject: asked,
  message: ({ phone, push }) => ({ challengeId: push.challengeId, jws: phone.answer(push, decision) }),
});
const acts = (kind) => ({
  kind,
  good: "accepted",
  max: ACT_MAX,
  subject: () => portal.connected(),
  message: ({ phone, connection }) =>
    kind === "rotate" ? phone.rotateFields(makeKeys()) : phone.actFields(connection, kind),
});
const statements = {
  approval: { ...answers("approve"), signer: "verification" },
  refusal: { ...answers("deny"), signer: "possession" },
  rotation: { ...acts("rotate"), signer: "verification" },
  unlock: { ...acts("unlock"), signer: "verification" },
  remove: { ...acts("remove"), signer: "verification" },
};

/* ---- what can be done to one ---- */

/** A statement in its parts: texts of header and claims, the same as objects, and how to put it together again. */
class Parts {
  constructor(jws, phone, signer) {
    [this.header, this.claims] = jws.split(".").slice(0, 2).map(textOf);
    Object.assign(this, { jws, phone, key: phone[signer] });
  }

  /** The compact form of those two texts, signed. */
  seal({ header = this.header, claims = this.claims } = {}) {
    return this.signed(`${text64(header)}.${text64(claims)}`);
  }

  signed(input, signature = es256(this.key.privateKey, Buffer.from(input))) {
    return `${input}.${text64(signature)}`;
  }

  withSignature(change) {
    const input = this.jws.split(".").slice(0, 2).join(".");
    return this.signed(input, change(es256(this.key.privateKey, Buffer.from(input)), Buffer.from(input)));
  }

  withHeader(change) {
    return this.seal({ header: JSON.stringify({ ...JSON.parse(this.header), ...change }) });
  }

  withClaims(change) {
    return this.seal({ claims: JSON.stringify({ ...JSON.parse(this.claims), ...change }) });
  }

  /** That claim's value as JSON text. */
  withValue(name, json) {
    const members = Object.entries(JSON.parse(this.claims))
      .map(([each, value]) => `${JSON.stringify(each)}:${each === name ? json : JSON.stringify(value)}`);
    return this.seal({ claims: `{${members.join(",")}}` });
  }

  /** The statement with that part's text changed after the encoding, and signed so. */
  encoded(part, change) {
    const input = this.jws.split(".").slice(0, 2);
    input[part] = change(input[part]);
    return this.signed(input.join("."));
  }
}

const escaped = (name) => `\\u${name.charCodeAt(0).toString(16).padStart(4, "0")}${name.slice(1)}`;
const without = (object, name) => Object.fromEntries(Object.entries(object).filter(([each]) => each !== name));
const number = (bytes) => BigInt(`0x${bytes.toString("hex")}`);
const bytes32 = (n) => Buffer.from(n.toString(16).padStart(64, "0"), "hex");

/** Unpadded base64url with one of its unused bits set; spaces make bytes of JSON have some. */
function trailingBit(text) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  if (text.length % 4 === 0) return trailingBit(text64(`${textOf(text)} `));
  return text.slice(0, -1) + alphabet[alphabet.indexOf(text.at(-1)) ^ 1];
}

/** Spaces, put inside the claims, until the compact form has as many characters as may be, and no more. */
function filled(parts, limit) {
  let jws = parts.jws;
  for (let spaces = Math.floor(((limit - jws.length) * 3) / 4); jws.length <= limit; spaces++) {
    const next = parts.seal({ claims: parts.claims.replace(/^\{/, `{${" ".repeat(spaces)}`) });
    if (next.length > limit) return { most: jws, more: next };
    jws = next;
  }
  throw new Error("longer to begin with");
}

const algorithms = (parts) => {
  const dsaEncoding = "ieee-p1363";
  const es384 = generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey;
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
  const alg = (name, signature) => {
    const header = JSON.stringify({ ...JSON.parse(parts.header), alg: name });
    const input = `${text64(header)}.${text64(parts.claims)}`;
    return signature ? parts.signed(input, signature(Buffer.from(input))) : parts.signed(input);
  };
  return {
    none: alg("none"),
    "none, unsigned": alg("none", () => ""),
    "NONE, unsigned": alg("nOnE", () => ""),
    HS256: alg("HS256"),
    "HS256 under the public key": alg("HS256", (input) =>
      createHmac("sha256", parts.key.point).update(input).digest()),
    "RS256 under another key": alg("RS256", (input) => sign("sha256", input, rsa)),
    ES384: alg("ES384", (input) => sign("sha384", input, { key: es384, dsaEncoding })),
    "ES384 by this key": alg("ES384"),
    ES256K: alg("ES256K"),
    EdDSA: alg("EdDSA"),
    es256: alg("es256"),
    "ES256 and a space": alg("ES256 "),
    "in an array": alg(["ES256"]),
    "a number": alg(256),
    null: alg(null),
    missing: parts.seal({ header: JSON.stringify(without(JSON.parse(parts.header), "alg")) }),
    "another hash": parts.withSignature((_, input) => sign("sha384", input, { key: parts.key.privateKey, dsaEncoding })),
  };
};

const signatures = (parts) => {
  const pair = (change) => parts.withSignature((raw) => Buffer.concat(change(raw.subarray(0, 32), raw.subarray(32))));
  const zero = Buffer.alloc(32);
  return {
    "in DER": parts.withSignature((_, input) => sign("sha256", input, parts.key.privateKey)),
    "r is 0": pair((_, s) => [zero, s]),
    "s is 0": pair((r) => [r, zero]),
    "both are 0": pair(() => [zero, zero]),
    "r is the order": pair((_, s) => [bytes32(ORDER), s]),
    "s is the order": pair((r) => [r, bytes32(ORDER)]),
    "s is 1, r too": pair(() => [bytes32(1n), bytes32(1n)]),
    "all bits set": pair(() => [Buffer.alloc(64, 255)]),
    "r and s exchanged": pair((r, s) => [s, r]),
    "63 bytes": pair((r, s) => [r, s.subarray(1)]),
    "65 bytes": pair((r, s) => [Buffer.alloc(1), r, s]),
    empty: pair(() => []),
    "one bit other": pair((r, s) => [r, s.map((byte, at) => (at === 31 ? byte ^ 1 : byte))]),
    "of another key": parts.withSignature((_, input) => es256(makeKey().privateKey, input)),
    "of other bytes": parts.withSignature(() => es256(parts.key.privateKey, Buffer.from("x"))),
  };
};

const headers = (parts) => {
  const header = JSON.parse(parts.header);
  const raw = (text) => parts.seal({ header: text });
  const extra = {
    crit: ["exp"], "crit that is empty": [], jwk: parts.key.jwk, jku: "https://example/", x5c: [], x5u: "", b64: false,
    zip: "DEF", cty: "JWT", enc: "A128GCM", ALG: "ES256", "": 1, __proto__x: {},
  };
  const rows = {};
  for (const [name, value] of Object.entries(extra))
    rows[`with ${name}`] = parts.withHeader({ [name.split(" ")[0]]: value });
  for (const name of Object.keys(header)) {
    const json = JSON.stringify(header[name]);
    rows[`${name} twice`] = raw(parts.header.replace(/^\{/, `{"${name}":${json},`));
    rows[`${name} twice, one escaped`] = raw(parts.header.replace(/^\{/, `{"${escaped(name)}":${json},`));
    rows[`another ${name} first`] = raw(parts.header.replace(/^\{/, `{"${name}":"none",`));
    rows[`another ${name} last`] = raw(parts.header.replace(/\}$/, `,"${name}":"none"}`));
    rows[`no ${name}`] = raw(JSON.stringify(without(header, name)));
    for (const value of [null, true, 1, "", [], {}, [header[name]]])
      rows[`${name} is ${JSON.stringify(value)}`] = parts.withHeader({ [name]: value });
    rows[`${name} and a space`] = parts.withHeader({ [name]: `${header[name]} ` });
    rows[`${name} with NUL`] = parts.withHeader({ [name]: `${header[name]}\0` });
  }
  const like = ["JWT", "nanopush-approval", `application/${header.typ}`, header.typ.toUpperCase()];
  for (const typ of [...like, ...otherTypes(header.typ)])
    rows[`typ ${typ}`] = parts.withHeader({ typ });
  Object.assign(rows, {
    "kid of a stranger's key": parts.withHeader({ kid: stranger.verification.thumbprint }),
    "kid of nobody's key": parts.withHeader({ kid: makeKey().thumbprint }),
    "kid with padding": parts.withHeader({ kid: `${header.kid}=` }),
    "kid with a trailing bit": parts.withHeader({ kid: trailingBit(header.kid) }),
    "kid of two": parts.withHeader({ kid: `${header.kid} ${header.kid}` }),
    ...documents(parts.header, raw),
    "longer than its limit": raw(parts.header.padEnd(HEADER_MAX + 1)),
  });
  return rows;
};

const otherTypes = (typ) => Object.keys(statements).map((each) => `nanopush-${each}+jwt`).filter((each) => each !== typ);

// What is not the JSON object that it was.
const documents = (text, raw) => ({
  empty: raw(""),
  "an empty object": raw("{}"),
  "an array": raw(`[${text}]`),
  "a string": raw(JSON.stringify(text)),
  null: raw("null"),
  "two of them": raw(text + text),
  "with a byte order mark": raw(`\ufeff${text}`),
  "with a byte behind": raw(`${text}x`),
  "with NUL behind": raw(`${text}\0`),
  "with a comma too many": raw(text.replace(/\}$/, ",}")),
  "with a comment": raw(text.replace(/\}$/, "/**/}")),
  "in single quotes": raw(text.replaceAll('"', "'")),
  "cut short": raw(text.slice(0, -1)),
  "in UTF-16": raw(Buffer.from(text, "utf16le")),
  "not UTF-8": raw(Buffer.concat([Buffer.from(text.slice(0, -2)), Buffer.of(0xff), Buffer.from('"}')])),
});

const NO_VALUES = [
  "null", "true", "[]", "{}", '""', "NaN", "Infinity", "'x'", "x",
  ...[String.raw`"\ud800"`, String.raw`"\u0000"`, String.raw`"\x61"`],
];
// The same number for some reader, or none at all. (In 64 bits no claim may be so large.)
const numbersLike = (n) => [
  `"${n}"`, `${n}.0`, `${n}e0`, `${n}E+0`, "1e9", "1E400", `-${n}`, "-1", `0${n}`, `+${n}`, "0x1", `${n}n`, "9".repeat(25),
  `${2n ** 63n}`, `${2n ** 64n + BigInt(n)}`,
];
const textsLike = (text) => [
  `${text} `, ` ${text}`, `${text}=`, text.slice(1), text.slice(0, -1), text.toUpperCase(), `${text}\0`, `${text}\u0301`,
  "x".repeat(300),
];

const claims = (parts) => {
  const own = JSON.parse(parts.claims);
  const rows = {};
  const raw = (text) => parts.seal({ claims: text });
  const add = (json) => raw(parts.claims.replace(/\}$/, `,${json}}`));
  for (const [name, value] of Object.entries(own)) {
    const json = JSON.stringify(value);
    rows[`no ${name}`] = raw(JSON.stringify(without(own, name)));
    rows[`${name} twice`] = add(`"${name}":${json}`);
    rows[`${name} twice, one escaped`] = add(`"${escaped(name)}":${json}`);
    rows[`another ${name} first`] = raw(parts.claims.replace(/^\{/, `{"${name}":null,`));
    for (const other of NO_VALUES) rows[`${name} is ${other}`] = parts.withValue(name, other);
    for (const other of [`[${json}]`, `{"${name}":${json}}`]) rows[`${name} is ${other}`] = parts.withValue(name, other);
    if (typeof value === "number")
      for (const other of numbersLike(value)) rows[`${name} is ${other}`] = parts.withValue(name, other);
    else
      for (const other of textsLike(value))
        rows[`${name} is ${JSON.stringify(other).slice(0, 60)}`] = parts.withClaims({ [name]: other });
  }
  return {
    ...rows,
    "one more": parts.withClaims({ nbf: 1 }),
    "one more without a name": add('"":1'),
    "one more, nested": add(`"a":${"[".repeat(100)}${"]".repeat(100)}`),
    "one more, nested deeper than any parser goes": add(`"a":${"[".repeat(1200)}`),
    "one more, __proto__": add('"__proto__":{}'),
    ...documents(parts.claims, raw),
  };
};

const truths = {
  answer: (parts) => ({
    "another nonce": parts.withClaims({ nonce: randomBytes(32).toString("base64url") }),
    "a display of something else": parts.withClaims({ display: randomBytes(32).toString("base64url") }),
    "exp a second later": parts.withClaims({ exp: JSON.parse(parts.claims).exp + 1 }),
    "exp a second sooner": parts.withClaims({ exp: JSON.parse(parts.claims).exp - 1 }),
    "another device": parts.withClaims({ iss: stranger.deviceId }),
    "a mode that was not asked": parts.withClaims({ mode: "code" }),
    "a code where none was asked": parts.withClaims({ code: "042" }),
    "a decision that there is not": parts.withClaims({ decision: "maybe" }),
  }),
  act: (parts) => ({
    "iat five minutes ago": parts.withClaims({ iat: JSON.parse(parts.claims).iat - 310 }),
    "iat in five minutes": parts.withClaims({ iat: JSON.parse(parts.claims).iat + 310 }),
    "iat in milliseconds": parts.withClaims({ iat: JSON.parse(parts.claims).iat * 1000 }),
    "another device": parts.withClaims({ iss: stranger.deviceId }),
    "another user": parts.withClaims({ sub: stranger.user }),
  }),
};

const compacts = (parts) => {
  const [header, payload, signature] = parts.jws.split(".");
  const rows = {
    "one part": header,
    "two parts": `${header}.${payload}`,
    "two parts and a dot": `${header}.${payload}.`,
    "four parts": `${parts.jws}.${signature}`,
    "five parts": `${header}....${signature}`,
    "a dot in front": `.${parts.jws}`,
    "a dot behind": `${parts.jws}.`,
    "no header": parts.signed(`.${payload}`),
    "no claims": parts.signed(`${header}.`),
    "claims detached": `${header}..${signature}`,
    dots: "..",
    "a space in front": ` ${parts.jws}`,
    "a space behind": `${parts.jws} `,
    "a line end behind": `${parts.jws}\n`,
    "signature with padding": `${parts.jws}==`,
    "signature with a trailing bit": `${header}.${payload}.${trailingBit(signature)}`,
    "signature in hex": `${header}.${payload}.${Buffer.from(signature, "base64url").toString("hex")}`,
    "as JSON": JSON.stringify({ protected: header, payload, signature }),
    "as a header of HTTP": `Bearer ${parts.jws}`,
    "a signature that is a letter short": parts.jws.slice(0, -1),
    "percent encoded": parts.jws.replaceAll(".", "%2E"),
  };
  const forms = {
    padded: (text) => text.padEnd(Math.ceil(text.length / 4) * 4, "=") + (text.length % 4 === 0 ? "====" : ""),
    "with a space": (text) => `${text.slice(0, 8)} ${text.slice(8)}`,
    "with a line end": (text) => `${text.slice(0, 8)}\n${text.slice(8)}`,
    "in the standard alphabet": (text) => `${text.slice(0, 8)}+/${text.slice(10)}`,
    "of a length that there is not": (text) => text.slice(0, Math.floor(text.length / 4) * 4 - 3),
    "with a trailing bit": trailingBit,
    "with a character beyond ASCII": (text) => `${text.slice(0, 8)}\u00e9${text.slice(9)}`,
  };
  for (const [what, change] of Object.entries(forms))
    for (const [at, part] of ["header", "claims"].entries()) rows[`${part} ${what}`] = parts.encoded(at, change);
  return rows;
};

/* ---- forms that are unusual, and say the same to everybody ---- */

const reversed = (text) => JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(text)).reverse()));
const spaced = (text) => ` ${text.replaceAll(",", " ,\r\n\t")}\n`;
const withS = (parts, choose) =>
  parts.withSignature((raw) => {
    const s = number(raw.subarray(32));
    return Buffer.concat([raw.subarray(0, 32), bytes32(choose(s, ORDER - s))]);
  });

const unusual = {
  "members of the header in the other order": (parts) => parts.seal({ header: reversed(parts.header) }),
  "claims in the other order": (parts) => parts.seal({ claims: reversed(parts.claims) }),
  "names and values with escapes": (parts) => parts.seal({
    header: parts.header.replace('"alg":"E', '"\\u0061lg":"\\u0045'),
    claims: parts.claims.replace('"org":"o', '"\\u006frg":"\\u006f').replace('"sub":"u', '"s\\u0075b":"\\u0075'),
  }),
  "spaces and line ends between": (parts) => parts.seal({ header: spaced(parts.header), claims: spaced(parts.claims) }),
  "s above half the order": (parts) => withS(parts, (s, other) => (s > other ? s : other)),
  "s below half the order": (parts) => withS(parts, (s, other) => (s > other ? other : s)),
};

/* ---- trying them ---- */

const partsOf = (what, subject) => {
  const message = what.message(subject);
  return { message, parts: new Parts(message.jws, subject.phone, what.signer) };
};

/** What the broker says to the statement. */
async function replyTo({ kind }, { connection }, message, jws) {
  connection.send(kind, { ...message, jws });
  return connection.hear();
}

const stateOf = async ({ user, question }) => ({
  user: (await portal.users.getUser({ user })).user,
  state: question && (await portal.challengeState(question.id)),
});

for (const [name, what] of Object.entries(statements))
  describe(name, () => {
    let subject;
    before(async () => (subject = await what.subject()));
    after(async () => {
      assert.deepEqual(broker.complaints(), []);
      await login(portal);
    });

    const said = truths[what.kind === "answer" ? "answer" : "act"];
    const tables = { algorithms, signatures, headers, claims, "what is said": said, compacts };
    for (const [table, make] of Object.entries(tables))
      test(`${table}: each refused, and nothing has changed`, async () => {
        const before = await stateOf(subject);
        const { message, parts } = partsOf(what, subject);
        const came = {};
        const rows = make(parts);
        for (const [row, jws] of Object.entries(rows)) {
          assert.notEqual(jws, parts.jws, `${row} is another`);
          came[row] = await replyTo(what, subject, message, jws);
        }
        assert.deepEqual(came, Object.fromEntries(Object.keys(rows).map((row) => [row, "INVALID"])));
        assert.deepEqual(await stateOf(subject), before);
      });

    test("one byte more than its limit is refused, and the good one is as good as ever", async () => {
      const { message, parts } = partsOf(what, subject);
      const { most, more } = filled(parts, what.max);
      assert.equal(await replyTo(what, subject, message, more), "INVALID");
      assert.equal(await replyTo(what, subject, message, most), what.good);
      if (what.kind === "answer")
        assert.notEqual(await portal.challengeState(subject.question.id), ChallengeState.PENDING);
    });

    for (const [form, make] of Object.entries(unusual))
      test(`${form}: accepted, as it is by every other reader`, async () => {
        const fresh = await what.subject();
        const { message, parts } = partsOf(what, fresh);
        assert.equal(await replyTo(what, fresh, message, make(parts)), what.good);
        fresh.connection.destroy();
      });
  });
