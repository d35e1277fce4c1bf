// Every key in Redis is one of store/key.def: of that type, and gone after that life or with a reason to stay.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";

import { ChallengeState } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { Broker, eventually } from "./harness.mjs";
import { Portal, unique } from "./portal.mjs";
import { Redis } from "./redis.mjs";

const SOURCE = new URL("../../broker/store/", import.meta.url);
const ALL = ["SCOPE_CHALLENGE", "SCOPE_ENROL", "SCOPE_ADMIN", "SCOPE_EVENTS"];
const ANYTHING = "[^{}]+";
const patternOf = (text) => new RegExp(`^${text.replaceAll("<>", ANYTHING)}$`);

const table = [...readFileSync(new URL("key.def", SOURCE), "utf8").matchAll(/^KEY\("([^"]+)", "(\w+)", (\d+), "([^"]*)"\)/gm)]
  .map(([, pattern, type, life, why]) => ({ pattern, type, life: Number(life), why, matches: patternOf(pattern) }))
  .sort((one, other) => one.pattern.split("<>").length - other.pattern.split("<>").length); // the most exact first

const cleanups = [];
let redis, broker, portal;
before(async () => {
  redis = await Redis.start({ after: (cleanup) => cleanups.push(cleanup) });
  broker = new Broker({ workers: 2, redis: redis.address });
  await broker.start();
  portal = await Portal.create(broker, { scopes: ALL });
});
after(async () => {
  await broker.stop();
  for (const cleanup of cleanups) await cleanup();
});

/** Rows of the table that stand in Redis, by pattern. */
async function checkKeys(server) {
  const seen = new Set();
  for (const key of await server.do("KEYS", "*")) {
    const row = table.find(({ matches }) => matches.test(key));
    assert.ok(row, `${key} is in key.def`);
    const type = await server.do("TYPE", key);
    const left = await server.do("PTTL", key);
    if (type === "none" || left === -2) continue; // its life has just ended
    assert.equal(type, row.type, key);
    assert.ok(left !== -1 || row.why, `${key} has a life, or a reason`);
    assert.ok(left === -1 || left <= row.life, `${key}: ${left} ms`);
    seen.add(row.pattern);
  }
  return seen;
}

test("whatever is done, every key is in the table and has its life, or a reason to stay", async () => {
  const events = portal.events.watchEvents({}, { signal: AbortSignal.timeout(60_000) });
  const watching = (async () => { for await (const event of events) void event; })().catch(() => {});
  const one = await portal.connected();
  await portal.signIn(one, { browserSession: "session", idempotencyKey: unique("once") });
  for (const how of ["deny", "not_me"]) {
    const { question, phone, connection, push } = await portal.asked();
    const following = portal.follow(question.id);
    await phone.decide(connection, push, how);
    await following.end();
  }
  const { user, question } = await portal.asked();
  await portal.challenges.cancelChallenge({ id: question.id });
  const pending = await portal.ask((await portal.connected()).user);
  await portal.begin();
  const [{ id: deviceId }] = (await portal.users.getUser({ user })).user.devices;
  await portal.users.renameDevice({ deviceId, name: "Other" });
  await portal.users.revokeDevice({ deviceId });
  const gone = await portal.connected();
  await portal.users.deleteUser({ user: gone.user });
  const other = await Portal.create(broker, { organisation: portal.organisation });
  await broker.admin("AdminService/SetCertificates", { portal: other.id, add: "ab".repeat(32) });
  await other.ask(one.user).catch(() => {});
  const third = await Portal.create(broker, { organisation: portal.organisation });
  await broker.admin("AdminService/RemovePortal", { id: third.id });

  const seen = await checkKeys(redis);
  assert.equal(await portal.challengeState(pending.id), ChallengeState.PENDING);
  const missing = table.map(({ pattern }) => pattern).filter((pattern) => !seen.has(pattern));
  assert.deepEqual(missing, ["np1:{lineage}", "np1:{<>}:mark"], "each kind was there, but for what Sentinels and durability = replicated leave");
  void watching;
});

test("what a killed worker leaves disappears", async () => {
  const { user, phone, connection } = await portal.connected();
  const [presence] = await presenceOf(phone.deviceId);
  const holder = async () => (await redis.do("HGET", presence, phone.deviceId)).split("#")[0];
  const inbox = `np1:inbox:{${await holder()}}`;
  assert.equal(await redis.do("EXISTS", inbox), 1);
  process.kill(broker.holderOf(connection.socket), "SIGKILL");
  await connection.untilClosed();
  assert.ok(await redis.do("PTTL", inbox) <= 30_000);
  await eventually(20_000, "a worker is there in its place", async () => (await redis.do("KEYS", "np1:inbox:*")).length === 3);
  for (const each of await redis.do("KEYS", "np1:inbox:*")) await redis.do("PEXPIRE", each, 7000); // those that live renew theirs sooner
  await eventually(15_000, "nobody renews the dead one's", async () => (await redis.do("EXISTS", inbox)) === 0);
  assert.equal((await redis.do("KEYS", "np1:inbox:*")).length, 2, "and the others stay");
  await eventually(10_000, "a portal is heard", () => portal.ask(user).catch(() => null));
  await eventually(10_000, "the presence that named it is cleared", async () => (await holder()) === "");
  await checkKeys(redis);
});

async function presenceOf(deviceId) {
  const found = [];
  for (const key of await redis.do("KEYS", "np1:*:presence")) if (await redis.do("HEXISTS", key, deviceId)) found.push(key);
  return found;
}

test("each name that the broker makes is in the table", () => {
  const made = [...readFileSync(new URL("key.c", SOURCE), "utf8").matchAll(/"(np1:[^"]+)"/g)].map(([, format]) => format);
  assert.ok(made.length >= 15);
  for (const format of made) {
    const name = new RegExp(`^${format.replaceAll(/%(\.\*)?[sc]/g, ANYTHING)}$`);
    assert.ok(table.some(({ pattern }) => name.test(pattern.replaceAll("<>", "x"))), format);
  }
});
