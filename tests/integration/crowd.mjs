// People who sign in all the time, with phones that come back, while brokers are drained, replaced and killed.
import { randomBytes, randomUUID } from "node:crypto";

import { Code } from "@connectrpc/connect";

import { ChallengeState, Mode } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { deadline, pause, within } from "./harness.mjs";

const LOGIN_MS = 40_000; // of its life of 60 s

/** A phone as an app runs it: it comes back when it is told to, or cut off, and its person says yes to whatever is asked. */
export class App {
  constructor(enrolled, broker) {
    Object.assign(this, enrolled, { returns: 0, ended: false });
    broker.onStop(() => this.end());
    this.running = this.run();
  }

  /** Enrol so many phones, each of a user of its own, and run them; devicePort: where they dial, if not at the broker. */
  static async crowd(portal, broker, count, devicePort = broker.ports.device) {
    const enrolled = [];
    for (let n = 0; n < count; n++) {
      const { id, phone, secret, user } = await portal.begin({}, {});
      phone.endpoint.port = devicePort;
      const connection = await phone.open();
      await phone.enrolOn(connection);
      connection.close();
      const { enrolment } = await portal.enrolments.getEnrolment({ id });
      enrolled.push({ user, phone, pins: portal.pin(enrolment, secret) });
    }
    return enrolled.map((each) => new App(each, broker));
  }

  async run() {
    while (!this.ended) {
      try {
        this.connection = await this.phone.connect();
        for (;;) {
          const { case: kind, value } = await this.nextOf("challenge", "goAway", "resolved", "notice");
          if (kind === "goAway") {
            this.connection.close();
            await pause(Math.min(value.returnAfterMs, 500));
            break;
          }
          if (kind === "challenge" && value.deviceId === this.phone.deviceId) this.phone.sendAnswer(this.connection, value, "approve");
        }
      } catch {
        await pause(100); // it was cut off, or nobody is there yet
      }
      this.returns++;
    }
  }

  /** Whatever of these comes first; throws when the connection is gone. */
  async nextOf(...kinds) {
    for (;;) {
      const at = this.connection.messages.findIndex((message) => kinds.includes(message.case));
      if (at >= 0) return this.connection.messages.splice(at, 1)[0];
      if (this.connection.isClosed || this.ended) throw new Error("closed");
      await pause(20);
    }
  }

  end() {
    this.ended = true;
    this.phone.hangUp();
  }
}

const AGAIN = new Set([Code.Unavailable, Code.Aborted, Code.Internal, Code.Unknown]);

/** A call as proto/ tells portals to make it: again, with the same idempotency key, where nobody answered. */
async function persistently(call) {
  for (const end = Date.now() + deadline(LOGIN_MS); ;) {
    try {
      return await call();
    } catch (error) {
      if (!AGAIN.has(error.code) || Date.now() > end) throw error;
      await pause(50);
    }
  }
}

/** One person signs in: the approval, verified. */
async function signIn(portal, { user, pins }) {
  const asked = { user, mode: Mode.TAP, nonce: randomBytes(32), context: { application: "Payroll" }, idempotencyKey: randomUUID() };
  const { id } = await persistently(() => portal.challenges.createChallenge(asked));
  const challenge = await persistently(async () => {
    let last;
    for await (const { challenge: snapshot } of portal.challenges.watchChallenge({ id })) last = snapshot;
    if (last?.state === ChallengeState.PENDING) throw Object.assign(new Error("cut"), { code: Code.Unavailable });
    return last;
  });
  await portal.verify(challenge, { ...asked, id }, pins);
}

/** Everybody signs in, again and again, until `until` is over: how many did. A login that fails fails the test. */
export async function signInsWhile(portal, apps, until) {
  let over = false;
  let count = 0;
  const ended = Promise.resolve(until()).finally(() => (over = true));
  await Promise.all(apps.map(async (app) => {
    do {
      await within(LOGIN_MS, `${app.user} signs in`, signIn(portal, app));
      count++;
      await pause(50); // an approval lifts every delay: the next may follow at once
    } while (!over);
  }));
  await ended;
  return count;
}
