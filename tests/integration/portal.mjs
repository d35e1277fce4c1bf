// A portal, as the .proto files tell its developer to write one: pins keys at enrolment under a secret of its own,
// brings its own nonces, and signs nobody in on the broker's word. Its clients are Connect's own.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import https from "node:https";

import { fromBinary } from "@bufbuild/protobuf";
import { Code, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { compactVerify, decodeProtectedHeader, importJWK } from "jose";

import { ChallengeService } from "../../build/gen-js/nanopush/v1/challenge_pb.js";
import { ChallengeState, DisplaySchema, Mode, UserVerification } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { EnrolmentService, EnrolmentState } from "../../build/gen-js/nanopush/v1/enrolment_pb.js";
import { EventService } from "../../build/gen-js/nanopush/v1/event_pb.js";
import { UserService } from "../../build/gen-js/nanopush/v1/user_pb.js";
import { displayHash, jwkOf, proof, thumbprint } from "../vectors/inputs.mjs";
import { deadline, eventually, exchange, pause, RpcError, within } from "./harness.mjs";
import { Phone } from "./phone.mjs";

const WATCH_MS = 20_000;
const ids = new Map();

/** A name that no other test uses. */
export function unique(stem) {
  ids.set(stem, (ids.get(stem) ?? 0) + 1);
  return `${stem}-${ids.get(stem)}`;
}

export class Portal {
  /** Create an organisation, where none is given, and a portal in it. */
  static async create(broker, { organisation, preset, modes = preset ? [] : ["MODE_TAP"], scopes = ["SCOPE_CHALLENGE", "SCOPE_ENROL"], ...how } = {}) {
    let org = organisation;
    if (!org) {
      org = unique("org");
      await broker.admin("AdminService/CreateOrganisation", { organisation: { id: org, name: `${org} GmbH` } });
    }
    const id = unique("portal");
    const { credential } = await broker.admin("AdminService/CreatePortal", {
      portal: { id, organisation: org, name: `Portal ${id}`, modes, scopes, preset },
    });
    return new Portal(broker, { id, organisation: org, credential, overrides: scopes.includes("SCOPE_ADMIN"), ...how });
  }

  constructor(broker, { id, organisation, credential, overrides = false, binary = false, useGet = false }) {
    Object.assign(this, { broker, id, organisation, credential, overrides });
    this.agent = new https.Agent({ keepAlive: true, ca: broker.ca });
    broker.onStop(() => this.agent.destroy());
    const transport = createConnectTransport({
      baseUrl: `https://localhost:${broker.ports.portal}`,
      httpVersion: "1.1",
      useBinaryFormat: binary,
      useHttpGet: useGet,
      nodeOptions: { agent: this.agent, lookup: loopback },
      defaultTimeoutMs: deadline(90_000),
      interceptors: [
        (next) => async (request) => {
          request.header.set("Authorization", `Bearer ${credential}`);
          const response = await next(request);
          this.lastWorker = response.header.get("nanopush-worker");
          return response;
        },
      ],
    });
    this.challenges = createClient(ChallengeService, transport);
    this.enrolments = createClient(EnrolmentService, transport);
    this.users = createClient(UserService, transport);
    this.events = createClient(EventService, transport);
  }

  /** The same portal by a single connection of its own, which stays at one worker; user: one that there is. */
  async alone(user) {
    const same = new Portal(this.broker, this);
    same.agent.maxSockets = 1;
    await same.users.getUser({ user });
    return same;
  }

  /** The process that such a connection leads to. */
  holder() {
    const [socket] = Object.values({ ...this.agent.freeSockets, ...this.agent.sockets }).flat();
    return this.broker.holderOf(socket);
  }

  /** One raw POST, on a connection of its own: status, headers, body. */
  post(method, body, { headers = {}, ...options } = {}) {
    return exchange({
      tls: true,
      ca: this.broker.ca,
      host: "127.0.0.1",
      servername: "localhost",
      port: this.broker.ports.portal,
      method: "POST",
      path: `/nanopush.v1.${method}`,
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${this.credential}`, ...headers },
      body: typeof body === "object" && !Buffer.isBuffer(body) ? JSON.stringify(body) : body,
      ...options,
    });
  }

  /** The same, parsed; throws RpcError. */
  async call(method, request, options) {
    const { status, headers, body } = await this.post(method, request, options);
    assert.equal(headers["content-type"], "application/json", `content type of ${status} ${body}`);
    const answer = JSON.parse(body);
    if (status !== 200) throw new RpcError(status, answer);
    return answer;
  }

  /**
   * Enrol a phone for the user: {phone, pins}. The pins are what a portal stores: for each of the two keys the key
   * itself, under its thumbprint, once the proof under its own secret was right.
   *
   * @param how  its keys, capabilities, name and platform, as Phone.of() takes them; secret: the portal's own
   */
  async enrol(user = unique("user"), { secret = randomBytes(16), ...how } = {}) {
    const { id, phone } = await this.begin({ user }, { secret, ...how });
    const connection = await phone.open();
    const { waiting } = await phone.enrolOn(connection);
    assert.equal(waiting, false, "nothing further is asked for");
    connection.close();
    const { enrolment } = await this.enrolments.getEnrolment({ id });
    return { user, phone, pins: this.pin(enrolment, secret) };
  }

  /** Begin an enrolment: its id, with the phone that is to scan it. One who may does without an old phone's approval. */
  async begin(request = {}, { secret = randomBytes(16), ...how } = {}) {
    const asked = { user: unique("user"), overrideApproval: this.overrides, ...request };
    const { id, uri } = await this.enrolments.createEnrolment(asked);
    const phone = Phone.of(`${uri}#s=${secret.toString("base64url")}`, how);
    this.broker.onStop(() => phone.hangUp());
    return { id, phone, secret, user: phone.user };
  }

  async enrolmentState(id) {
    return (await this.enrolments.getEnrolment({ id })).enrolment.state;
  }

  async challengeState(id) {
    return (await this.challenges.getChallenge({ id })).challenge.state;
  }

  /** A user with a phone that is connected. */
  async connected(how) {
    const enrolled = await this.enrol(undefined, how);
    return { ...enrolled, connection: await enrolled.phone.connect() };
  }

  /** The same, asked: everything that a test of an answer needs. */
  async asked(request, how) {
    const enrolled = await this.connected(how);
    const question = await this.ask(enrolled.user, request);
    const push = await enrolled.phone.nextPush(enrolled.connection);
    assert.equal(push.challengeId, question.id);
    return { ...enrolled, question, push };
  }

  pin(enrolment, secret) {
    assert.equal(enrolment.state, EnrolmentState.DONE);
    const { deviceId, possessionKey, userVerificationKey, proof: proven } = enrolment.device;
    const [possession, verification] = [possessionKey, userVerificationKey].map(jwkOf);
    const [tp1, tp2] = [thumbprint(possession), thumbprint(verification)];
    const parts = { organisation: this.organisation, user: enrolment.user, enrolmentId: enrolment.id, tp1, tp2 };
    assert.deepEqual(Buffer.from(proven), proof(secret, parts), "the proof is right under the portal's own secret");
    assert.equal(enrolment.device.possessionThumbprint, tp1);
    assert.equal(enrolment.device.userVerificationThumbprint, tp2);
    return {
      deviceId,
      organisation: this.organisation,
      user: enrolment.user,
      generation: 1,
      possession: { kid: tp1, jwk: possession },
      verification: { kid: tp2, jwk: verification },
    };
  }

  /** Ask, with an own nonce: what was asked with what came back, for verify(). */
  async ask(user, request = {}) {
    const nonce = randomBytes(32);
    const asked = { user, mode: Mode.TAP, nonce, context: { application: "Payroll", address: "192.0.2.7" }, ...request };
    const created = await this.challenges.createChallenge(asked);
    return { ...asked, id: created.id, number: created.number, expireTime: created.expireTime, worker: this.lastWorker };
  }

  /** The person signs in with that phone, to the end: the claims of the approval. */
  async signIn({ user, phone, connection, pins }, request) {
    const question = await this.ask(user, request);
    const push = await phone.pushOf(connection, question.id);
    const code = push.mode === Mode.TAP ? undefined : question.number;
    assert.equal((await phone.decide(connection, push, "approve", { code })).state, ChallengeState.APPROVED);
    return this.approved(question, pins);
  }

  /** The approval of what was asked, verified: its claims. */
  async approved(question, pins) {
    const { challenge } = await this.challenges.getChallenge({ id: question.id });
    return this.verify(challenge, question, pins);
  }

  /** Watch a challenge: the snapshots so far, until() one that matches, and end(), all of them. */
  follow(id) {
    return followed(id, this.challenges.watchChallenge({ id }), ({ challenge }) => challenge);
  }

  /** The same of an enrolment. */
  followEnrolment(id) {
    return followed(id, this.enrolments.watchEnrolment({ id }), ({ enrolment }) => enrolment);
  }

  /** The seven points of challenge.proto, for an approval. */
  async verify(challenge, asked, pins) {
    const { jws } = challenge.answer;
    const { payload, header } = await readAnswer(jws, pins);
    assert.equal(challenge.state, ChallengeState.APPROVED);

    const less = [UserVerification.PREFERRED, UserVerification.NOT_ASKED].includes(asked.userVerification);
    const verified = header.kid === pins.verification.kid;
    assert.ok(less || verified, "1: by the user-verification key");
    assert.equal(challenge.answer.userVerified, verified, "the broker says which key it was");
    assert.equal(header.typ, "nanopush-approval+jwt", "1: an approval");
    const { aud, org, sub, jti } = payload;
    assert.deepEqual({ aud, org, sub, jti }, { aud: this.id, org: this.organisation, sub: asked.user, jti: asked.id }, "2");
    assert.equal(payload.nonce, asked.nonce.toString("base64url"), "3: my nonce");
    assert.equal(payload.mode, Mode[asked.mode].toLowerCase(), "4: the mode that I asked for");
    assert.equal(payload.code, asked.mode === Mode.TAP ? undefined : asked.number, "4: the number that I showed, and no other");
    assert.equal(payload.display, displayHash(challenge.display), "5: the hash of what was shown");
    this.checkDisplay(fromBinary(DisplaySchema, challenge.display), asked);
    assert.equal(payload.decision, "approve", "6");
    assert.ok(payload.exp * 1000 > Date.now(), "7: not expired by my own clock");
    return payload;
  }

  checkDisplay(shown, { user, context }) {
    assert.equal(shown.user, user, "5");
    assert.equal(shown.portal, `Portal ${this.id}`, "5: the name that the registry has for me");
    for (const [name, value] of Object.entries(context).filter(([name]) => name !== "fields"))
      assert.equal(shown[name], value, `5: ${name} as I sent it`);
    const lines = (fields = []) => fields.map(({ label, value }) => ({ label, value }));
    assert.deepEqual(lines(shown.fields), lines(context.fields), "5: fields as I sent them");
  }
}

function followed(id, stream, pick) {
  const snapshots = [];
  const ended = (async () => {
    for await (const message of stream) snapshots.push(pick(message));
    return snapshots;
  })();
  ended.catch(() => {});
  return {
    snapshots,
    end: () => within(WATCH_MS, `the stream of ${id} ends`, ended),
    until: (what, matches) =>
      eventually(WATCH_MS, `${what} in the stream of ${id}`, async () => {
        await Promise.race([ended, pause(0)]);
        return snapshots.find(matches);
      }),
  };
}

async function readJws(jws, jwk) {
  const key = await importJWK(jwk, "ES256");
  const { payload, protectedHeader } = await compactVerify(jws, key, { algorithms: ["ES256"] });
  return { payload: JSON.parse(Buffer.from(payload)), header: protectedHeader };
}

/** Header and claims of an answer, once its signature is right under a pinned key. */
export async function readAnswer(jws, pins) {
  const { kid } = decodeProtectedHeader(jws);
  const pinned = [pins.possession, pins.verification].find((key) => key.kid === kid);
  assert.ok(pinned, "1: kid is pinned");
  return readJws(jws, pinned.jwk);
}

/** The pins of now: along the rotations of a device, as GetUser has it, each of which must follow from the one before. */
export async function movePins(pins, { id, rotations, generation, possessionKey, userVerificationKey }) {
  let moved = pins;
  assert.equal(id, pins.deviceId);
  for (const { jws, userVerificationKey: next } of rotations.slice(pins.generation - 1)) {
    const { payload, header } = await readJws(jws, moved.verification.jwk);
    assert.deepEqual(header, { alg: "ES256", typ: "nanopush-rotation+jwt", kid: moved.verification.kid });
    const jwk = jwkOf(next);
    const { iat, tp1, ...claims } = payload;
    const { organisation: org, user: sub } = pins;
    assert.ok(Number.isSafeInteger(iat));
    assert.deepEqual(claims, { v: 1, iss: id, org, sub, gen: moved.generation + 1, tp2: thumbprint(jwk) });
    moved = { ...moved, generation: claims.gen, possession: { kid: tp1 }, verification: { kid: claims.tp2, jwk } };
  }
  const [possession, verification] = [possessionKey, userVerificationKey].map(jwkOf);
  assert.equal(moved.generation, generation, "the chain ends at the generation of now");
  assert.equal(moved.possession.kid, thumbprint(possession), "and at the keys of now");
  assert.equal(moved.verification.kid, thumbprint(verification));
  return { ...moved, possession: { kid: moved.possession.kid, jwk: possession } };
}

/** "localhost" without asking a resolver, which may say ::1. */
export function loopback(_, options, done) {
  if (options.all) done(null, [{ address: "127.0.0.1", family: 4 }]);
  else done(null, "127.0.0.1", 4);
}

/** The call fails with that code, "not_found", and a message that matches. */
export async function refuses(call, code, text = /./) {
  await assert.rejects(call, (error) => {
    const name = typeof error.code === "number" ? Code[error.code].replace(/(?<!^)[A-Z]/g, "_$&").toLowerCase() : error.code;
    assert.equal(name, code, `${error.message}`);
    assert.match(error.rawMessage ?? error.message, text);
    return true;
  });
}

/** The whole way once, as a sign of life: enrol, ask, approve, verify. */
export async function login(portal) {
  const enrolled = await portal.connected();
  const claims = await portal.signIn(enrolled);
  enrolled.connection.close();
  return claims;
}
