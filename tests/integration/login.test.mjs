// A login from the first call to the signed approval, and each other way that a challenge can end.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";

import { fromBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";

import {
  ChallengeState, DisplaySchema, Mode, Occasion, Platform, Progress, UserVerification,
} from "../../build/gen-js/nanopush/v1/common_pb.js";
import { EnrolmentState } from "../../build/gen-js/nanopush/v1/enrolment_pb.js";
import { Broker, deadline, pause, within } from "./harness.mjs";
import { parseUri, Phone, PHONE_NAME } from "./phone.mjs";
import { login, Portal, readAnswer, refuses, unique } from "./portal.mjs";

const broker = new Broker();
let portal;
let expiring;

before(async () => {
  await broker.start();
  portal = await Portal.create(broker);
  expiring = await startExpiring();
});
after(() => broker.stop());

// The shortest life is 30 s, so this one starts first and is looked at last.
async function startExpiring() {
  const waiting = await portal.asked({ life: { seconds: 30n } });
  return { ...waiting, following: portal.follow(waiting.question.id), started: Date.now() };
}

describe("approve", () => {
  test("the stream goes from queued to approved, and the approval verifies under the pinned key", async () => {
    const { user, phone, pins } = await portal.enrol();
    const context = {
      application: "Payroll",
      address: "2001:db8::7",
      place: "Würzburg, Deutschland",
      browser: "Firefox 128",
      operatingSystem: "Debian 12",
      message: "Monthly run",
      fields: [{ label: "Batch", value: "2026-11" }, { label: "Approver", value: "Žofie" }],
    };
    const question = await portal.ask(user, { context, life: { seconds: 120n } });
    const following = portal.follow(question.id);
    const queued = await following.until("queued", ({ progress }) => progress === Progress.QUEUED);
    assert.equal(queued.state, ChallengeState.PENDING);

    const connection = await phone.connect();
    assert.equal(connection.welcome.pendingCount, 1);
    const push = await connection.next("challenge");
    await following.until("sent", ({ progress }) => progress === Progress.SENT);
    const moment = { challengeId: push.challengeId, attempt: push.attempt };
    connection.send("ack", moment);
    await following.until("delivered", ({ progress }) => progress === Progress.DELIVERED);
    connection.send("seen", moment);
    await following.until("seen", ({ progress }) => progress === Progress.SEEN);

    const shown = fromBinary(DisplaySchema, push.display);
    portal.checkDisplay(shown, question);
    assert.equal(shown.organisation, `${portal.organisation} GmbH`);
    assert.equal(shown.occasion, Occasion.SIGN_IN);
    assert.equal(push.portalId, portal.id);
    assert.equal(push.attempt, 1);
    assert.equal(push.mode, Mode.TAP);
    assert.equal(push.userVerification, UserVerification.REQUIRED);
    assert.deepEqual(Buffer.from(push.nonce), question.nonce);
    assert.deepEqual(push.options, []);
    const life = timestampMs(question.expireTime) - Number(push.brokerUnixMs);
    assert.ok(life > 90_000 && life <= 120_000, `expires in ${life} ms`);
    assert.ok(Math.abs(Number(push.expireUnixS) * 1000 - timestampMs(question.expireTime)) <= 1000);

    const jws = phone.answer(push, "approve");
    connection.send("answer", { challengeId: push.challengeId, jws });
    const resolved = await connection.next("resolved");
    assert.equal(resolved.state, ChallengeState.APPROVED);
    assert.equal(resolved.deviceId, phone.deviceId);

    const snapshots = await following.end();
    const last = snapshots.at(-1);
    assert.equal(last.answer.jws, jws, "forwarded byte for byte");
    assert.equal(last.answer.deviceId, phone.deviceId);
    await portal.verify(last, question, pins);

    for (const [at, { revision, progress }] of snapshots.entries()) {
      assert.ok(at === 0 || revision > snapshots[at - 1].revision, "each snapshot is later");
      assert.ok(at === 0 || progress >= snapshots[at - 1].progress, "progress does not go back");
    }
    const [device] = last.devices;
    assert.equal(last.devices.length, 1);
    assert.equal(device.deviceId, phone.deviceId);
    const times = [last.createTime, device.sentTime, device.deliveredTime, device.seenTime, last.settleTime].map(timestampMs);
    assert.deepEqual(times, [...times].sort((a, b) => a - b), "times in order");

    const { challenge } = await portal.challenges.getChallenge({ id: question.id });
    assert.deepEqual(challenge, last, "read again, it is the same");
  });

  test("in every codec of Connect, the same", async () => {
    const organisation = portal.organisation;
    for (const how of [{ binary: false }, { binary: true }])
      await login(await Portal.create(broker, { organisation, ...how }));
  });

  test("with the broker's nonce, where the portal has none", async () => {
    const { user, phone, pins } = await portal.enrol();
    const connection = await phone.connect();
    const created = await portal.challenges.createChallenge({ user, mode: Mode.TAP });
    assert.ok(created.nonce.length >= 16);
    const push = await phone.nextPush(connection);
    assert.deepEqual(Buffer.from(push.nonce), Buffer.from(created.nonce));
    await phone.decide(connection, push, "approve");
    const { challenge } = await portal.challenges.getChallenge({ id: created.id });
    const question = { user, id: created.id, mode: Mode.TAP, nonce: Buffer.from(created.nonce), context: {} };
    await portal.verify(challenge, question, pins);
  });

  test("on one of two phones: the other is told", async () => {
    const admin = await Portal.create(broker, {
      organisation: portal.organisation,
      scopes: ["SCOPE_CHALLENGE", "SCOPE_ENROL", "SCOPE_ADMIN"],
    });
    const { user, phone: first, pins } = await admin.enrol();
    const { phone: second } = await admin.enrol(user);
    assert.notEqual(first.deviceId, second.deviceId);
    const [one, two] = [await first.connect(), await second.connect()];
    const question = await admin.ask(user);
    const [push] = [await first.nextPush(one), await second.nextPush(two)];
    await first.decide(one, push, "approve");
    const told = await two.next("resolved");
    assert.equal(told.challengeId, question.id);
    assert.equal(told.state, ChallengeState.APPROVED);
    assert.equal(told.deviceId, first.deviceId);
    const { challenge } = await admin.challenges.getChallenge({ id: question.id });
    assert.equal(challenge.devices.length, 2);
    await admin.verify(challenge, question, pins);
  });

  test("two accounts on one connection: each gets its own, answered by its own keys", async () => {
    const [ada, ben] = [await portal.enrol(), await portal.enrol()];
    const connection = await ada.phone.connect();
    connection.send("hello", ben.phone.helloFields(connection));
    assert.equal((await connection.next("welcome")).deviceId, ben.phone.deviceId);
    for (const { user, phone, pins } of [ben, ada]) {
      const question = await portal.ask(user);
      const push = await phone.nextPush(connection);
      const resolved = await phone.decide(connection, push, "approve");
      assert.equal(resolved.state, ChallengeState.APPROVED);
      const { challenge } = await portal.challenges.getChallenge({ id: question.id });
      await portal.verify(challenge, question, pins);
    }
  });

  test("a user name of the greatest length, in more than ASCII", async () => {
    const { user, phone, pins } = await portal.enrol(`${"ž".repeat(127)}@x`);
    assert.equal(Buffer.byteLength(user), 256);
    const connection = await phone.connect();
    const question = await portal.ask(user);
    await phone.decide(connection, await phone.nextPush(connection), "approve");
    const { challenge } = await portal.challenges.getChallenge({ id: question.id });
    await portal.verify(challenge, question, pins);
  });
});

describe("every other end", () => {
  for (const [decision, state] of [["deny", ChallengeState.DENIED], ["not_me", ChallengeState.REPORTED]])
    test(`${decision} reaches the portal as ${ChallengeState[state]}, signed`, async () => {
      const { phone, connection, question, push, pins } = await portal.asked();
      const following = portal.follow(question.id);
      await following.until("pending", () => true);
      const resolved = await phone.decide(connection, push, decision);
      assert.equal(resolved.state, state);

      const last = (await following.end()).at(-1);
      assert.equal(last.state, state);
      const { payload, header } = await readAnswer(last.answer.jws, pins);
      assert.equal(header.typ, "nanopush-refusal+jwt");
      assert.equal(header.kid, pins.possession.kid);
      assert.equal(payload.decision, decision);
      assert.equal(payload.jti, question.id);
      assert.equal(payload.code, undefined);
      await assert.rejects(portal.verify(last, question, pins), "and no portal signs in on it");
    });

  test("a refusal may be signed by the user-verification key too", async () => {
    const { phone, connection, push } = await portal.asked();
    const resolved = await phone.decide(connection, push, "deny", { key: phone.verification });
    assert.equal(resolved.state, ChallengeState.DENIED);
  });

  test("cancelled: the phone is told, the portal reads it, and it stays so", async () => {
    const { phone, connection, question, push } = await portal.asked();
    const following = portal.follow(question.id);
    const { challenge } = await portal.challenges.cancelChallenge({ id: question.id });
    assert.equal(challenge.state, ChallengeState.CANCELLED);
    const told = await connection.next("resolved");
    assert.equal(told.challengeId, question.id);
    assert.equal(told.state, ChallengeState.CANCELLED);
    assert.equal(told.deviceId, "");
    assert.equal((await following.end()).at(-1).state, ChallengeState.CANCELLED);

    const late = await phone.decide(connection, push, "approve");
    assert.equal(late.state, ChallengeState.CANCELLED, "an answer that comes late is told the verdict");
    const again = await portal.challenges.cancelChallenge({ id: question.id });
    assert.equal(again.challenge.state, ChallengeState.CANCELLED);
    assert.equal(again.challenge.revision, challenge.revision);
    assert.equal(again.challenge.answer, undefined);
  });

  test("cancelling what is approved leaves it approved", async () => {
    const { phone, connection, question, push } = await portal.asked();
    await phone.decide(connection, push, "approve");
    const { challenge } = await portal.challenges.cancelChallenge({ id: question.id });
    assert.equal(challenge.state, ChallengeState.APPROVED);
    assert.ok(challenge.answer.jws);
  });

  test("of the same browser session, a newer challenge takes the place of the older", async () => {
    const { user, phone, connection, question } = await portal.asked({ browserSession: "tab" });
    const newer = await portal.ask(user, { browserSession: "tab" });
    const told = await connection.next("resolved");
    assert.equal(told.challengeId, question.id);
    assert.equal(told.state, ChallengeState.SUPERSEDED);
    const push = await phone.nextPush(connection);
    assert.equal(push.challengeId, newer.id);
    const { challenge } = await portal.challenges.getChallenge({ id: question.id });
    assert.equal(challenge.state, ChallengeState.SUPERSEDED);
    assert.equal((await phone.decide(connection, push, "approve")).state, ChallengeState.APPROVED);
  });
});

describe("waiting and repeating", () => {
  test("GetChallenge with wait_ms returns when the challenge moves, and not before", async () => {
    const { phone, connection, question, push } = await portal.asked();
    const delivered = await portal.follow(question.id).until("delivered", ({ progress }) => progress === Progress.DELIVERED);
    let returned = false;
    const waiting = portal.challenges
      .getChallenge({ id: question.id, waitMs: 30_000, afterRevision: delivered.revision })
      .finally(() => (returned = true));
    await pause(300);
    assert.equal(returned, false, "held");
    await phone.decide(connection, push, "approve");
    const { challenge } = await within(5000, "the waiting call returns", waiting);
    assert.equal(challenge.state, ChallengeState.APPROVED);
    assert.ok(challenge.revision > delivered.revision);
  });

  test("GetChallenge returns the next revision at once when there is one", async () => {
    const { question } = await portal.asked();
    const call = portal.challenges.getChallenge({ id: question.id, waitMs: 30_000, afterRevision: 0n });
    const { challenge } = await within(3000, "a revision after 0 is there already", call);
    assert.equal(challenge.state, ChallengeState.PENDING);
  });

  test("GetChallenge gives up when its time is over", async () => {
    const { question } = await portal.asked();
    const started = Date.now();
    const { challenge } = await portal.challenges.getChallenge({ id: question.id, waitMs: 700, afterRevision: 1_000_000n });
    const took = Date.now() - started;
    assert.equal(challenge.state, ChallengeState.PENDING);
    assert.ok(took >= 690 && took < deadline(4000), `took ${took} ms`);
  });

  test("a watcher who comes late gets the final snapshot, and the end", async () => {
    const { phone, connection, question, push } = await portal.asked();
    await phone.decide(connection, push, "approve");
    const snapshots = await portal.follow(question.id).end();
    assert.equal(snapshots.length, 1);
    assert.equal(snapshots[0].state, ChallengeState.APPROVED);
  });

  test("a watcher who leaves does not disturb the one who stays", async () => {
    const { phone, connection, question, push } = await portal.asked();
    const staying = portal.follow(question.id);
    await staying.until("pending", () => true);
    const leaving = new AbortController();
    await assert.rejects(async () => {
      for await (const { challenge } of portal.challenges.watchChallenge({ id: question.id }, { signal: leaving.signal })) {
        assert.equal(challenge.state, ChallengeState.PENDING);
        leaving.abort();
      }
    });
    await phone.decide(connection, push, "approve");
    assert.equal((await staying.end()).at(-1).state, ChallengeState.APPROVED);
  });

  test("the same idempotency key: the same challenge, pushed once; with another request, refused", async () => {
    const { user, phone } = await portal.enrol();
    const connection = await phone.connect();
    const request = { user, mode: Mode.TAP, nonce: Buffer.alloc(32, 7), idempotencyKey: "k-1" };
    const first = await portal.challenges.createChallenge(request);
    const second = await portal.challenges.createChallenge(request);
    assert.deepEqual(second, first);
    await phone.nextPush(connection);
    const attempts = connection.messages.filter((message) => message.case === "challenge" && message.value.attempt !== 1);
    assert.deepEqual(attempts, [], "no second alert");
    const other = { ...request, context: { message: "another" } };
    await refuses(portal.challenges.createChallenge(other), "already_exists");
  });
});

describe("users and enrolments", () => {
  test("GetUser says what can be asked, and who is connected", async () => {
    const { user, phone } = await portal.enrol();
    const offline = (await portal.users.getUser({ user })).user;
    assert.equal(offline.name, user);
    assert.deepEqual(offline.modes, [Mode.TAP]);
    assert.equal(offline.devices.length, 1);
    const [device] = offline.devices;
    assert.equal(device.id, phone.deviceId);
    assert.equal(device.name, PHONE_NAME);
    assert.equal(device.platform, Platform.OTHER);
    assert.equal(device.generation, 1);
    assert.equal(device.connected, false);
    assert.ok(Math.abs(timestampMs(device.enrolTime) - Date.now()) < 60_000);

    await phone.connect();
    assert.equal((await portal.users.getUser({ user })).user.devices[0].connected, true);
  });

  test("WatchEnrolment shows it waiting, then done, with proof and keys; the QR code is an SVG", async () => {
    const user = unique("user");
    const secret = Buffer.alloc(16, 9);
    const { id, uri, qrSvg, expireTime } = await portal.enrolments.createEnrolment({ user, life: { seconds: 120n } });
    assert.match(qrSvg, /^(<\?xml[^>]*>\s*)?<svg[^>]*>/);
    const life = timestampMs(expireTime) - Date.now();
    assert.ok(life > 60_000 && life < 180_000, `${life}`);
    const parsed = parseUri(uri);
    assert.equal(parsed.user, user);
    assert.equal(parsed.organisation, portal.organisation);
    assert.equal(parsed.enrolmentId, id);
    assert.equal(parsed.token.length, 16);
    assert.equal(parsed.port, broker.ports.device);
    assert.deepEqual(parsed.pin, broker.pin, "the pin is the issuing CA's");
    assert.equal(parsed.secret, null, "the broker knows no secret of the portal's");

    const snapshots = [];
    let phone;
    for await (const { enrolment } of portal.enrolments.watchEnrolment({ id })) {
      snapshots.push(enrolment);
      phone ??= await Phone.enrol(`${uri}#s=${secret.toString("base64url")}`);
    }
    assert.equal(snapshots[0].state, EnrolmentState.WAITING);
    const last = snapshots.at(-1);
    assert.equal(last.state, EnrolmentState.DONE);
    const pins = portal.pin(last, secret);
    assert.equal(pins.possession.kid, phone.possession.thumbprint);
    assert.equal(pins.verification.kid, phone.verification.thumbprint);
    assert.equal(pins.deviceId, phone.deviceId);
  });

  test("without a secret of the portal's there is no proof", async () => {
    const { id, uri } = await portal.enrolments.createEnrolment({ user: unique("user") });
    await Phone.enrol(uri);
    const { enrolment } = await portal.enrolments.getEnrolment({ id });
    assert.equal(enrolment.state, EnrolmentState.DONE);
    assert.equal(enrolment.device.proof.length, 0);
  });

  test("a cancelled enrolment cannot be used", async () => {
    const { id, uri } = await portal.enrolments.createEnrolment({ user: unique("user") });
    const { enrolment } = await portal.enrolments.cancelEnrolment({ id });
    assert.equal(enrolment.state, EnrolmentState.CANCELLED);
    await assert.rejects(Phone.enrol(uri), { name: "Error", code: /^(NOT_FOUND|EXPIRED)$/ });
  });
});

test("curl, as the README shows it", async () => {
  const { user, phone } = await portal.enrol();
  const connection = await phone.connect();
  const curl = async (method, body) => {
    const { stdout } = await promisify(execFile)("curl", [
      "--silent", "--show-error", "--fail",
      "--cacert", path.join(broker.dataDir, "device-ca.pem"),
      "-H", `Authorization: Bearer ${portal.credential}`,
      "-H", "Content-Type: application/json",
      "-d", JSON.stringify(body),
      `https://127.0.0.1:${broker.ports.portal}/nanopush.v1.ChallengeService/${method}`,
    ]);
    return JSON.parse(stdout);
  };
  const context = { application: "Mail", place: "Bolzano" };
  const { id, expireTime, nonce } = await curl("CreateChallenge", { user, context });
  assert.match(expireTime, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
  assert.ok(Buffer.from(nonce, "base64").length >= 16);
  const push = await phone.nextPush(connection);
  assert.equal(push.challengeId, id);

  const waiting = curl("GetChallenge", { id, waitMs: 60_000, afterRevision: "100" });
  await phone.decide(connection, push, "approve");
  const { challenge } = await within(5000, "the call that waits returns once it is final", waiting);
  assert.equal(challenge.state, "CHALLENGE_STATE_APPROVED");
  assert.equal(challenge.mode, "MODE_TAP");
  assert.match(challenge.revision, /^\d+$/, "64-bit numbers are strings");
});

test("expired: the portal and the phone are told, at its time, by the clock of the store", async () => {
  const { phone, connection, question, push, following, started } = expiring;
  const told = await connection.next("resolved", undefined, 40_000);
  const took = Date.now() - started;
  assert.equal(told.challengeId, question.id);
  assert.equal(told.state, ChallengeState.EXPIRED);
  const last = (await following.end()).at(-1);
  assert.equal(last.state, ChallengeState.EXPIRED);
  assert.equal(last.answer, undefined);
  assert.ok(took <= deadline(33_000), `told after ${took} ms`);
  const settled = timestampMs(last.settleTime) - timestampMs(last.createTime);
  assert.ok(settled >= 30_000, `not before its time: ${settled} ms`);

  const late = await phone.decide(connection, push, "approve");
  assert.equal(late.state, ChallengeState.EXPIRED, "an answer that comes too late does not count");
  const { challenge } = await portal.challenges.getChallenge({ id: question.id });
  assert.equal(challenge.state, ChallengeState.EXPIRED);
});
