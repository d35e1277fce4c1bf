// Everything that is not right gets a clear error, and the broker serves the next login: which is tried after each.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import path from "node:path";
import { after, afterEach, before, describe, test } from "node:test";

import { create, toBinary } from "@bufbuild/protobuf";

import { ChallengeState, Mode, Occasion } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { GoAway_Reason, PhoneMessageSchema } from "../../build/gen-js/nanopush/v1/device_pb.js";
import { Confirmation, EnrolmentState } from "../../build/gen-js/nanopush/v1/enrolment_pb.js";
import { Broker, deadline, eventually, exchange, pause, RpcError } from "./harness.mjs";
import { ALPN, CAN_CODE, frame, makeKey, makeKeys, parseUri, Phone } from "./phone.mjs";
import { login, Portal, refuses, unique } from "./portal.mjs";
import { handshakeError, noise, sendInTls, sendRaw } from "./raw.mjs";

const HEARTBEAT_S = 10;
const AT_ONCE_MS = 1000; // not by the time that a Hello may take
const broker = new Broker({ heartbeat_s: HEARTBEAT_S, hello_timeout_ms: 3000, handshake_timeout_ms: 3000 });
let portal;
let stranger;
let early;

before(async () => {
  await broker.start();
  portal = await Portal.create(broker);
  stranger = await Portal.create(broker);
  early = await startEarly();
});
afterEach(() => login(portal));
after(() => broker.stop());

// What takes its time starts first and is looked at last.
async function startEarly() {
  const expired = await portal.enrolments.createEnrolment({ user: unique("user"), life: { seconds: 60n } });
  const late = await portal.asked({ life: { seconds: 30n } });
  const silent = await (await portal.enrol()).phone.connect();
  const talking = await (await portal.enrol()).phone.connect();
  const pinging = setInterval(() => talking.send("ping"), 4000);
  broker.onStop(() => clearInterval(pinging));
  const quiet = await Promise.all(Array.from({ length: 4 }, () => portal.connected()));
  const beating = setInterval(() => quiet.forEach(({ connection }) => connection.send("ping")), 4000);
  broker.onStop(() => clearInterval(beating));
  return { started: Date.now(), expired, late, silent, talking, quiet };
}

/** A connection to the device port on which nothing was said, by a phone of that enrolment URI or of a new user's. */
async function openFor(uri) {
  const phone = Phone.of(uri);
  broker.onStop(() => phone.hangUp());
  return { uri: phone.uri, phone, keys: phone, connection: await phone.open() };
}

const newEnrolment = async (user = unique("user")) => (await portal.enrolments.createEnrolment({ user })).uri;
const stateOf = (id) => portal.challengeState(id);
const administrator = () =>
  Portal.create(broker, { organisation: portal.organisation, scopes: ["SCOPE_CHALLENGE", "SCOPE_ENROL", "SCOPE_ADMIN"] });
const until = (started, ms) => pause(Math.max(0, started + ms - Date.now()));

describe("who a portal is", () => {
  const request = { user: "anybody" };
  const withHeader = (authorization) =>
    portal.post("UserService/GetUser", request, { headers: { Authorization: authorization } });

  test("a wrong secret or an unknown portal: unauthenticated, all alike", async () => {
    const [id, secret] = portal.credential.split(/\.(.*)/s);
    const wrong = [
      id, `${id}.`, `${id}.${"A".repeat(secret.length)}`, `${portal.credential}A`, portal.credential.slice(0, -1),
      `nobody.${secret}`, `.${secret}`, `${stranger.id}.${secret}`, `${"x".repeat(4000)}.${secret}`, "x", "\u00ff.\u00ff",
    ];
    const answers = new Set();
    for (const credential of wrong) {
      const { status, headers, body } = await withHeader(`Bearer ${credential}`);
      assert.equal(status, 401, credential);
      assert.equal(headers["content-type"], "application/json");
      assert.equal(JSON.parse(body).code, "unauthenticated", credential);
      answers.add(body);
    }
    assert.equal(answers.size, 1, "the answer does not say what was wrong");
  });

  test("no credential, or one of another scheme: unauthenticated, and how it is done", async () => {
    for (const authorization of ["", "Bearer", "Bearer ", `Basic ${portal.credential}`, portal.credential]) {
      const { status, headers, body } = await withHeader(authorization);
      assert.equal(status, 401, authorization);
      assert.equal(headers["www-authenticate"], "Bearer");
      assert.match(JSON.parse(body).message, /Bearer <portal id>\.<secret>/);
    }
    const { status } = await portal.post("UserService/GetUser", request, { headers: { Authorization: [] } });
    assert.equal(status, 401, "without the header");
  });

  test("a scope that the credential lacks: permission_denied", async () => {
    const asks = await Portal.create(broker, { organisation: portal.organisation, scopes: ["SCOPE_CHALLENGE"] });
    await refuses(asks.enrolments.createEnrolment({ user: unique("user") }), "permission_denied", /enrol/i);
    const enrols = await Portal.create(broker, { organisation: portal.organisation, scopes: ["SCOPE_ENROL"] });
    await refuses(enrols.challenges.createChallenge({ user: "anybody" }), "permission_denied", /challenge/i);
    await refuses(enrols.challenges.resendChallenge({ id: "x" }), "permission_denied", /challenge/i);
    await refuses(asks.enrolments.confirmEnrolment({ id: "x", code: "123456" }), "permission_denied", /enrol/i);
    const { user, phone } = await portal.enrol();
    await refuses(portal.users.revokeDevice({ deviceId: phone.deviceId }), "permission_denied", /admin/i);
    await refuses(portal.users.unlockUser({ user }), "permission_denied", /admin/i);
    await phone.connect();
  });

  test("what another portal asked does not exist, whether of the same organisation or not", async () => {
    const { question } = await portal.asked();
    const sibling = await Portal.create(broker, { organisation: portal.organisation });
    const nothing = question.id.replace(/^.{8}/, "00000000");
    for (const other of [sibling, stranger])
      for (const method of ["getChallenge", "resendChallenge", "cancelChallenge"]) {
        await refuses(other.challenges[method]({ id: question.id }), "not_found");
        const bodies = await Promise.all([question.id, nothing].map((id) =>
          other.post(`ChallengeService/${method[0].toUpperCase()}${method.slice(1)}`, { id })));
        assert.equal(bodies[0].body.replace(question.id, nothing), bodies[1].body, "as if there were no such challenge");
      }
    await refuses(async () => {
      for await (const snapshot of sibling.challenges.watchChallenge({ id: question.id })) assert.fail(`${snapshot}`);
    }, "not_found");
    assert.equal(await stateOf(question.id), ChallengeState.PENDING);
  });

  test("nor does another portal's enrolment", async () => {
    const { id } = await portal.enrolments.createEnrolment({ user: unique("user"), confirmation: Confirmation.CODE });
    const sibling = await Portal.create(broker, { organisation: portal.organisation });
    for (const other of [sibling, stranger]) {
      await refuses(other.enrolments.getEnrolment({ id }), "not_found");
      await refuses(other.enrolments.confirmEnrolment({ id, code: "123456" }), "not_found");
      await refuses(other.enrolments.cancelEnrolment({ id }), "not_found");
    }
    assert.equal(await portal.enrolmentState(id), EnrolmentState.WAITING);
  });

  test("another organisation's users do not exist", async () => {
    const { user } = await portal.enrol();
    await refuses(stranger.users.getUser({ user }), "not_found");
    await refuses(stranger.challenges.createChallenge({ user }), "not_found");
    const admin = await Portal.create(broker, { scopes: ["SCOPE_ADMIN"] });
    await refuses(admin.users.unlockUser({ user }), "not_found");
  });

  test("nor do their phones: to revoke one revokes nothing, and does not tell", async () => {
    const { phone, connection } = await portal.connected();
    const admin = await Portal.create(broker, { scopes: ["SCOPE_ADMIN"] });
    const bodies = [phone.deviceId, phone.deviceId.replace(/^.{8}/, "00000000")].map((deviceId) =>
      admin.post("UserService/RevokeDevice", { deviceId }));
    const [theirs, nobodys] = await Promise.all(bodies);
    assert.deepEqual([theirs.status, theirs.body], [nobodys.status, nobodys.body]);
    await connection.ping();
    await phone.connect();
  });
});

describe("what a portal asks", () => {
  test("an unknown user: not_found; one who has no phone yet: failed_precondition", async () => {
    await refuses(portal.challenges.createChallenge({ user: "nobody" }), "not_found");
    await refuses(portal.users.getUser({ user: "nobody" }), "not_found");
    const user = unique("user");
    await newEnrolment(user);
    await refuses(portal.challenges.createChallenge({ user }), "failed_precondition", /phone/);
  });

  test("a user who has a phone is enrolled again with its word, or by scope admin", async () => {
    const { user, phone } = await portal.enrol(undefined, { capabilities: CAN_CODE });
    const connection = await phone.connect();
    const { id, phone: further } = await portal.begin({ user });
    assert.equal((await further.enrolOn(await further.open())).waiting, true);
    assert.equal(await portal.enrolmentState(id), EnrolmentState.TO_APPROVE);
    assert.equal((await phone.nextPush(connection)).shown.occasion, Occasion.NEW_PHONE);

    await (await administrator()).enrol(user);
    assert.equal((await portal.users.getUser({ user })).user.devices.length, 2, "the other one still waits");
  });

  test("a mode that the portal is not allowed: failed_precondition", async () => {
    const { user } = await portal.enrol();
    for (const mode of [Mode.CHOOSE, Mode.CODE])
      await refuses(portal.ask(user, { mode }), "failed_precondition", /mode/i);
  });

  test("a second sign-in from another browser while one waits: failed_precondition, and the first goes on", async () => {
    const { user, phone, connection, question, push } = await portal.asked({ browserSession: "one" });
    await refuses(portal.ask(user, { browserSession: "two" }), "failed_precondition");
    await refuses(portal.ask(user), "failed_precondition");
    assert.equal(await stateOf(question.id), ChallengeState.PENDING);
    assert.equal((await phone.decide(connection, push, "approve")).state, ChallengeState.APPROVED);
  });

  test("a field that is out of bounds: invalid_argument, which names it", async () => {
    const { user } = await portal.enrol();
    const field = { label: "a", value: "b" };
    const wrong = [
      ["user", { user: "" }],
      ["user", { user: "x".repeat(257) }],
      ["user", { user: "a\nb" }],
      ["NUL", { user: "a\u0000b" }],
      ["life", { life: "29s" }],
      ["life", { life: "301s" }],
      ["life", { life: "-60s" }],
      ["life", { life: "sixty" }],
      ["nonce", { nonce: Buffer.alloc(15).toString("base64") }],
      ["nonce", { nonce: Buffer.alloc(65).toString("base64") }],
      ["nonce", { nonce: "not base64!" }],
      ["browser", { browserSession: "x".repeat(129) }],
      ["idempotency", { idempotencyKey: "x".repeat(129) }],
      ["mode", { mode: "MODE_SHOUT" }],
      ["userVerification", { userVerification: "USER_VERIFICATION_HARDLY" }],
      ["userVerification", { userVerification: 4 }],
      ["application", { context: { application: "x".repeat(257) } }],
      ["fields", { context: { fields: Array(17).fill(field) } }],
      ["fields", { context: { fields: [field, { label: "x".repeat(257), value: "" }] } }],
      ["context", { context: { fields: Array(16).fill({ label: "x".repeat(200), value: "y".repeat(200) }) } }],
    ];
    for (const [name, change] of wrong)
      await refuses(portal.call("ChallengeService/CreateChallenge", { user, ...change }), "invalid_argument", new RegExp(name, "i"));
    await refuses(portal.call("EnrolmentService/CreateEnrolment", { user: "" }), "invalid_argument", /user/);
    for (const life of ["59s", "601s"])
      await refuses(portal.call("EnrolmentService/CreateEnrolment", { user: unique("user"), life }), "invalid_argument", /life/);
    for (const change of [{ confirmation: 3 }, { platform: 4 }, { platform: -1 }])
      await refuses(portal.call("EnrolmentService/CreateEnrolment", { user: unique("user"), ...change }), "invalid_argument", /confirmation|platform/);
  });

  test("a code to confirm that is none, or that nobody waits for", async () => {
    const { id } = await portal.begin({ confirmation: Confirmation.CODE });
    for (const code of ["", "12345", "1234567", "12345x", "١٢٣"])
      await refuses(portal.enrolments.confirmEnrolment({ id, code }), "invalid_argument", /code/);
    await refuses(portal.enrolments.confirmEnrolment({ id, code: "123456" }), "failed_precondition");
    await refuses(portal.enrolments.confirmEnrolment({ id: "x", code: "123456" }), "not_found");
    await refuses(portal.enrolments.confirmEnrolment({ id: id.replace(/^.{8}/, "00000000"), code: "123456" }), "not_found");
    assert.equal(await portal.enrolmentState(id), EnrolmentState.WAITING, "none of it was its one try");
  });

  test("an administrator who names nobody, or somebody unknown", async () => {
    const admin = await administrator();
    await refuses(admin.users.revokeDevice({ deviceId: "x" }), "invalid_argument", /deviceId/);
    await refuses(admin.users.unlockUser({ user: "" }), "invalid_argument", /user/);
    await refuses(admin.users.unlockUser({ user: "nobody" }), "not_found");
    await refuses(broker.admin("UserService/UnlockUser", { user: "nobody" }), "invalid_argument", /organisation/);
    await refuses(broker.admin("UserService/UnlockUser", { user: "nobody", organisation: portal.organisation }), "not_found");
    await refuses(broker.admin("UserService/RevokeDevice", { deviceId: "../x" }), "invalid_argument", /deviceId/);
  });

  test("what the phone would show in a misleading way is refused: control and bidirectional characters", async () => {
    const { user } = await portal.enrol();
    const misleading = ["a\nb", "a\tb", "\u001b[2J", "a\u0085b", "\u202ereversed", "\u2066isolated", "\u200fmark", "a\u007fb", "a\u2028b"];
    for (const text of misleading)
      for (const context of [{ message: text }, { place: text }, { fields: [{ label: text, value: "v" }] }, { fields: [{ label: "l", value: text }] }])
        await refuses(portal.call("ChallengeService/CreateChallenge", { user, context }), "invalid_argument");
  });

  test("an id that is none: not_found or invalid_argument, never another's", async () => {
    for (const id of ["x", "0".repeat(52), "0".repeat(53), `${"0".repeat(32)}-${"0".repeat(20)}`, `${"0".repeat(32)}-${"0".repeat(21)}`, "../../etc", "{tag}", "a".repeat(5000), "ž"])
      await assert.rejects(portal.call("ChallengeService/GetChallenge", { id }), (error) =>
        error instanceof RpcError && ["not_found", "invalid_argument"].includes(error.code));
  });

  test("waiting for more than a minute: invalid_argument", async () => {
    const { question } = await portal.asked();
    await refuses(portal.challenges.getChallenge({ id: question.id, waitMs: 60_001 }), "invalid_argument", /wait/);
  });
});

describe("how a portal asks", () => {
  const method = "ChallengeService/CreateChallenge";

  test("JSON that is none, or of the wrong type: invalid_argument, with the path", async () => {
    for (const body of ["", "{", "[]", "null", '"x"', '{"user":"a"}}', '{"user":"a","user":"b"}', "\u00ff\u00fe"])
      await refuses(portal.call(method, body), "invalid_argument");
    await refuses(portal.call(method, { user: 1 }), "invalid_argument", /\buser\b/);
    await refuses(portal.call(method, { user: "a", context: { fields: [{}, { label: 1 }] } }), "invalid_argument", /context\.fields\[1\]\.label/);
    await refuses(portal.call(method, Buffer.from('{"user":"\xff"}', "latin1")), "invalid_argument");
    await assert.rejects(portal.call(method, `{"context":${"[".repeat(5000)}`), ({ code }) =>
      ["invalid_argument", "resource_exhausted"].includes(code));
  });

  test("protobuf that is none: invalid_argument", async () => {
    for (const seed of [1, 2, 3]) {
      const { status, headers, body } = await portal.post(method, noise(seed, 200), { headers: { "Content-Type": "application/proto" } });
      assert.equal(status, 400);
      assert.equal(headers["content-type"], "application/json");
      assert.equal(JSON.parse(body).code, "invalid_argument");
    }
  });

  test("another content type: 415", async () => {
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "application/connect+json"])
      assert.equal((await portal.post(method, "{}", { headers: { "Content-Type": type } })).status, 415, type);
    const stream = await portal.post("ChallengeService/WatchChallenge", "{}", { headers: { "Content-Type": "application/json" } });
    assert.equal(stream.status, 415);
  });

  test("a body that is compressed: unimplemented", async () => {
    await refuses(portal.call(method, "{}", { headers: { "Content-Encoding": "gzip" } }), "unimplemented");
  });

  test("a body that is too large: resource_exhausted, declared or in chunks", async () => {
    const large = JSON.stringify({ user: "x".repeat(70_000) });
    await refuses(portal.call(method, large), "resource_exhausted");
    await refuses(portal.call(method, large, { headers: { "Transfer-Encoding": "chunked" } }), "resource_exhausted");
  });

  test("a method or service that is unknown: unimplemented", async () => {
    for (const name of ["ChallengeService/Nothing", "NoService/CreateChallenge", "ChallengeService/createchallenge", "ChallengeService/"]) {
      const { status, body } = await portal.post(name, {});
      assert.equal(status, 404, name);
      assert.equal(JSON.parse(body).code, "unimplemented", name);
    }
  });

  test("the portal port serves no administration", async () => {
    const { status } = await portal.post("AdminService/CreateOrganisation", { organisation: { id: "evil" } });
    assert.equal(status, 404);
  });

  test("GET on the root, DELETE on a method", async () => {
    const root = await portal.post("", undefined, { method: "GET", path: "/" });
    assert.equal(root.status, 404);
    const deleted = await portal.post(method, undefined, { method: "DELETE" });
    assert.equal(deleted.status, 405);
  });

  test("requests that two servers could read in two ways are refused", async () => {
    const where = { port: broker.ports.portal };
    const line = "POST /nanopush.v1.UserService/GetUser HTTP/1.1\r\n";
    const ambiguous = [
      `${line}Content-Length: 2\r\n\r\n{}`,
      `${line}Host: a\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}`,
      `${line}Host: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}`,
      `${line}Host: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      `${line}Host : a\r\nContent-Length: 2\r\n\r\n{}`,
      `${line}Host: a\nContent-Length: 2\n\n{}`,
      `${line}Host: a\r\nX: 1\r\n folded\r\nContent-Length: 2\r\n\r\n{}`,
    ];
    for (const request of ambiguous) {
      const answer = (await sendInTls(where, request)).toString();
      assert.match(answer, /^HTTP\/1\.1 400 /, JSON.stringify(request));
    }
    const many = await sendInTls(where, `${line}Host: a\r\n${"X: y\r\n".repeat(200)}\r\n`);
    assert.match(many.toString(), /^HTTP\/1\.1 (400|431) /);
  });

  test("the admin socket refuses what a portal port refuses", async () => {
    await refuses(broker.admin("AdminService/CreateOrganisation", { organisation: { id: "Not An Id" } }), "invalid_argument", /id/);
    await refuses(broker.admin("AdminService/CreateOrganisation", { organisation: { id: portal.organisation } }), "already_exists");
    await refuses(broker.admin("AdminService/CreatePortal", { portal: { id: unique("portal"), organisation: "nowhere" } }), "not_found");
    await refuses(broker.admin("AdminService/CreatePortal", { portal: { id: portal.id, organisation: portal.organisation } }), "already_exists");
  });
});

describe("how a phone enrols", () => {
  const enrolError = async (uriText, change, keys) => {
    const { connection, uri, keys: own } = await openFor(uriText);
    const fields = Phone.enrolFields(connection, uri, keys ?? own);
    connection.send("enrol", { ...fields, ...change(fields, connection, uri) });
    return (await connection.nextError()).code;
  };

  test("what is wrong about it is refused, and the token is still good", async () => {
    const text = await newEnrolment();
    const spoilt = (bytes) => Buffer.from(bytes.map((byte, at) => (at === 20 ? byte ^ 1 : byte)));
    const same = makeKey();
    const wrong = [
      ["INVALID", ({ possessionSignature }) => ({ possessionSignature: spoilt(possessionSignature) })],
      ["INVALID", ({ userVerificationSignature }) => ({ userVerificationSignature: spoilt(userVerificationSignature) })],
      ["INVALID", (f) => ({ possessionSignature: f.userVerificationSignature, userVerificationSignature: f.possessionSignature })],
      ["INVALID", () => ({ possessionSignature: new Uint8Array() })],
      ["INVALID", ({ possessionKey }) => ({ possessionKey: spoilt(possessionKey) })],
      ["INVALID", ({ possessionKey }) => ({ possessionKey: possessionKey.subarray(0, 64) })],
      ["INVALID", () => ({ proof: Buffer.alloc(31) })],
      ["INVALID", () => ({ name: "x".repeat(65) })],
      ["INVALID", () => ({ name: "a\nb" })],
      ["NOT_FOUND", () => ({ token: randomBytes(16) })],
      ["INVALID", () => ({ token: new Uint8Array() })],
    ];
    for (const [code, change] of wrong) assert.equal(await enrolError(text, change), code, `${change}`);
    const twice = { possession: same, verification: same };
    assert.equal(await enrolError(text, () => ({}), twice), "INVALID", "one key in both roles");

    const elsewhere = await openFor(text);
    const replayed = Phone.enrolFields(elsewhere.connection, elsewhere.uri, elsewhere.keys);
    assert.equal(await enrolError(text, () => replayed), "INVALID", "signed for another connection");

    const phone = await Phone.enrol(text);
    assert.match(phone.deviceId, /^[0-9a-f]{32}-[0-9a-f]{20}$/);
  });

  test("an enrolment that there is not", async () => {
    const text = await newEnrolment();
    const { enrolmentId } = parseUri(text);
    for (const id of [enrolmentId.replace(/^.{8}/, "00000000"), "x", ""])
      assert.equal(await enrolError(text.replace(`e=${enrolmentId}`, `e=${id}`), () => ({})), "NOT_FOUND", id);
    assert.equal(await enrolError(text.replace(/o=[^&]+/, `o=${stranger.organisation}`), () => ({})), "NOT_FOUND");
  });

  test("again with the same keys: the same answer, and still one device", async () => {
    const user = unique("user");
    const text = await newEnrolment(user);
    const keys = { possession: makeKey(), verification: makeKey() };
    const first = await Phone.enrol(text, keys);
    const second = await Phone.enrol(text, keys);
    assert.equal(second.deviceId, first.deviceId);
    assert.equal((await portal.users.getUser({ user })).user.devices.length, 1);
    await second.connect();
  });

  test("with other keys: used, void, and what it enrolled is worth nothing", async () => {
    const user = unique("user");
    const { id, uri: text } = await portal.enrolments.createEnrolment({ user });
    const first = await Phone.enrol(text);
    const connected = await first.connect();
    assert.equal(await enrolError(text, () => ({})), "USED");
    assert.equal((await portal.enrolments.getEnrolment({ id })).enrolment.state, EnrolmentState.VOID);
    await connected.untilClosed();
    await assert.rejects(first.connect(), { code: "DENIED" });
    await refuses(portal.challenges.createChallenge({ user }), "failed_precondition", /phone/);
  });

  test("two phones at once with one token: not both", async () => {
    const { id, uri: text } = await portal.enrolments.createEnrolment({ user: unique("user") });
    const outcomes = await Promise.allSettled([Phone.enrol(text), Phone.enrol(text)]);
    assert.ok(outcomes.some(({ status, reason }) => status === "rejected" && reason.code === "USED"));
    assert.equal((await portal.enrolments.getEnrolment({ id })).enrolment.state, EnrolmentState.VOID);
    for (const { value } of outcomes.filter(({ status }) => status === "fulfilled"))
      await assert.rejects(value.connect(), { code: "DENIED" });
  });
});

describe("who a phone is", () => {
  const helloError = async (phone, fieldsOf) => {
    const connection = await phone.open();
    connection.send("hello", await fieldsOf(connection));
    const error = await connection.nextError();
    connection.destroy();
    return error;
  };

  test("a Hello that is not right is denied, always in the same words", async () => {
    const { phone } = await portal.enrol();
    const { phone: other } = await portal.enrol();
    const unknown = phone.deviceId.replace(/^.{8}/, "00000000");
    const denied = [
      await helloError(phone, (c) => phone.helloFields(c, { signature: randomBytes(64) })),
      await helloError(phone, (c) => phone.helloFields(c, { deviceId: unknown })),
      await helloError(phone, (c) => phone.helloFields(c, { deviceId: other.deviceId })),
      await helloError(phone, (c) => phone.helloFields(c, { generation: 2 })),
      await helloError(phone, (c) => phone.helloFields(c, { organisation: stranger.organisation })),
      await helloError(phone, (c) => ({ ...phone.helloFields(c), capabilities: 3 })),
      await helloError(phone, (c) => ({ ...phone.helloFields(c), possessionKey: other.possession.point })),
      await helloError(phone, (c) => other.helloFields(c, { deviceId: phone.deviceId })),
      await helloError(phone, async () => {
        const elsewhere = await phone.open();
        return phone.helloFields(elsewhere);
      }),
    ];
    for (const { code, text } of denied) {
      assert.equal(code, "DENIED");
      assert.equal(text, denied[0].text);
    }
    assert.equal(denied[0].subject, phone.deviceId);
    assert.equal(denied[1].subject, unknown);
    await phone.connect();
  });

  test("a Hello that was right on another connection is denied here, though that one stays", async () => {
    const { user, phone } = await portal.enrol();
    const first = await phone.open();
    const fields = phone.helloFields(first);
    first.send("hello", fields);
    await first.next("welcome");
    const { code } = await helloError(phone, () => fields);
    assert.equal(code, "DENIED");
    await first.ping();
    assert.equal((await portal.users.getUser({ user })).user.devices[0].connected, true);
  });

  test("at most 16 accounts on one connection", async () => {
    const phones = [];
    for (let count = 0; count < 17; count++) phones.push((await portal.enrol()).phone);
    const connection = await phones[0].open();
    for (const phone of phones.slice(0, 16)) {
      connection.send("hello", phone.helloFields(connection));
      await connection.next("welcome");
    }
    connection.send("hello", phones[16].helloFields(connection));
    assert.equal((await connection.nextError()).code, "LIMIT");
    await connection.ping();
  });
});

describe("what a phone answers", () => {
  test("whatever is wrong about an answer, it does not count, and the right one still does", async () => {
    const { phone, connection, question, push } = await portal.asked();
    const key = makeKey();
    const pretender = { ...key, thumbprint: phone.verification.thumbprint };
    const wrong = [
      ["approve", { claims: { nonce: randomBytes(32).toString("base64url") } }],
      ["approve", { claims: { display: randomBytes(32).toString("base64url") } }],
      ["approve", { claims: { aud: stranger.id } }],
      ["approve", { claims: { iss: phone.deviceId.replace(/^.{8}/, "00000000") } }],
      ["approve", { claims: { sub: "eve" } }],
      ["approve", { claims: { org: stranger.organisation } }],
      ["approve", { claims: { jti: question.id.replace(/^.{8}/, "00000000") } }],
      ["approve", { claims: { gen: 2 } }],
      ["approve", { claims: { exp: Number(push.expireUnixS) + 60 } }],
      ["approve", { claims: { v: 2 } }],
      ["approve", { claims: { mode: "code", code: "000" } }],
      ["approve", { claims: { code: "000" } }],
      ["approve", { claims: { extra: true } }],
      ["approve", { claims: { decision: "perhaps" } }],
      ["approve", { header: { typ: "nanopush-refusal+jwt" } }],
      ["approve", { header: { typ: "JWT" } }],
      ["approve", { header: { alg: "none" } }],
      ["approve", { header: { crit: ["exp"], exp: 1 } }],
      ["approve", { header: { jwk: key.jwk } }],
      ["approve", { key: phone.possession }],
      ["approve", { key }],
      ["approve", { key: pretender }],
      ["deny", { header: { typ: "nanopush-approval+jwt" } }],
      ["deny", { key: pretender }],
    ];
    for (const [decision, change] of wrong) {
      const { code, subject } = await phone.refusedAnswer(connection, push, decision, change);
      assert.equal(code, "INVALID", JSON.stringify([decision, change]));
      assert.equal(subject, question.id);
    }
    const right = phone.answer(push, "approve");
    for (const jws of ["", "x", "..", `${right}.`, `${right}=`, right.slice(0, -1), right.replace(".", ".."), "A".repeat(12000)]) {
      connection.send("answer", { challengeId: push.challengeId, jws });
      assert.equal((await connection.nextError()).code, "INVALID", jws.slice(0, 80));
    }
    assert.equal(await stateOf(question.id), ChallengeState.PENDING);
    assert.equal((await phone.decide(connection, push, "approve")).state, ChallengeState.APPROVED);
  });

  test("another user's challenge does not exist, rightly signed or not", async () => {
    const { question, push } = await portal.asked();
    const { phone: eve } = await portal.enrol();
    const connection = await eve.connect();
    assert.equal((await eve.refusedAnswer(connection, push, "approve")).code, "NOT_FOUND");
    assert.equal((await eve.refusedAnswer(connection, push, "deny")).code, "NOT_FOUND");
    assert.equal(await stateOf(question.id), ChallengeState.PENDING);
  });

  test("nor does one that never was, nor any before Hello", async () => {
    const { phone, connection, push, question } = await portal.asked();
    const never = { ...push, challengeId: push.challengeId.replace(/^.{8}/, "00000000") };
    assert.equal((await phone.refusedAnswer(connection, never, "approve")).code, "NOT_FOUND");
    for (const challengeId of ["", "x", "0".repeat(500)]) {
      connection.send("answer", { challengeId, jws: phone.answer(push, "approve") });
      assert.equal((await connection.nextError()).code, "NOT_FOUND");
    }
    const mute = await phone.open();
    mute.send("answer", { challengeId: push.challengeId, jws: phone.answer(push, "approve") });
    await mute.nextError();
    assert.equal(await stateOf(question.id), ChallengeState.PENDING);
  });
});

describe("what a phone does to its account", () => {
  const acts = ["rotate", "unlock", "remove"];

  test("nothing before Hello, and nothing to an account that is not on this connection", async () => {
    const { phone } = await portal.enrol();
    const { phone: other, connection: elsewhere } = await portal.connected();
    const mute = await phone.open();
    for (const connection of [mute, elsewhere])
      for (const kind of acts) {
        const fields = kind === "rotate" ? phone.rotateFields(makeKeys()) : phone.actFields(connection, kind);
        for (const deviceId of [phone.deviceId, "", "x".repeat(500)]) {
          connection.send(kind, { ...fields, deviceId });
          assert.equal((await connection.nextError()).code, "DENIED", `${kind} ${deviceId}`);
        }
        connection.send(kind, { ...fields, deviceId: other.deviceId });
        assert.equal((await connection.nextError()).code, connection === mute ? "DENIED" : "INVALID");
      }
    await Promise.all([phone, other].map((each) => each.connect()));
  });

  test("nothing that is no signed act at all", async () => {
    const { phone, connection } = await portal.connected();
    const { possession, verification } = makeKeys();
    const keys = { possessionKey: possession.point, userVerificationKey: verification.point };
    for (const kind of acts) {
      const right = kind === "rotate" ? phone.rotateFields({ possession, verification }).jws : phone.actFields(connection, kind).jws;
      const damaged = ["", "x", "..", `${right}.`, `${right}=`, right.slice(0, -1), right.replace(".", ".."), "A".repeat(8000)];
      for (const jws of damaged) {
        connection.send(kind, { deviceId: phone.deviceId, jws, ...(kind === "rotate" ? keys : {}) });
        assert.equal((await connection.nextError()).code, "INVALID", `${kind} ${jws.slice(0, 80)}`);
      }
    }
    const { devices } = (await portal.users.getUser({ user: phone.user })).user;
    assert.deepEqual(devices.map(({ id, generation }) => [id, generation]), [[phone.deviceId, 1]]);
  });
});

describe("how a phone speaks", () => {
  const spoken = async (bytes) => {
    const { phone } = await portal.enrol();
    const connection = await phone.connect();
    connection.sendBytes(bytes);
    return connection;
  };

  test("a frame that announces 2 GiB is fatal at once, with or without Hello", async () => {
    const twoGiB = Buffer.of(0x80, 0x80, 0x80, 0x80, 0x08);
    const mute = (await openFor(await newEnrolment())).connection;
    mute.sendBytes(twoGiB);
    for (const connection of [mute, await spoken(twoGiB)]) {
      assert.equal((await connection.nextError()).code, "MALFORMED");
      await connection.untilClosed();
    }
  });

  test("a frame that cannot be parsed is fatal", async () => {
    const unfinished = frame(Buffer.of(0x0a, 0x05, 0x01));
    const wrongType = frame(Buffer.of(0x08, 0x01)); // field 1 as a number: Hello is a message
    const tooLong = frame(Buffer.alloc(16385));
    const notShortest = Buffer.of(0x80, 0x00);
    const badText = frame(toBinary(PhoneMessageSchema, create(PhoneMessageSchema, {
      message: { case: "ack", value: { challengeId: "abc" } },
    })).map((byte) => (byte === 0x61 ? 0xff : byte)));
    for (const bytes of [unfinished, tooLong, notShortest, badText]) {
      const connection = await spoken(bytes);
      assert.equal((await connection.nextError()).code, "MALFORMED", bytes.subarray(0, 8).toString("hex"));
      await connection.untilClosed();
    }
    const odd = await spoken(wrongType);
    assert.match((await odd.nextError()).code, /^(MALFORMED|UNSUPPORTED)$/);
  });

  test("a message of a kind that is not known is not fatal, nor is one of a later version", async () => {
    const connection = await spoken(frame(Buffer.of(0xfa, 0x07, 0x01, 0x00)));
    assert.equal((await connection.nextError()).code, "UNSUPPORTED");
    connection.sendBytes(frame(Buffer.alloc(0)));
    assert.equal((await connection.nextError()).code, "UNSUPPORTED");
    await connection.ping();
  });

  test("a connection that is refused its first Hello or Enrol is closed; one that has an account, at the third", async () => {
    const { phone } = await portal.enrol();
    const { uri, phone: newcomer, connection: enrolling } = await openFor(await newEnrolment());
    enrolling.send("enrol", Phone.enrolFields(enrolling, uri, newcomer, { token: randomBytes(16) }));
    assert.equal((await enrolling.nextError()).code, "NOT_FOUND");
    await enrolling.untilClosed(AT_ONCE_MS);

    const unknown = await phone.open();
    unknown.send("hello", phone.helloFields(unknown, { signature: randomBytes(64) }));
    assert.equal((await unknown.nextError()).code, "DENIED");
    await unknown.untilClosed(AT_ONCE_MS);

    const { phone: other } = await portal.enrol();
    const attached = await phone.connect();
    for (let strike = 1; strike <= 3; strike++) {
      await attached.ping();
      attached.send("hello", other.helloFields(attached, { signature: randomBytes(64) }));
      assert.equal((await attached.nextError()).code, "DENIED");
    }
    await attached.untilClosed(AT_ONCE_MS);
  });

  test("a Hello that was said before is refused as such, unchecked: it costs no signature, and the account stays", async () => {
    const { phone } = await portal.enrol();
    const connection = await phone.connect();
    for (let again = 0; again < 4; again++) {
      connection.send("hello", phone.helloFields(connection, { signature: randomBytes(64) }));
      assert.equal((await connection.nextError()).code, "INVALID");
    }
    await connection.ping();
  });

  test("an unknown field of a known message is ignored", async () => {
    const connection = await spoken(frame(Buffer.of(0x4a, 0x03, 0xf8, 0x07, 0x01))); // Ping with field 127
    await connection.next("pong");
  });

  test("frames cut at every byte are the same frames", async () => {
    const { phone } = await portal.enrol();
    const connection = await phone.open();
    const hello = create(PhoneMessageSchema, { message: { case: "hello", value: phone.helloFields(connection) } });
    for (const byte of frame(toBinary(PhoneMessageSchema, hello))) connection.sendBytes(Buffer.of(byte));
    assert.equal((await connection.next("welcome")).deviceId, phone.deviceId);
  });

  test("who does not say Hello in time is closed, in TLS or before", async () => {
    const { connection } = await openFor(await newEnrolment());
    const started = Date.now();
    await Promise.all([
      connection.untilClosed(),
      sendRaw({ host: "127.0.0.1", port: broker.ports.device }, Buffer.alloc(0)),
      sendRaw({ host: "127.0.0.1", port: broker.ports.device }, Buffer.of(0x16, 0x03, 0x01, 0x02)),
    ]);
    const took = Date.now() - started;
    assert.ok(took > 1000 && took < deadline(8000), `${took} ms`);
  });

  test("noise where frames should be closes, whatever it is", async () => {
    for (let seed = 0; seed < 20; seed++)
      await sendInTls({ port: broker.ports.device, ALPNProtocols: [ALPN] }, noise(seed, 1 + seed * 97), { hangUp: true });
  });
});

describe("what is not the protocol of a port", () => {
  const ports = () => ["device", "portal", "stats"].map((name) => ({ name, host: "127.0.0.1", port: broker.ports[name] }));
  const adminSocket = () => ({ name: "admin", path: path.join(broker.dataDir, "admin.sock") });

  test("random bytes on every port", async () => {
    for (const where of [...ports(), adminSocket()])
      for (let seed = 0; seed < 8; seed++) await sendRaw(where, noise(`${where.name} ${seed}`, 1 + seed * 700), { hangUp: true });
    for (let seed = 0; seed < 8; seed++) await sendInTls({ port: broker.ports.portal }, noise(seed, 1 + seed * 700), { hangUp: true });
  });

  test("random bytes behind the header of a TLS record", async () => {
    for (const { host, port } of ports())
      for (let seed = 0; seed < 8; seed++) {
        const body = noise(seed, 64 + seed * 512);
        const header = Buffer.of(0x16, 0x03, 0x01, body.length >> 8, body.length & 0xff);
        await sendRaw({ host, port }, Buffer.concat([header, body]), { hangUp: true });
      }
  });

  test("plain HTTP on the TLS ports is closed", async () => {
    for (const port of [broker.ports.device, broker.ports.portal]) {
      const answer = await sendRaw({ host: "127.0.0.1", port }, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
      assert.doesNotMatch(answer.toString("latin1"), /^HTTP\/1\.1 200/);
    }
  });

  test("TLS 1.2 is refused on both ports", async () => {
    const old = { minVersion: "TLSv1.2", maxVersion: "TLSv1.2" };
    for (const port of [broker.ports.device, broker.ports.portal])
      assert.equal(await handshakeError({ port, ALPNProtocols: [ALPN], ...old }), "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION");
  });

  test("the device port wants its own application protocol", async () => {
    const { device: port } = broker.ports;
    assert.equal(await handshakeError({ port, ALPNProtocols: [ALPN] }), "");
    for (const ALPNProtocols of [undefined, ["http/1.1"], ["nanopush/2"], ["nanopush"]])
      assert.equal(await handshakeError({ port, ALPNProtocols }), "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL", `${ALPNProtocols}`);
  });

  test("TLS on the stats port is closed", async () => {
    assert.notEqual(await handshakeError({ port: broker.ports.stats }), "");
  });

  test("a certificate that does not bear the name is noticed by whoever asks for another", async () => {
    await assert.rejects(
      exchange({ tls: true, host: "127.0.0.1", servername: "elsewhere.example", port: broker.ports.portal, ca: broker.ca, path: "/" }),
      { code: "ERR_TLS_CERT_ALTNAME_INVALID" },
    );
  });
});

describe("what comes too late", () => {
  test("a phone that says nothing for one and a half heartbeats is told and closed; one that pings is kept", async () => {
    await until(early.started, 1000 * HEARTBEAT_S * 1.5);
    assert.equal((await early.silent.next("goAway")).reason, GoAway_Reason.IDLE);
    await early.silent.untilClosed();
    await until(early.started, 1000 * HEARTBEAT_S * 2);
    await early.talking.ping();
  });

  test("an answer after the challenge's expiry: expired, to the phone and to the portal", async () => {
    const { phone, push, question } = early.late;
    await until(early.started, 31_000);
    const connection = await phone.connect();
    assert.equal(connection.welcome.pendingCount, 0);
    assert.equal((await phone.decide(connection, push, "approve")).state, ChallengeState.EXPIRED);
    const { challenge } = await portal.challenges.getChallenge({ id: question.id });
    assert.equal(challenge.state, ChallengeState.EXPIRED);
    assert.equal(challenge.answer, undefined);
  });

  test("an enrolment token after its life: expired", async () => {
    await until(early.started, 61_000);
    await assert.rejects(Phone.enrol(early.expired.uri), { code: "EXPIRED" });
    const { enrolment } = await portal.enrolments.getEnrolment({ id: early.expired.id });
    assert.equal(enrolment.state, EnrolmentState.EXPIRED);
  });

  test("a phone that only pinged for more than a minute, whose record is put aside, signs in and acts as before", async () => {
    const [asked, rotating, revoked, removed] = early.quiet;
    await until(early.started, 61_000);
    const rests = () => broker.log().match(/account-at-rest/g)?.length ?? 0;
    await eventually(15_000, "accounts at rest", () => rests() >= early.quiet.length);
    await portal.signIn(asked);
    await rotating.phone.rotate(rotating.connection);
    await rotating.phone.unlock(rotating.connection);
    await (await administrator()).users.revokeDevice({ deviceId: revoked.phone.deviceId });
    await revoked.connection.untilClosed();
    removed.connection.send("remove", removed.phone.actFields(removed.connection, "remove"));
    assert.equal((await removed.connection.next("accepted")).deviceId, removed.phone.deviceId);
  });
});
