// A phone, written from proto/nanopush/v1/device.proto alone: an independent check of the broker, with raw access for
// those that misbehave.
import assert from "node:assert/strict";
import { X509Certificate, generateKeyPairSync } from "node:crypto";
import { isIP } from "node:net";
import tls from "node:tls";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";

import { DisplaySchema, Mode, Platform, UserVerification } from "../../build/gen-js/nanopush/v1/common_pb.js";
import {
  Accepted_Act, BrokerMessageSchema, Error_Code, PhoneMessageSchema,
} from "../../build/gen-js/nanopush/v1/device_pb.js";
import {
  displayHash, enrolInput, es256, helloInput, jwsInput, pointOf, proof, sha256, thumbprint,
} from "../vectors/inputs.mjs";
import { deadline, pause, within } from "./harness.mjs";

export const ALPN = "nanopush/1";
export const PHONE_NAME = "Ada's phone";
/** Bits of Hello.capabilities. */
export const CAN_CHOOSE = 1;
export const CAN_CODE = 2;
const FRAME_MAX_BYTES = 16384;
const REPLY_MS = 10_000;
const REPEAT_MS = 200; // of an Enrol that waits; a real phone takes 2 s

/** The broker's Error message, as an exception. */
export class DeviceError extends Error {
  constructor(error) {
    super(`${Error_Code[error.code]} ${error.subject}: ${error.text}`);
    Object.assign(this, { code: Error_Code[error.code], subject: error.subject, text: error.text });
  }
}

export function parseUri(text) {
  const uri = new URL(text);
  assert.equal(uri.protocol, "nanopush:");
  const get = (name) => uri.searchParams.get(name);
  const [, host, port] = /^(.*):(\d+)$/.exec(get("h"));
  assert.equal(get("v"), "1");
  return {
    host: host.replace(/^\[(.*)\]$/, "$1"),
    port: Number(port),
    serverName: get("n"),
    organisation: get("o"),
    user: get("u"),
    enrolmentId: get("e"),
    token: Buffer.from(get("t"), "base64url"),
    pin: Buffer.from(get("p"), "base64url"),
    secret: uri.hash.startsWith("#s=") ? Buffer.from(uri.hash.slice(3), "base64url") : null,
  };
}

// The public key comes as JWK from the generator itself: publicKey.export() can deadlock with the garbage collector that
// frees the generator's job (Node 20).
export function makeKey() {
  const { privateKey, publicKey: jwk } = generateKeyPairSync("ec", { namedCurve: "P-256", publicKeyEncoding: { format: "jwk" } });
  return { privateKey, jwk, point: pointOf(jwk), thumbprint: thumbprint(jwk) };
}

const varint = (n) => {
  const out = [];
  for (; n >= 0x80; n = Math.floor(n / 0x80)) out.push((n % 0x80) | 0x80);
  return Buffer.from([...out, n]);
};

export const frame = (payload) => Buffer.concat([varint(payload.length), payload]);

/** First frame of the bytes: {payload, rest}, or null while it is not whole. */
function takeFrame(bytes) {
  let length = 0;
  for (let at = 0; at < Math.min(bytes.length, 3); at++) {
    length += (bytes[at] & 0x7f) * 2 ** (7 * at);
    if (bytes[at] & 0x80) continue;
    assert.ok(at === 0 || bytes[at] !== 0, "the length is in its shortest form");
    assert.ok(length <= FRAME_MAX_BYTES, "the frame is within its limit");
    const end = at + 1 + length;
    return bytes.length < end ? null : { payload: bytes.subarray(at + 1, end), rest: bytes.subarray(end) };
  }
  assert.ok(bytes.length < 3, "the length has at most three bytes");
  return null;
}

// The phone knows no certificate, only the pin of the one that must have issued the broker's.
function checkChain(socket, { serverName, pin }) {
  const peer = socket.getPeerCertificate(true);
  const leaf = new X509Certificate(peer.raw);
  assert.ok(peer.issuerCertificate, "the issuing CA's certificate was sent");
  const ca = new X509Certificate(peer.issuerCertificate.raw);
  assert.deepEqual(sha256(ca.publicKey.export({ type: "spki", format: "der" })), Buffer.from(pin), "the CA is the pinned one");
  assert.ok(ca.ca && leaf.checkIssued(ca) && leaf.verify(ca.publicKey), "the pinned CA issued the certificate");
  assert.ok(isIP(serverName) ? leaf.checkIP(serverName) : leaf.checkHost(serverName), "the certificate bears the name");
  const now = Date.now();
  assert.ok(Date.parse(leaf.validFrom) <= now && now < Date.parse(leaf.validTo), "the certificate is valid now");
}

export class Connection {
  #waiting = [];
  #input = Buffer.alloc(0);

  /** Handshake, and check what the other side is. TLS options may be overridden. */
  static async open({ host, port, serverName, pin }, options = {}) {
    const socket = tls.connect({
      host: host === "localhost" ? "127.0.0.1" : host, // not what a resolver makes of it, which may be ::1
      port,
      servername: isIP(serverName) ? undefined : serverName,
      ALPNProtocols: [ALPN],
      minVersion: "TLSv1.3",
      rejectUnauthorized: false, // checkChain() does it, by the pin
      ...options,
    });
    socket.setNoDelay(true);
    const tickets = [];
    socket.on("session", (ticket) => tickets.push(ticket));
    await within(REPLY_MS, "TLS handshake", new Promise((resolve, reject) => {
      socket.once("secureConnect", resolve);
      socket.once("error", reject);
      socket.once("close", () => reject(new Error("closed during the handshake")));
    }));
    try {
      assert.equal(socket.alpnProtocol, ALPN);
      assert.equal(socket.getProtocol(), "TLSv1.3");
      if (!socket.isSessionReused()) checkChain(socket, { serverName, pin }); // a ticket stands for the chain then
    } catch (error) {
      socket.destroy();
      throw error;
    }
    return new Connection(socket, tickets);
  }

  constructor(socket, tickets = []) {
    this.socket = socket;
    this.tickets = tickets; // sessions to resume by, as they come
    this.resumed = socket.isSessionReused();
    this.messages = [];
    this.isClosed = false;
    this.cb = socket.exportKeyingMaterial(32, "EXPORTER-nanopush-v1", Buffer.alloc(0));
    this.closed = new Promise((resolve) => socket.once("close", resolve)).then(() => {
      this.isClosed = true;
      this.#wake();
    });
    socket.on("error", (error) => (this.error = error));
    socket.on("data", (bytes) => this.#receive(bytes));
  }

  #receive(bytes) {
    this.#input = Buffer.concat([this.#input, bytes]);
    for (let taken; (taken = takeFrame(this.#input)) !== null; this.#input = taken.rest)
      this.messages.push(fromBinary(BrokerMessageSchema, taken.payload).message);
    this.#wake();
  }

  #wake() {
    for (const resume of this.#waiting.splice(0)) resume();
  }

  sendBytes(bytes) {
    this.socket.write(bytes);
  }

  /** Send the message of that kind: "hello", "ack", ... */
  send(kind, fields = {}) {
    const message = create(PhoneMessageSchema, { message: { case: kind, value: fields } });
    this.sendBytes(frame(toBinary(PhoneMessageSchema, message)));
  }

  /**
   * The next message of that kind, now or later; others stay where they are. One of a kind that is not welcome is
   * thrown (an Error, where nothing else is said), and so is the end of the connection.
   */
  async next(kind, matches = () => true, ms = REPLY_MS, unwelcome = ["error"]) {
    const take = async () => {
      for (;;) {
        const at = this.messages.findIndex((message) => message.case === kind && matches(message.value));
        if (at >= 0) return this.messages.splice(at, 1)[0].value;
        const unasked = this.messages.findIndex((message) => unwelcome.includes(message.case));
        if (unasked >= 0) {
          const [{ case: other, value }] = this.messages.splice(unasked, 1);
          throw other === "error" ? new DeviceError(value) : new Error(`${other} in place of ${kind}`);
        }
        if (this.isClosed) throw new Error(`closed while waiting for ${kind}: ${this.error?.message ?? "orderly"}`);
        await new Promise((resolve) => this.#waiting.push(resolve));
      }
    };
    return within(ms, `${kind} from the broker`, take());
  }

  /** What the broker says next: "welcome" or another kind, but no push or notice; "DENIED" or another code; "closed". */
  async hear() {
    const take = async () => {
      for (;;) {
        const at = this.messages.findIndex(({ case: kind }) => kind !== "challenge" && kind !== "notice");
        if (at >= 0) {
          const [{ case: kind, value }] = this.messages.splice(at, 1);
          return kind === "error" ? Error_Code[value.code] : kind;
        }
        if (this.isClosed) return "closed";
        await new Promise((resolve) => this.#waiting.push(resolve));
      }
    };
    return within(REPLY_MS, "a reply, or the end", take());
  }

  /** The broker's Error, with its code's name. */
  async nextError() {
    const { code, subject, text } = await this.next("error", undefined, undefined, ["welcome", "enrolled", "resolved", "accepted"]);
    return { code: Error_Code[code], subject, text };
  }

  /** Wait for a Pong: what was sent before has been handled by then. */
  async ping() {
    this.send("ping");
    return this.next("pong");
  }

  /** Resolves when the broker has closed. */
  untilClosed(ms = REPLY_MS) {
    return within(ms, "the broker closes the connection", this.closed);
  }

  close() {
    this.socket.end();
  }

  /** Cut without a word, as a phone that loses its network and power. */
  destroy() {
    this.socket.destroy();
  }
}

const MODE_TEXT = { [Mode.TAP]: "tap", [Mode.CHOOSE]: "choose", [Mode.CODE]: "code" };

export const makeKeys = () => ({ possession: makeKey(), verification: makeKey() });

export class Phone {
  /**
   * Nobody's device yet: what it is to become stands in the enrolment URI.
   *
   * @param how  other keys (possession, verification), capabilities, name or platform than it has by itself
   */
  static of(text, how = {}) {
    const uri = typeof text === "string" ? parseUri(text) : text;
    const { host, port, serverName, pin, organisation, user } = uri;
    const endpoint = { host, port, serverName, pin };
    const own = { ...makeKeys(), capabilities: 0, name: PHONE_NAME, platform: Platform.OTHER };
    return Object.assign(new Phone(), { uri, endpoint, organisation, user, ...own, ...how });
  }

  constructor() {
    this.generation = 1;
    this.connections = new Set();
    this.clock = Date.now; // its own, which may be wrong
    this.brokerAheadMs = 0; // of that clock, as Welcome told
  }

  /** Fields of Enrol, signed for that connection; changes are signed too, unless they are signatures. */
  static enrolFields(connection, uri, { possession, verification }, changes = {}) {
    const parts = {
      cb: connection.cb,
      organisation: uri.organisation,
      user: uri.user,
      enrolmentId: uri.enrolmentId,
      tp1: possession.thumbprint,
      tp2: verification.thumbprint,
    };
    const signed = enrolInput(parts);
    return {
      organisation: uri.organisation,
      enrolmentId: uri.enrolmentId,
      token: uri.token,
      possessionKey: possession.point,
      userVerificationKey: verification.point,
      possessionSignature: es256(possession.privateKey, signed),
      userVerificationSignature: es256(verification.privateKey, signed),
      proof: uri.secret ? proof(uri.secret, parts) : new Uint8Array(),
      name: PHONE_NAME,
      platform: Platform.OTHER,
      ...changes,
    };
  }

  /** Enrol as the URI says, which asks for nothing further; the connection that it took is closed again. */
  static async enrol(text, how) {
    const phone = Phone.of(text, how);
    const connection = await phone.open();
    const { waiting } = await phone.enrolOn(connection);
    assert.equal(waiting, false, "nothing further is asked for");
    connection.close();
    return phone;
  }

  /** Fields of Scan. */
  scanFields() {
    const { organisation, enrolmentId, token } = this.uri;
    return { organisation, enrolmentId, token };
  }

  /** Say Enrol, once more or for the first time: what Enrolled says of it. */
  async enrolOn(connection) {
    const { capabilities, name, platform } = this;
    connection.send("enrol", Phone.enrolFields(connection, this.uri, this, { capabilities, name, platform }));
    const enrolled = await connection.next("enrolled");
    assert.equal(enrolled.enrolmentId, this.uri.enrolmentId);
    assert.equal(enrolled.organisation, this.organisation);
    assert.equal(enrolled.user, this.user);
    Object.assign(this, { deviceId: enrolled.deviceId, generation: enrolled.generation });
    return enrolled;
  }

  /** Repeat an Enrol that waits until it says done. */
  async untilEnrolled(connection, ms = REPLY_MS) {
    for (const end = Date.now() + deadline(ms); Date.now() < end; await pause(REPEAT_MS)) {
      const enrolled = await this.enrolOn(connection);
      if (!enrolled.waiting) return enrolled;
    }
    throw new Error(`not enrolled within ${deadline(ms)} ms`);
  }

  /** A connection on which nothing was said yet. */
  async open(options) {
    const connection = await Connection.open(this.endpoint, options);
    this.connections.add(connection);
    connection.closed.then(() => this.connections.delete(connection));
    return connection;
  }

  /** Fields of Hello, signed for that connection. */
  helloFields(connection, changes = {}) {
    const fields = {
      organisation: this.organisation,
      deviceId: this.deviceId,
      possessionKey: this.possession.point,
      generation: this.generation,
      trustAnchor: this.endpoint.pin,
      capabilities: this.capabilities,
      ...changes,
    };
    const signed = helloInput({ cb: connection.cb, ...fields });
    return { ...fields, signature: changes.signature ?? es256(this.possession.privateKey, signed) };
  }

  /** Say Hello on a connection, which may have other accounts: Welcome. */
  async helloOn(connection) {
    connection.send("hello", this.helloFields(connection));
    const welcome = await connection.next("welcome", ({ deviceId }) => deviceId === this.deviceId);
    this.brokerAheadMs = Number(welcome.brokerUnixMs) - this.clock();
    return welcome;
  }

  /** Connect and say Hello: the connection, with what Welcome said as `welcome`. */
  async connect(options) {
    const connection = await this.open(options);
    connection.welcome = await this.helloOn(connection);
    return connection;
  }

  /** Seconds, the broker's time as this phone estimates it. */
  brokerNow() {
    return Math.floor((this.clock() + this.brokerAheadMs) / 1000);
  }

  /** The next push for this account, acknowledged; with the display parsed, as `shown`. */
  nextPush(connection) {
    return this.#take(connection, () => true);
  }

  /** The same of one challenge, whatever else comes before. */
  pushOf(connection, id) {
    return this.#take(connection, ({ challengeId }) => challengeId === id);
  }

  async #take(connection, matches) {
    const push = await connection.next("challenge", (each) => each.deviceId === this.deviceId && matches(each));
    connection.send("ack", { challengeId: push.challengeId, attempt: push.attempt });
    return { ...push, shown: fromBinary(DisplaySchema, push.display) };
  }

  nextNotice(connection, kind) {
    return connection.next("notice", (notice) => notice.deviceId === this.deviceId && notice.kind === kind);
  }

  jws(signer, typ, claims, header = {}) {
    const input = jwsInput({ alg: "ES256", typ, kid: signer.thumbprint, ...header }, claims);
    return `${input}.${es256(signer.privateKey, Buffer.from(input)).toString("base64url")}`;
  }

  /** The compact JWS of a decision, with whatever is to be wrong about it; code: the digits that were entered. */
  answer(push, decision, { claims = {}, header = {}, key, code } = {}) {
    const approves = decision === "approve";
    const verified = approves && push.userVerification !== UserVerification.NOT_ASKED;
    return this.jws(
      key ?? (verified ? this.verification : this.possession),
      approves ? "nanopush-approval+jwt" : "nanopush-refusal+jwt",
      {
        v: 1,
        iss: this.deviceId,
        org: this.organisation,
        sub: this.user,
        aud: push.portalId,
        jti: push.challengeId,
        nonce: Buffer.from(push.nonce).toString("base64url"),
        decision,
        mode: MODE_TEXT[push.mode],
        ...(code === undefined ? {} : { code }),
        display: displayHash(push.display),
        gen: this.generation,
        iat: this.brokerNow(),
        exp: Number(push.expireUnixS),
        ...claims,
      },
      header,
    );
  }

  sendAnswer(connection, push, decision, changes) {
    connection.send("answer", { challengeId: push.challengeId, jws: this.answer(push, decision, changes) });
  }

  /** Send an answer and wait to be told how the challenge ended. */
  async decide(connection, push, decision, changes) {
    this.sendAnswer(connection, push, decision, changes);
    return connection.next("resolved", ({ challengeId }) => challengeId === push.challengeId);
  }

  /** Send an answer that is to be refused: the broker's Error. */
  async refusedAnswer(connection, push, decision, changes) {
    this.sendAnswer(connection, push, decision, changes);
    return connection.nextError();
  }

  /** Fields of Rotate, signed by the present user-verification key, with whatever is to be wrong about it. */
  rotateFields(keys, { claims = {}, header = {}, key = this.verification, ...fields } = {}) {
    const { possession, verification } = keys;
    return {
      deviceId: this.deviceId,
      possessionKey: possession.point,
      userVerificationKey: verification.point,
      jws: this.jws(key, "nanopush-rotation+jwt", {
        v: 1,
        iss: this.deviceId,
        org: this.organisation,
        sub: this.user,
        gen: this.generation + 1,
        tp1: possession.thumbprint,
        tp2: verification.thumbprint,
        iat: this.brokerNow(),
        ...claims,
      }, header),
      ...fields,
    };
  }

  /** Take new keys: what it was before, as a phone that has not noticed. */
  async rotate(connection, keys = makeKeys()) {
    connection.send("rotate", this.rotateFields(keys));
    const { generation } = await this.accepted(connection, Accepted_Act.ROTATED);
    const before = Object.assign(new Phone(), this);
    Object.assign(this, keys, { generation });
    return before;
  }

  /** Fields of Unlock or Remove, bound to that connection, with whatever is to be wrong about them. */
  actFields(connection, kind, { claims = {}, header = {}, key = this.verification, ...fields } = {}) {
    return {
      deviceId: this.deviceId,
      jws: this.jws(key, `nanopush-${kind}+jwt`, {
        v: 1,
        iss: this.deviceId,
        org: this.organisation,
        sub: this.user,
        gen: this.generation,
        iat: this.brokerNow(),
        cb: connection.cb.toString("base64url"),
        ...claims,
      }, header),
      ...fields,
    };
  }

  async unlock(connection) {
    connection.send("unlock", this.actFields(connection, "unlock"));
    return this.accepted(connection, Accepted_Act.UNLOCKED);
  }

  async remove(connection, changes) {
    connection.send("remove", this.actFields(connection, "remove", changes));
    return this.accepted(connection, Accepted_Act.REMOVED);
  }

  async accepted(connection, act) {
    const accepted = await connection.next("accepted");
    assert.equal(accepted.deviceId, this.deviceId);
    assert.equal(accepted.act, act);
    return accepted;
  }

  hangUp() {
    for (const connection of this.connections) connection.destroy();
  }
}
