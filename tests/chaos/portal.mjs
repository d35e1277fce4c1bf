// A portal under chaos: asks, and wants to know how it ended, by whichever broker answers; what it was told it says to a
// witness. A call that fails is made again, with the same idempotency key.
import { createPublicKey, randomBytes, verify } from "node:crypto";
import https from "node:https";

import { digestOf, now } from "./history.mjs";

const CREATE_TRIES = 6;
const PATIENCE = { callMs: 2000, waitMs: 8000, againMs: 300 };
const TOLD_MS = 20_000; // after the end somebody has to say how it ended
const PASSING = ["unavailable", "timeout", "cut"];
const GONE = ["aborted", "not_found"];

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const isFinal = (challenge) => challenge && !["CHALLENGE_STATE_PENDING", undefined].includes(challenge.state);

/** Connect's envelopes: flags, 32-bit length, JSON. */
function inEnvelope(json) {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(json.length, 1);
  return Buffer.concat([head, json]);
}

function envelopes(bytes) {
  const messages = [];
  for (let at = 0; at + 5 <= bytes.length; ) {
    const end = at + 5 + bytes.readUInt32BE(at + 1);
    if (end > bytes.length) break;
    messages.push(JSON.parse(bytes.subarray(at + 5, end)));
    at = end;
  }
  return messages;
}

function parse(status, bytes) {
  try {
    const answer = JSON.parse(bytes);
    return status === 200 ? { code: "ok", answer } : { code: answer.code };
  } catch {
    return { code: `http ${status}` };
  }
}

export class ChaosPortal {
  /** @param config  {witness, roll, brokers: [port, ...], ca, credential, pins: {device: {thumbprint: key}}, patience} */
  constructor(config) {
    Object.assign(this, config, { patience: { ...PATIENCE, ...config.patience } });
    this.agent = new https.Agent({ keepAlive: true, ca: config.ca });
  }

  /** One POST: {status, bytes} or {code: "timeout" or "cut"}. */
  #post(method, type, body, ms, onPart) {
    const port = this.brokers[Math.floor(this.roll() * this.brokers.length)];
    return new Promise((resolve) => {
      let timer;
      const end = (result) => {
        clearTimeout(timer);
        resolve(result);
      };
      const outgoing = https.request({
        method: "POST", agent: this.agent, host: "127.0.0.1", port, servername: "localhost", path: `/nanopush.v1.ChallengeService/${method}`,
        headers: { "Content-Type": type, Authorization: `Bearer ${this.credential}` },
      }, (response) => {
        const parts = [];
        response.on("data", (part) => {
          parts.push(part);
          onPart?.(Buffer.concat(parts));
        });
        response.on("error", () => end({ code: "cut" }));
        response.on("close", () => end({ code: "cut" }));
        response.on("end", () => end({ status: response.statusCode, bytes: Buffer.concat(parts) }));
      });
      timer = setTimeout(() => {
        end({ code: "timeout" });
        outgoing.destroy();
      }, ms);
      outgoing.on("error", () => end({ code: "cut" }));
      outgoing.end(body);
    });
  }

  /** {code: "ok", answer}, or {code} of the refusal, "timeout", "cut". */
  async call(method, request, ms = this.patience.callMs) {
    const { code, status, bytes } = await this.#post(method, "application/json", JSON.stringify(request), ms);
    return code ? { code } : parse(status, bytes);
  }

  /** The next call has a connection of its own. */
  hangUp() {
    this.agent.destroy();
  }

  getOnce(id) {
    return this.call("GetChallenge", { id });
  }

  getWaiting(id, afterRevision) {
    const { waitMs } = this.patience;
    return this.call("GetChallenge", { id, waitMs: waitMs / 2, afterRevision }, waitMs);
  }

  /** By a stream, until something final comes. */
  async watch(id) {
    let final;
    const { code, bytes } = await new Promise((resolve) => {
      this.#post("WatchChallenge", "application/connect+json", inEnvelope(Buffer.from(JSON.stringify({ id }))), this.patience.waitMs * 2, (part) => {
        final ??= envelopes(part).map(({ challenge }) => challenge).find(isFinal);
        if (final) resolve({});
      }).then(resolve);
    });
    if (final) return { code: "ok", answer: { challenge: final } };
    return { code: code ?? envelopes(bytes).at(-1)?.error?.code ?? "ended" };
  }

  cancel(id) {
    this.witness.saw("withdrawn", { id });
    return this.call("CancelChallenge", { id });
  }

  /** Ask: {id, user, endMs, nonce}, or {refused: code}. */
  async create(user) {
    const nonce = randomBytes(32);
    const request = {
      user, nonce: nonce.toString("base64"), mode: "MODE_TAP", life: "30s", idempotencyKey: randomBytes(8).toString("hex"),
      context: { application: "Mail", address: "192.0.2.7" },
    };
    let result;
    for (let tries = 0; tries < CREATE_TRIES; tries++) {
      result = await this.call("CreateChallenge", request);
      if (!PASSING.includes(result.code)) break;
      await pause(this.patience.againMs);
    }
    if (result.code !== "ok") {
      this.witness.saw("refused", { code: result.code });
      return { refused: result.code };
    }
    const { id, expireTime } = result.answer;
    const endMs = Date.parse(expireTime);
    this.witness.saw("accepted", { id, user, expires: now() + (endMs - Date.now()) * 1000 });
    return { id, user, endMs, nonce: nonce.toString("base64url") };
  }

  /** Ask in that way ("getOnce", "getWaiting", "watch") until it is known how it ended: the state, "lost", or null. */
  async learn(asked, way) {
    let revision = "0";
    let last;
    for (const end = asked.endMs + TOLD_MS; Date.now() < end; ) {
      const since = now();
      const { code, answer } = await this[way](asked.id, revision);
      last = code;
      if (GONE.includes(code)) {
        this.witness.saw("lost", { id: asked.id, code });
        return "lost";
      }
      if (isFinal(answer?.challenge)) return this.#sawEnd(asked, answer.challenge, since);
      revision = answer?.challenge?.revision ?? "0";
      if (code !== "ok" || way === "getOnce") await pause(this.patience.againMs);
    }
    this.witness.saw("silent", { id: asked.id, code: last });
    return null;
  }

  #sawEnd(asked, { state: name, answer }, since) {
    const state = name.replace("CHALLENGE_STATE_", "");
    const verified = answer && this.#verifies(asked, answer, state === "APPROVED" ? "approve" : "deny");
    this.witness.saw("outcome", { id: asked.id, state, since, ...(answer ? { verified, digest: digestOf(answer.jws) } : {}) });
    return state;
  }

  /** By the keys that were pinned at enrolment: the signature is right, and over this challenge of mine. */
  #verifies({ id, user, nonce }, { deviceId, jws }, decision) {
    const [head, body, signature] = jws.split(".");
    const { kid } = JSON.parse(Buffer.from(head, "base64url"));
    const key = this.pins[deviceId]?.[kid];
    const claims = JSON.parse(Buffer.from(body, "base64url"));
    const mine = claims.jti === id && claims.sub === user && claims.nonce === nonce && claims.decision === decision;
    return mine && key !== undefined && verify("sha256", Buffer.from(`${head}.${body}`),
      { key: createPublicKey({ key, format: "jwk" }), dsaEncoding: "ieee-p1363" }, Buffer.from(signature, "base64url"));
  }
}
