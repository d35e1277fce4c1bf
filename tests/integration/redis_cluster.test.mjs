// A Redis Cluster of three masters and three replicas: logins everywhere in it, while slots move, while masters die.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, before, test } from "node:test";

import { Code } from "@connectrpc/connect";

import { ChallengeState } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { Broker, eventually, pause, runProgram } from "./harness.mjs";
import { Portal } from "./portal.mjs";
import { freePorts, Redis } from "./redis.mjs";

let servers;
const cleanups = [];
const suite = { after: (cleanup) => cleanups.unshift(cleanup) };

/** As an operator does it. */
async function redisCli(...args) {
  const child = spawn("redis-cli", ["--cluster", ...args, "--cluster-yes"], { stdio: ["ignore", "pipe", "inherit"], timeout: 120_000 });
  let said = "";
  child.stdout.on("data", (part) => (said += part));
  const status = await new Promise((resolve) => child.on("exit", resolve));
  assert.equal(status, 0, `${args.join(" ")}: ${said.slice(-500)}`);
}

async function reshard(from, to, count) {
  await masters(); // it refuses to begin while the nodes have not all heard of the last move
  await redisCli("reshard", from.server.address, "--cluster-from", from.id, "--cluster-to", to.id, "--cluster-slots", count);
}

/** One slot, key by key, as redis-cli --cluster reshard does it. */
async function moveSlot(slot, from, to) {
  await to.server.do("CLUSTER", "SETSLOT", slot, "IMPORTING", from.id);
  await from.server.do("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id);
  for (let keys; (keys = await from.server.do("CLUSTER", "GETKEYSINSLOT", slot, 100)).length; )
    await from.server.do("MIGRATE", "127.0.0.1", to.server.port, "", 0, 5000, "KEYS", ...keys);
  for (const server of servers)
    if (server === to.server || (await server.do("ROLE"))[0] === "master") await server.do("CLUSTER", "SETSLOT", slot, "NODE", to.id);
}

before(async () => {
  const settings = { "cluster-enabled": "yes", "cluster-node-timeout": 2000, "appendonly": "yes" };
  servers = [];
  for (const port of await freePorts(6)) servers.push(await Redis.start(suite, settings, { port }));
  await redisCli("create", ...servers.map(({ address }) => address), "--cluster-replicas", "1");
});

after(async () => {
  for (const cleanup of cleanups) await cleanup();
});

/** The present masters, once the whole Cluster is as it should be: [{server, id, slots}]. */
const masters = () => eventually(30_000, "three masters with a replica each, all of one mind", async () => {
  const views = await Promise.all(servers.map((one) => one.do("CLUSTER", "NODES").catch(() => "")));
  const parsed = views.map((text) => text.trim().split("\n").filter((line) => line).map((line) => line.split(" ")).map(([id, address, flags, master, , , , link, ...slots]) =>
    ({ id, port: Number(address.split(/[:@]/)[1]), master, is: flags.replace("myself,", ""), link, slots })));
  const whole = parsed.every((nodes) => nodes.length === 6 && nodes.every(({ is, link }) => /^(master|slave)$/.test(is) && link === "connected"));
  const chosen = whole && parsed[0].filter(({ slots }) => slots.length > 0).sort((a, b) => a.port - b.port);
  const same = whole && new Set(parsed.map((nodes) => nodes.filter(({ slots }) => slots.length).map(({ id, slots }) => `${id} ${slots}`).sort().join())).size === 1;
  if (!same || !chosen.every(({ id }) => parsed[0].some(({ master }) => master === id))) return null;
  const followed = await Promise.all(servers.map(async (one) => (await one.do("ROLE"))));
  if (!followed.every(([role, , third]) => (role === "master" ? third.length > 0 : third && true))) return null;
  return chosen.map((node) => ({ ...node, server: servers.find(({ port }) => port === node.port) }));
});

async function brokerOn(t, options = {}) {
  const broker = new Broker({ redis_cluster: servers.slice(0, 2).map(({ address }) => address), workers: 2, ...options });
  t.after(() => broker.stop());
  return broker.start();
}

const slotOf = ({ phone }) => servers[0].do("CLUSTER", "KEYSLOT", `{${phone.deviceId.slice(-20)}}`);

/** A user whose keys are at this master, with a phone that hangs. */
async function personAt(portal, { server }) {
  for (;;) {
    const one = await portal.connected();
    const slot = await slotOf(one);
    const [, , [, port]] = (await server.do("CLUSTER", "SLOTS")).find(([first, last]) => first <= slot && slot <= last);
    if (port === server.port) return one;
    one.connection.close();
  }
}

/** A login; null where it was refused in order, because a part is away or what a fail-over lost is in its way. */
async function tryLogin(portal, { user, phone, pins, connection }) {
  let question;
  try {
    question = await portal.ask(user);
  } catch ({ code, message }) {
    assert.ok([Code.Unavailable, Code.FailedPrecondition, Code.ResourceExhausted].includes(code), `refused in order, not with ${code}: ${message}`);
    return null;
  }
  for (;;) {
    const push = await phone.nextPush(connection);
    if (push.challengeId !== question.id) continue;
    const refused = await phone.decide(connection, push, "approve").then(() => false, ({ code }) => code);
    assert.ok(!refused || refused === "UNAVAILABLE", `an answer refused with ${refused}`);
    if (refused) return null;
    const { challenge } = await portal.challenges.getChallenge({ id: question.id });
    await portal.verify(challenge, question, pins);
    return challenge;
  }
}

test("logins of users at each master", async (t) => {
  const all = await masters();
  const broker = await brokerOn(t);
  const portal = await Portal.create(broker);
  for (const one of all) assert.ok(await tryLogin(portal, await personAt(portal, one)));
  assert.equal((await broker.metrics()).nanopush_store_up, 3);
  assert.equal((await broker.stats("/readyz")).status, 200);
});

test("slots move from one master to another while logins run: none fails", async (t) => {
  const [from, to, third] = await masters();
  const broker = await brokerOn(t);
  const portal = await Portal.create(broker);
  const people = [];
  for (const one of [from, from, to, third]) people.push(await personAt(portal, one));
  let moving = true;
  let count = 0;
  const running = Promise.all(people.map(async (one) => {
    for (; moving; count++) assert.ok(await tryLogin(portal, one), "a login is refused");
  }));
  const slot = await slotOf(people[0]);
  await moveSlot(slot, from, to);
  await reshard(from, to, 1000);
  await moveSlot(slot, to, from);
  await reshard(to, from, 1000);
  moving = false;
  await running;
  assert.ok(count > 10, `${count} logins`);
  assert.ok((await broker.metrics()).nanopush_store_redirects_total > 0);
});

/** Once somebody else serves what it served. */
const promoted = (dead) => eventually(30_000, "a replica is promoted", async () => {
  const other = servers.find((one) => one !== dead.server);
  const slots = await other.do("CLUSTER", "SLOTS");
  return slots.every(([, , [, port]]) => port !== dead.server.port) && /cluster_state:ok/.test(await other.do("CLUSTER", "INFO"));
});

/** A login within a few seconds, however often it is refused until then. */
const loginSoon = (portal, one) => eventually(10_000, "a login", () => tryLogin(portal, one));

test("a master killed: /readyz says what is gone; after the promotion logins work, and the phones have hung on", async (t) => {
  const all = await masters();
  const broker = await brokerOn(t);
  const portal = await Portal.create(broker);
  const people = [];
  for (const one of all) people.push(await personAt(portal, one));
  const waits = await personAt(portal, all[1]);
  const question = await portal.ask(waits.user);
  const following = portal.follow(question.id);
  await following.until("pending", ({ state }) => state === ChallengeState.PENDING);
  await pause(200); // replicated: what is not may be lost

  await all[1].server.kill();
  const [first, last] = all[1].slots[0].split("-");
  const gone = await eventually(5000, "/readyz says what is gone", async () => {
    const { status, body } = await broker.stats("/readyz");
    return status === 503 && /redis unavailable: slots/.test(body) && body;
  });
  assert.match(gone, new RegExp(`redis unavailable: slots .*${first}-${last}.* have no master that answers, since`));
  await promoted(all[1]);
  for (const one of people) await loginSoon(portal, one);
  await eventually(10_000, "/readyz is well again", async () => (await broker.stats("/readyz")).status === 200);
  await waits.phone.decide(waits.connection, await waits.phone.nextPush(waits.connection), "approve");
  await portal.verify((await following.end()).at(-1), question, waits.pins);
  await all[1].server.run();
  await masters();
  for (const one of people) assert.ok(await tryLogin(portal, one));
});

test("a master killed with what it had not replicated: its waiter is told that it is lost", async (t) => {
  const all = await masters();
  const broker = await brokerOn(t);
  const portal = await Portal.create(broker);
  const somebody = await personAt(portal, all[0]);
  await pause(200);
  const followers = (await all[0].server.do("CLUSTER", "REPLICAS", all[0].id)).map((line) => Number(line.split(/[ :@]/)[2]));
  const replicas = servers.filter(({ port }) => followers.includes(port));
  for (const replica of replicas) replica.pause();
  await all[0].server.command(["CLIENT", "KILL", "TYPE", "replica"]);
  const question = await portal.ask(somebody.user);
  const following = portal.follow(question.id);
  await following.until("pending", ({ state }) => state === ChallengeState.PENDING);
  await all[0].server.kill();
  for (const replica of replicas) replica.resume();
  await promoted(all[0]);
  await all[0].server.run();
  await assert.rejects(following.end(), { code: Code.Aborted });
  await loginSoon(portal, somebody);
});

test("a master paused: what it has is promoted elsewhere, and it is not believed when it is back", async (t) => {
  const all = await masters();
  const broker = await brokerOn(t);
  const portal = await Portal.create(broker);
  const people = [];
  for (const one of all) people.push(await personAt(portal, one));
  await pause(200);
  all[2].server.pause();
  await promoted(all[2]);
  for (const one of people) await loginSoon(portal, one);
  all[2].server.resume();
  for (const one of people) assert.ok(await tryLogin(portal, one));
  await masters();
  for (const one of people) assert.ok(await tryLogin(portal, one));
});

test("a broker started while a node is away, and it is the first that it is told of", async (t) => {
  const all = await masters();
  const dead = all[0];
  await dead.server.kill();
  await promoted(dead);
  const others = servers.filter((one) => one !== dead.server);
  const broker = await brokerOn(t, { redis_cluster: [dead.server.address, others[0].address] });
  const portal = await Portal.create(broker);
  assert.ok(await loginSoon(portal, await portal.connected()));
  await dead.server.run();
});

test("the inbox's slot moves: what is written to it is read, and it stays the same inbox", async (t) => {
  await masters();
  const broker = await brokerOn(t, { workers: 1 });
  const portal = await Portal.create(broker);
  const somebody = await portal.connected();
  const [, name] = /inbox-opened.*inbox=(\S+)/.exec(await broker.logged(/inbox-opened/));
  const all = await masters();
  const slot = await servers[0].do("CLUSTER", "KEYSLOT", `{${name}}`);
  const holds = ({ slots }) => slots.some((run) => { const [a, b = a] = run.split("-").map(Number); return a <= slot && slot <= b; });
  const from = all.find(holds);
  const to = all.find((one) => !holds(one));
  await moveSlot(slot, from, to);
  for (let i = 0; i < 3; i++) assert.ok(await tryLogin(portal, somebody));
  await eventually(10_000, "/readyz is well", async () => (await broker.stats("/readyz")).status === 200);
  await pause(6000); // the inbox has been renewed meanwhile
  assert.equal(broker.log().match(/inbox-opened/g).length, 1);
  assert.ok(await tryLogin(portal, somebody));
});

test("durability replicated: each write waits for a replica of the node that it goes to", async (t) => {
  const all = await masters();
  const broker = await brokerOn(t, { durability: "replicated" });
  const portal = await Portal.create(broker);
  const people = [];
  for (const one of all) people.push(await personAt(portal, one));
  for (const one of people) assert.ok(await tryLogin(portal, one));
  let moving = true;
  const running = (async () => {
    while (moving) for (const one of people) assert.ok(await tryLogin(portal, one), "a login is refused");
  })();
  await reshard(all[1], all[2], 1000);
  await reshard(all[2], all[1], 1000);
  moving = false;
  await running;
  const [{ server, id }] = await masters();
  const followers = (await server.do("CLUSTER", "REPLICAS", id)).map((line) => Number(line.split(/[ :@]/)[2]));
  const replicas = servers.filter(({ port }) => followers.includes(port));
  const another = await personAt(portal, all[0]);
  for (const replica of replicas) await replica.kill();
  await assert.rejects(portal.ask(people[0].user), { code: Code.Unavailable }); // though it may be there
  assert.ok(await tryLogin(portal, people[1]), "another node's writes are replicated");
  for (const replica of replicas) await replica.run();
  await loginSoon(portal, another);
});

test("the other options of a Redis exclude it, and a database of another number", (t) => {
  for (const [options, why] of [
    [{ redis: "127.0.0.1:1" }, /redis, redis_sentinels and redis_cluster exclude each other/],
    [{ redis_sentinels: ["127.0.0.1:1"] }, /redis, redis_sentinels and redis_cluster exclude each other/],
    [{ redis_database: 1 }, /redis_database: a Redis Cluster has number 0 only/],
  ]) {
    const broker = new Broker({ redis_cluster: ["127.0.0.1:2"], ...options });
    t.after(() => broker.stop());
    assert.match(runProgram("--config", broker.configFile).stderr, why);
  }
});
