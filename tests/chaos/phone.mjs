// A phone under chaos: comes back whenever it loses its link, says what it saw to a witness, decides by the seed (most
// approve, some deny, look away or answer when it is too late), and goes on answering until it is told.
import { createPrivateKey } from "node:crypto";
import tls from "node:tls";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";

import { ChallengeState, DisplaySchema } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { BrokerMessageSchema, Error_Code, PhoneMessageSchema } from "../../build/gen-js/nanopush/v1/device_pb.js";
import { ALPN, frame, Phone } from "../integration/phone.mjs";
import { chance, digestOf } from "./history.mjs";

const REPEAT_MS = 2000;
const LATE_MS = 1000;
const GIVE_UP_MS = 10_000;
const PATIENCE = { handshakeMs: 5000, silenceMs: 5000, backoffMs: 1500 }; // an app that is open notices a dead link
const AT_ONCE = 40; // handshakes

/** What the phones of one process share: {witness, seed, brokers: [port, ...], roll, patience}. */
export const surroundings = (shared) => ({ connecting: 0, ...shared, patience: { ...PATIENCE, ...shared.patience } });

/** Whole frames at the front of the bytes: [payloads, rest]. */
function takeFrames(bytes) {
  const payloads = [];
  for (;;) {
    let [length, at] = [0, 0];
    do {
      if (at === bytes.length) return [payloads, bytes];
      length += (bytes[at] & 0x7f) * 2 ** (7 * at);
    } while (bytes[at++] & 0x80);
    if (bytes.length < at + length) return [payloads, bytes];
    payloads.push(bytes.subarray(at, at + length));
    bytes = bytes.subarray(at + length);
  }
}

export class ChaosPhone extends Phone {
  /** @param shared  its surroundings() */
  constructor(shared, { possession, verification, ...fields }) {
    super();
    this.shared = shared;
    const load = ({ pem, ...key }) => ({ ...key, privateKey: createPrivateKey(pem) });
    Object.assign(this, fields, { possession: load(possession), verification: load(verification) });
    this.dueMs = 0;
    this.answers = new Map(); // by challenge, what is to be sent until its end is told
  }

  saw(event, fields = {}) {
    this.shared.witness.saw(event, { device: this.deviceId, user: this.user, ...fields });
  }

  tick(nowMs) {
    if (!this.socket) {
      if (nowMs >= this.dueMs && this.shared.connecting < AT_ONCE) this.open(nowMs);
    } else if (nowMs - this.heardMs > (this.welcomed ? this.shared.patience.silenceMs : this.shared.patience.handshakeMs)) {
      this.socket.destroy();
    } else if (this.welcomed) {
      if (nowMs - this.heardMs > this.shared.patience.silenceMs / 3) this.send("ping");
      for (const answer of this.answers.values()) this.answerWhenDue(answer, nowMs);
    }
  }

  open(nowMs) {
    const { brokers, roll } = this.shared;
    const port = brokers[Math.floor(roll() * brokers.length)];
    const socket = tls.connect({ host: "127.0.0.1", port, ALPNProtocols: [ALPN], minVersion: "TLSv1.3", rejectUnauthorized: false });
    Object.assign(this, { socket, heardMs: nowMs, welcomed: false, input: Buffer.alloc(0) });
    this.shared.connecting += 1;
    socket.setNoDelay(true);
    socket.on("secureConnect", () => {
      this.heardMs = Date.now();
      this.send("hello", this.helloFields({ cb: socket.exportKeyingMaterial(32, "EXPORTER-nanopush-v1", Buffer.alloc(0)) }));
    });
    socket.on("data", (bytes) => this.receive(bytes));
    socket.on("error", () => {});
    socket.on("close", () => this.closed());
  }

  closed() {
    if (this.welcomed) this.saw("gone");
    else this.shared.connecting -= 1;
    this.socket = undefined;
    this.welcomed = false;
    this.dueMs = Math.max(this.dueMs, Date.now() + this.shared.roll() * this.shared.patience.backoffMs);
  }

  /** Lose the link. */
  cut() {
    this.socket?.destroy();
  }

  send(kind, value = {}) {
    if (this.socket) this.socket.write(frame(toBinary(PhoneMessageSchema, create(PhoneMessageSchema, { message: { case: kind, value } }))));
  }

  receive(bytes) {
    this.heardMs = Date.now();
    const [payloads, rest] = takeFrames(Buffer.concat([this.input, bytes]));
    this.input = Buffer.from(rest);
    for (const payload of payloads) {
      const { message } = fromBinary(BrokerMessageSchema, payload);
      this[`on_${message.case}`]?.(message.value);
    }
  }

  on_welcome({ brokerUnixMs }) {
    if (!this.welcomed) this.shared.connecting -= 1;
    this.welcomed = true;
    this.brokerAheadMs = Number(brokerUnixMs) - Date.now();
    this.saw("welcome");
  }

  on_challenge(push) {
    const { challengeId: id, attempt } = push;
    this.saw("push", { id, shown: fromBinary(DisplaySchema, push.display).user });
    this.send("ack", { challengeId: id, attempt });
    if (!this.answers.has(id)) this.decide(push);
  }

  decide(push) {
    const { challengeId: id } = push;
    const { seed } = this.shared;
    const mood = chance(seed, id, this.deviceId, "mood");
    if (mood < 0.06) return; // looks away
    const endMs = Number(push.expireUnixS) * 1000;
    const slow = chance(seed, id, this.deviceId, "slow") < 0.2;
    const wait = mood < 0.1 ? endMs - Date.now() + LATE_MS : chance(seed, id, this.deviceId) * (slow ? 6000 : 400);
    this.answers.set(id, { push, decision: mood > 0.94 ? "deny" : "approve", dueMs: Date.now() + wait, endMs });
  }

  answerWhenDue(answer, nowMs) {
    const { push: { challengeId: id }, decision } = answer;
    if (nowMs > answer.endMs + GIVE_UP_MS) this.answers.delete(id);
    else if (nowMs >= answer.dueMs) {
      answer.jws ??= this.answer(answer.push, decision);
      answer.dueMs = nowMs + REPEAT_MS;
      this.saw("answer", { id, decision, digest: digestOf(answer.jws) });
      this.send("answer", { challengeId: id, jws: answer.jws });
    }
  }

  on_resolved({ challengeId: id, state }) {
    this.saw("resolved", { id, state: ChallengeState[state] });
    this.answers.delete(id);
  }

  on_error({ code, subject }) {
    this.saw("error", { code: Error_Code[code], id: subject });
    if (["NOT_FOUND", "DENIED", "INVALID"].includes(Error_Code[code])) this.answers.delete(subject);
    if (!this.welcomed) this.socket?.destroy();
  }

  on_goAway({ returnAfterMs }) {
    this.dueMs = Date.now() + Math.min(Number(returnAfterMs ?? 0), this.shared.patience.backoffMs);
    this.socket?.end();
  }
}
