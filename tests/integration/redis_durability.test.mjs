// The option durability: what is accepted is on a replica, or on the disk; and what cannot be is refused.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";

import { Code } from "@connectrpc/connect";

import { ChallengeState } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { Broker, eventually, runProgram } from "./harness.mjs";
import { login, Portal } from "./portal.mjs";
import { Redis } from "./redis.mjs";

function brokerFor(t, options) {
  const broker = new Broker(options);
  t.after(() => broker.stop());
  return broker;
}

async function pair(t) {
  const master = await Redis.start(t);
  const replica = await Redis.start(t, { replicaof: `127.0.0.1 ${master.port}` });
  await eventually(20_000, "the replica follows", async () => (await master.do("ROLE"))[2].length === 1 && (await replica.do("ROLE"))[3] === "connected");
  return { master, replica };
}

const waits = async (redis) => Number(/cmdstat_wait:calls=(\d+)/.exec(await redis.do("INFO", "commandstats"))?.[1] ?? 0);
const code = (promise) => promise.then(() => "ok", (error) => error.code ?? error.message);

describe("replicated", () => {
  test("each accepted write is on the replica; without one nothing is accepted, and with it again everything", async (t) => {
    const { master, replica } = await pair(t);
    const broker = await brokerFor(t, { redis: master.address, durability: "replicated" }).start();
    const portal = await Portal.create(broker);
    const before = await waits(master);
    await login(portal);
    assert.ok(await waits(master) >= before + 4, "enrolment, its use, challenge and answer waited for it");

    const { user } = await portal.enrol();
    await portal.users.getUser({ user });
    await replica.kill();
    await eventually(10_000, "it is noticed", async () => (await code(portal.ask(user))) === Code.Unavailable);
    assert.equal(await code(portal.ask(user)), Code.Unavailable);
    await portal.users.getUser({ user });
    assert.ok((await broker.metrics()).nanopush_store_unreplicated_total > 0);
    await broker.logged(/redis-no-replica/);

    await replica.run();
    await eventually(20_000, "it serves again", () => login(portal).then(() => true, () => false));
  });

  test("a replica that hangs holds up what must be on it, and nothing else", async (t) => {
    const { master, replica } = await pair(t);
    const broker = await brokerFor(t, { redis: master.address, durability: "replicated", store_timeout_ms: 5000 }).start();
    const portal = await Portal.create(broker);
    const { user } = await portal.enrol();
    replica.pause();
    let refused;
    const asking = code(portal.ask(user)).then((outcome) => (refused = outcome));
    for (let i = 0; i < 20; i++) await portal.users.getUser({ user });
    assert.equal(refused, undefined, "the reads did not wait for it");
    replica.resume();
    assert.equal(await asking, "ok");
  });

  test("a repeat of what a lonely master took is not taken for replicated", async (t) => {
    const { master, replica } = await pair(t);
    const broker = await brokerFor(t, { redis: master.address, durability: "replicated", store_timeout_ms: 1000 }).start();
    const portal = await Portal.create(broker);
    const { user } = await portal.enrol();
    const request = { user, context: { application: "Mail" }, idempotencyKey: "once" };
    replica.pause();
    assert.equal(await code(portal.challenges.createChallenge(request)), Code.Unavailable);
    assert.equal(await code(portal.challenges.createChallenge(request)), Code.Unavailable);
    replica.resume();
    await eventually(10_000, "it is accepted", async () => (await code(portal.challenges.createChallenge(request))) === "ok");
    const [key] = (await master.do("KEYS", "np1:*:c:*"));
    assert.equal(await replica.do("EXISTS", key), 1);
  });

  test("nobody is told what no replica has", async (t) => {
    const { master, replica } = await pair(t);
    const broker = await brokerFor(t, { redis: master.address, durability: "replicated", store_timeout_ms: 5000 }).start();
    const portal = await Portal.create(broker);
    const { user, phone, question, push, connection } = await portal.asked();
    await portal.challengeState(question.id); // from now on Redis has the script: it is not sent again whole
    replica.pause();
    const [key] = await master.do("KEYS", `np1:*:c:${question.id}`);
    await master.do("HINCRBY", key, "revision", 1);
    let told;
    const asking = portal.challengeState(question.id).then((state) => (told = state));
    for (let i = 0; i < 20; i++) await portal.users.getUser({ user });
    assert.equal(told, undefined, "a fail-over would take it back");
    replica.resume();
    assert.equal(await asking, ChallengeState.PENDING);
    assert.equal((await phone.decide(connection, push, "approve")).state, ChallengeState.APPROVED);
  });

  test("an embedded Redis has no replica: refused at the start", (t) => {
    const { status, stderr } = runProgram("--config", brokerFor(t, { durability: "replicated" }).configFile);
    assert.equal(status, 1);
    assert.match(stderr, /durability.*needs a Redis that is named/);
  });

  test("an ACL without WAIT: the log names it", async (t) => {
    const { master } = await pair(t);
    await master.do("ACL", "SETUSER", "nanopush", "on", ">secret", "~np1:*", "+@all", "-wait");
    const broker = brokerFor(t);
    const file = path.join(broker.root, "password");
    writeFileSync(file, "secret", { mode: 0o600 });
    broker.configure({ redis: master.address, redis_user: "nanopush", redis_password_file: file, durability: "replicated" });
    await broker.start();
    await broker.logged(/wait-failed.*NOPERM.*'wait'/);
  });
});

describe("always", () => {
  test("the embedded Redis writes to its disk before it answers", async (t) => {
    const broker = await brokerFor(t, { durability: "always" }).start();
    assert.match(await broker.redis("CONFIG", "GET", "appendfsync"), /always/);
    await login(await Portal.create(broker));
  });

  test("a named one that does not is refused, one that does is used", async (t) => {
    const redis = await Redis.start(t, { appendonly: "yes" });
    const broker = brokerFor(t, { redis: redis.address, durability: "always" });
    const starting = broker.start();
    await broker.logged(/redis-refused.*step=appendfsync.*appendfsync always/);
    await redis.do("CONFIG", "SET", "appendfsync", "always");
    await starting;
    await login(await Portal.create(broker));
  });
});

test("a durability that is none is refused", (t) => {
  assert.match(runProgram("--config", brokerFor(t, { durability: "some" }).configFile, "--check").stderr, /durability: expected "fast", "replicated" or "always"/);
});
