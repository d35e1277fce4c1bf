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
  static async create(broker, { organisation, modes = ["MODE_TAP"], scopes = ["SCOPE_CHALLENGE", "SCOPE_ENROL"], ...how } = {}) {
    let org = organisation;
    if (!org) {
      org = unique("org");
      await broker.admin("AdminService/CreateOrganisation", { organisation: { id: org, name: `${org} GmbH` } });
    }
    const id = unique("portal");
    const { credential } = await broker.admin("AdminService/CreatePortal", {
      portal: { id, organisation: org, name: `Portal ${id}`, modes, scopes },
    });
    return new Portal(broker, { id, organisation: org, credential, ...how });
  }

  constructor(broker, { id, organisation, credential, binary = false, useGet = false }) {
    Object.assign(this, { broker, id, organisation, credential });
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
   */
  async enrol(user = unique("user"), { secret = randomBytes(16) } = {}) {
    const { id, uri } = await this.enrolments.createEnrolment({ user });
    const phone = await Phone.enrol(`${uri}#s=${secret.toString("base64url")}`);
    this.broker.onStop(() => phone.hangUp());
    const { enrolment } = await this.enrolments.getEnrolment({ id });
    return { user, phone, pins: this.pin(enrolment, secret) };
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
    return { deviceId, possession: { kid: tp1, jwk: possession }, verification: { kid: tp2, jwk: verification } };
  }

  /** Ask, with an own nonce: what was asked with what came back, for verify(). */
  async ask(user, request = {}) {
    const nonce = randomBytes(32);
    const asked = { user, mode: Mode.TAP, nonce, context: { application: "Payroll", address: "192.0.2.7" }, ...request };
    const created = await this.challenges.createChallenge(asked);
    return { ...asked, id: created.id, number: created.number, expireTime: created.expireTime, worker: this.lastWorker };
  }

  /** Watch a challenge: the snapshots so far, until() one that matches, and end(), all of them. */
  follow(id) {
    const snapshots = [];
    const ended = (async () => {
      for await (const { challenge } of this.challenges.watchChallenge({ id })) snapshots.push(challenge);
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

  /** The seven points of challenge.proto, for an approval. */
  async verify(challenge, asked, pins) {
    const { jws } = challenge.answer;
    const { payload, header } = await readAnswer(jws, pins);
    assert.equal(challenge.state, ChallengeState.APPROVED);

    const required = asked.userVerification !== UserVerification.NOT_ASKED;
    assert.ok(!required || header.kid === pins.verification.kid, "1: by the user-verification key");
    assert.equal(header.typ, "nanopush-approval+jwt", "1: an approval");
    const { aud, org, sub, jti } = payload;
    assert.deepEqual({ aud, org, sub, jti }, { aud: this.id, org: this.organisation, sub: asked.user, jti: asked.id }, "2");
    assert.equal(payload.nonce, asked.nonce.toString("base64url"), "3: my nonce");
    assert.equal(payload.mode, "tap", "4: the mode that I asked for");
    assert.equal(payload.code, undefined, "4: no code in mode TAP");
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

/** Header and claims of an answer, once its signature is right under a pinned key. */
export async function readAnswer(jws, pins) {
  const { kid } = decodeProtectedHeader(jws);
  const pinned = [pins.possession, pins.verification].find((key) => key.kid === kid);
  assert.ok(pinned, "1: kid is pinned");
  const key = await importJWK(pinned.jwk, "ES256");
  const { payload, protectedHeader } = await compactVerify(jws, key, { algorithms: ["ES256"] });
  return { payload: JSON.parse(Buffer.from(payload)), header: protectedHeader };
}

/** "localhost" without asking a resolver, which may say ::1. */
function loopback(_, options, done) {
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
  const { user, phone, pins } = await portal.enrol();
  const connection = await phone.connect();
  const asked = await portal.ask(user);
  const push = await phone.nextPush(connection);
  const resolved = await phone.decide(connection, push, "approve");
  assert.equal(resolved.state, ChallengeState.APPROVED);
  const { challenge } = await portal.challenges.getChallenge({ id: asked.id });
  const claims = await portal.verify(challenge, asked, pins);
  connection.close();
  return claims;
}
