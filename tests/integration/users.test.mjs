// Users as a whole: listed, deleted, their phones renamed; by a portal with scope admin and over the admin socket.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { ChallengeState } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { EnrolmentState } from "../../build/gen-js/nanopush/v1/enrolment_pb.js";
import { Broker, eventually } from "./harness.mjs";
import { Portal, refuses, unique } from "./portal.mjs";

const WAIT_MS = 10_000;
const scopes = ["SCOPE_CHALLENGE", "SCOPE_ENROL", "SCOPE_ADMIN", "SCOPE_EVENTS"];
const broker = new Broker({ workers: 2 });
let portal;
let stranger; // of another organisation

before(async () => {
  await broker.start();
  portal = await Portal.create(broker, { scopes });
  stranger = await Portal.create(broker, { scopes });
});
after(() => broker.stop());

/** Names by pages of that size. */
async function list(by, pageSize) {
  const names = [];
  for (let pageToken = ""; ; ) {
    const { users, nextPageToken } = await by.users.listUsers({ pageSize, pageToken });
    assert.ok(users.length <= pageSize);
    names.push(...users.map(({ name }) => name));
    if (!nextPageToken) return names;
    pageToken = nextPageToken;
  }
}

async function events(by, kind, user) {
  const abort = new AbortController();
  const found = [];
  const reading = (async () => {
    for await (const { event } of by.events.watchEvents({ kinds: [kind], user }, { signal: abort.signal })) found.push(event);
  })();
  reading.catch(() => {});
  await eventually(WAIT_MS, `${kind} of ${user}`, async () => found.length > 0);
  abort.abort();
  return found;
}

describe("listed", () => {
  test("every user once, in pages of any size, in the same order", async () => {
    const own = await Portal.create(broker, { scopes });
    const names = Array.from({ length: 23 }, (_, i) => (i ? `user ${i} ünï` : "x".repeat(256)));
    for (const user of names) await own.enrolments.createEnrolment({ user });
    const whole = await list(own, 100);
    assert.deepEqual([...whole].sort(), [...names].sort());
    for (const size of [1, 2, 7, 22, 23]) assert.deepEqual(await list(own, size), whole, `by ${size}`);
    const admin = await broker.admin("UserService/ListUsers", { organisation: own.organisation });
    assert.deepEqual(admin.users.map(({ name }) => name), whole);
  });

  test("with phones and locks; nothing of another organisation", async () => {
    const { user, phone } = await portal.enrol();
    const { users } = await portal.users.listUsers({});
    const found = users.find(({ name }) => name === user);
    assert.equal(found.devices[0].id, phone.deviceId);
    assert.ok(!(await list(stranger, 100)).includes(user));
  });

  test("a page token is good for its own list, unchanged", async () => {
    for (let i = 0; i < 3; i++) await portal.enrolments.createEnrolment({ user: unique("paged") });
    const { nextPageToken } = await portal.users.listUsers({ pageSize: 1 });
    await refuses(stranger.users.listUsers({ pageToken: nextPageToken }), "invalid_argument", /pageToken/);
    await refuses(portal.users.listUsers({ pageToken: `A${nextPageToken.slice(1)}`.replace(/^AA/, "BA") }), "invalid_argument", /pageToken/);
    await refuses(portal.users.listUsers({ pageToken: "x" }), "invalid_argument", /pageToken/);
  });

  test("a name in the index alone is nobody, and is taken out", async () => {
    const own = await Portal.create(broker, { scopes });
    const key = `np1:users:{${own.organisation}:7}`;
    await broker.redis("ZADD", key, "0", "nobody");
    assert.deepEqual(await list(own, 10), []);
    await eventually(WAIT_MS, "it is out", async () => (await broker.redis("ZCARD", key)).startsWith(":0"));
  });
});

describe("deleted", () => {
  test("ends phones, what is pending, enrolments and limits; its name is free again", async () => {
    const { user, phone, connection } = await portal.connected();
    const question = await portal.ask(user);
    const watched = portal.follow(question.id);
    const push = await phone.pushOf(connection, question.id);
    const open = await portal.begin({ user });
    await portal.users.deleteUser({ user });
    await connection.closed;
    await watched.until("cancelled", ({ state }) => state === ChallengeState.CANCELLED);
    assert.equal(await portal.enrolmentState(open.id), EnrolmentState.CANCELLED);
    await refuses(portal.users.getUser({ user }), "not_found");
    await refuses(portal.ask(user), "not_found");
    await assert.rejects(phone.connect(), /denied|unknown|NOT_|device/i);
    assert.ok(!(await list(portal, 100)).includes(user));
    const [deleted, ...more] = await events(portal, "user_deleted", user);
    assert.equal(deleted.by, `portal ${portal.id}`);
    assert.equal(deleted.detail, "1 phones");
    assert.deepEqual(more, []);
    assert.ok(push);
    const again = await portal.enrol(user);
    assert.equal((await portal.users.getUser({ user })).user.devices[0].id, again.phone.deviceId);
  });

  test("again, or one who never was: as good", async () => {
    const { user } = await portal.enrol();
    await portal.users.deleteUser({ user });
    await portal.users.deleteUser({ user });
    await portal.users.deleteUser({ user: unique("nobody") });
    assert.equal((await events(portal, "user_deleted", user)).length, 1);
  });

  test("an enrolment of the life before makes no phone in the next, even where it could not be cancelled", async () => {
    const user = unique("twice");
    const { phone, id } = await portal.begin({ user });
    const tag = id.slice(-20);
    await broker.redis("DEL", `np1:{${tag}}:enrolments`); // so that deleting does not find it
    await portal.users.deleteUser({ user });
    await portal.enrolments.createEnrolment({ user });
    const connection = await phone.open();
    await assert.rejects(phone.enrolOn(connection), /expired/i);
    assert.equal((await portal.users.getUser({ user })).user.devices.length, 0);
  });

  test("half done, it is finished by the next", async () => {
    const { user, phone } = await portal.connected();
    const question = await portal.ask(user);
    const tag = phone.deviceId.slice(-20);
    for (const part of ["user", "devices", "presence", "limits"]) await broker.redis("DEL", `np1:{${tag}}:${part}`);
    await portal.users.deleteUser({ user });
    assert.equal(await portal.challengeState(question.id), ChallengeState.CANCELLED);
    assert.ok(!(await list(portal, 100)).includes(user));
  });

  test("only by scope admin, and only in the own organisation", async () => {
    const { user } = await portal.enrol();
    await stranger.users.deleteUser({ user }); // of its own organisation there is none: nothing told
    assert.equal((await portal.users.getUser({ user })).user.devices.length, 1);
    const weak = await Portal.create(broker, { organisation: portal.organisation });
    for (const call of ["listUsers", "deleteUser", "renameDevice"]) await refuses(weak.users[call]({}), "permission_denied", /admin/);
    await broker.admin("UserService/DeleteUser", { user, organisation: portal.organisation });
    await refuses(portal.users.getUser({ user }), "not_found");
  });
});

describe("a challenge", () => {
  test("is taken back by an administrator, who is not told its number", async () => {
    const { user, question } = await portal.asked();
    const { challenge } = await broker.admin("ChallengeService/CancelChallenge", { id: question.id });
    assert.equal(challenge.state, "CHALLENGE_STATE_CANCELLED");
    assert.equal(challenge.user, user);
    assert.equal(challenge.number ?? "", "");
    await assert.rejects(broker.admin("ChallengeService/CreateChallenge", { user }), /404|unimplemented|no such method/);
  });
});

describe("renamed", () => {
  test("by a portal and by an administrator; the phone goes on", async () => {
    const enrolled = await portal.connected();
    const { user, phone } = enrolled;
    const { device } = await portal.users.renameDevice({ deviceId: phone.deviceId, name: "Work phone" });
    assert.equal(device.name, "Work phone");
    assert.equal(device.connected, true);
    assert.equal((await portal.users.getUser({ user })).user.devices[0].name, "Work phone");
    await broker.admin("UserService/RenameDevice", { deviceId: phone.deviceId, name: "Privat" });
    assert.equal((await portal.users.getUser({ user })).user.devices[0].name, "Privat");
    await portal.signIn(enrolled);
    const [renamed] = await events(portal, "phone_renamed", user);
    assert.equal(renamed.detail, "Work phone");
  });

  test("refused: no such phone here, no name", async () => {
    const { phone } = await portal.enrol();
    await refuses(stranger.users.renameDevice({ deviceId: phone.deviceId, name: "Mine" }), "not_found");
    for (const name of ["", "x".repeat(65), "two\nlines", "\u202egnp.exe"])
      await refuses(portal.users.renameDevice({ deviceId: phone.deviceId, name }), "invalid_argument", /name/);
    await refuses(portal.users.renameDevice({ deviceId: "x", name: "Mine" }), "invalid_argument", /deviceId/);
  });
});
