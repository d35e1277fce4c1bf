// A master with two replicas, watched by three Sentinels: logins go on when the master is killed, or paused and back.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import net from "node:net";
import path from "node:path";
import { after, before, test } from "node:test";

import { Code } from "@connectrpc/connect";

import { ChallengeState } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { Broker, eventually, pause, runProgram } from "./harness.mjs";
import { login, Portal } from "./portal.mjs";
import { freePorts, Redis } from "./redis.mjs";

const NAME = "phones";

const SECRET = "secret";
const SENTINELS_SECRET = "another";

let servers, sentinels;
const cleanups = [];
const suite = { after: (cleanup) => cleanups.unshift(cleanup) };

const asServer = { first: [["AUTH", SECRET]] };
const asSentinel = { first: [["AUTH", SENTINELS_SECRET]] };
const field = (fields, name) => fields[fields.indexOf(name) + 1];

before(async () => {
  const settings = { requirepass: SECRET, masterauth: SECRET };
  const first = await Redis.start(suite, settings);
  servers = [first];
  for (let i = 0; i < 2; i++) servers.push(await Redis.start(suite, { ...settings, replicaof: `127.0.0.1 ${first.port}` }));
  await followed(first);
  sentinels = [];
  for (const port of await freePorts(3))
    sentinels.push(await Redis.start(suite, {
      requirepass: SENTINELS_SECRET,
      sentinel: [
        `monitor ${NAME} 127.0.0.1 ${first.port} 2`, `auth-pass ${NAME} ${SECRET}`, `down-after-milliseconds ${NAME} 1000`,
        `failover-timeout ${NAME} 5000`,
      ],
    }, { arguments_: ["--sentinel"], port }));
});

after(async () => {
  for (const cleanup of cleanups) await cleanup();
});

/** Once both others follow it. */
const followed = (master) => eventually(30_000, "the replicas follow", async () => {
  const role = await master.command(["ROLE"], asServer);
  return role[0] === "master" && role[2].length === 2 && role[2].every(([, , offset]) => Number(offset) > 0);
});

/** The present master, once the whole group is as it should be. */
async function whole() {
  const master = await eventually(30_000, "the Sentinels know one another and both replicas", async () => {
    const said = await Promise.all(sentinels.map((one) => one.command(["SENTINEL", "MASTER", NAME], asSentinel)));
    const good = said.every((fields) => field(fields, "num-other-sentinels") === "2" && field(fields, "num-slaves") === "2"
      && field(fields, "flags") === "master" && field(fields, "port") === field(said[0], "port"));
    return good && servers.find(({ port }) => port === Number(field(said[0], "port")));
  });
  await followed(master);
  return master;
}

/** Once the Sentinels name another one than this. */
const elected = (old) => eventually(30_000, "a new master", async () => {
  const said = await Promise.all(sentinels.map((one) => one.command(["SENTINEL", "MASTER", NAME], asSentinel)));
  return said.every((fields) => Number(field(fields, "port")) !== old.port);
});

async function brokerOn(t, options = {}) {
  const broker = new Broker();
  t.after(() => broker.stop());
  const file = (name, text) => {
    writeFileSync(path.join(broker.root, name), `${text}\n`, { mode: 0o600 });
    return path.join(broker.root, name);
  };
  broker.configure({
    redis_sentinels: sentinels.map(({ address }) => address), redis_master: NAME,
    redis_password_file: file("one", SECRET), redis_sentinel_password_file: file("two", SENTINELS_SECRET), ...options,
  });
  return broker.start();
}

/** Somebody whose phone hangs. */
async function person(portal) {
  const one = await portal.enrol();
  return { ...one, connection: await one.phone.connect() };
}

/** A login; null where it was refused in order, because Redis is away or what a fail-over lost is in its way. */
async function tryLogin(portal, { user, phone, pins, connection }) {
  let question;
  try {
    question = await portal.ask(user);
  } catch ({ code }) {
    assert.ok([Code.Unavailable, Code.FailedPrecondition, Code.ResourceExhausted].includes(code), `refused in order, not with ${code}`);
    return null;
  }
  for (;;) {
    const push = await phone.nextPush(connection);
    if (push.challengeId !== question.id) continue;
    await phone.decide(connection, push, "approve");
    const { challenge } = await portal.challenges.getChallenge({ id: question.id });
    await portal.verify(challenge, question, pins);
    return challenge;
  }
}

test("a master killed while phones hang and a challenge waits: logins work again, and no phone had to come back", async (t) => {
  const master = await whole();
  const broker = await brokerOn(t, { workers: 2 });
  const portal = await Portal.create(broker);
  const people = [await person(portal), await person(portal), await person(portal)];
  const waits = await portal.enrol();
  const question = await portal.ask(waits.user);
  const following = portal.follow(question.id);
  await following.until("pending", ({ state }) => state === ChallengeState.PENDING);
  await pause(200); // replicated: what is not may be lost

  await master.kill();
  await elected(master);
  for (const one of people) await eventually(10_000, "a login", () => tryLogin(portal, one));
  await master.run(); // not before: it comes back empty, and as a master until it is told otherwise
  const connection = await waits.phone.connect();
  await waits.phone.decide(connection, await waits.phone.nextPush(connection), "approve");
  await portal.verify((await following.end()).at(-1), question, waits.pins);
});

/** Sentinels, as the broker sees them: what they say can be held back. */
async function curtain(t) {
  let closed = false;
  const sockets = new Set();
  const addresses = [];
  for (const { port } of sentinels) {
    const server = net.createServer((near) => {
      const far = net.connect(port, "127.0.0.1");
      for (const socket of [near, far]) {
        sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => [near, far].forEach((one) => one.destroy()));
        if (closed) socket.pause();
      }
      near.on("data", (part) => far.write(part));
      far.on("data", (part) => near.write(part));
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => server.close());
    addresses.push(`127.0.0.1:${server.address().port}`);
  }
  t.after(() => sockets.forEach((socket) => socket.destroy()));
  return {
    addresses,
    close() { closed = true; sockets.forEach((socket) => socket.pause()); },
    open() { closed = false; sockets.forEach((socket) => socket.resume()); },
  };
}

/** What is asked meanwhile goes through or is refused as unavailable; nobody is told that somebody does not exist. */
async function neverUnknown(portal, { user }, ms) {
  for (const end = Date.now() + ms; Date.now() < end; await pause(50))
    await portal.users.getUser({ user }).catch(({ code, message }) => assert.equal(code, Code.Unavailable, message));
}

test("a killed master back, empty, before the broker has heard of the new one: it is not believed", async (t) => {
  const master = await whole();
  const sight = await curtain(t);
  const broker = await brokerOn(t, { workers: 2, redis_sentinels: sight.addresses });
  const portal = await Portal.create(broker);
  const somebody = await person(portal);
  await pause(200);
  sight.close();
  await master.kill();
  await elected(master);
  await master.run();
  await neverUnknown(portal, somebody, 2000);
  sight.open();
  await eventually(10_000, "a login", () => tryLogin(portal, somebody));
});

test("a master back, empty, so soon that no Sentinel minds: it is refused for what it lacks", async (t) => {
  const master = await whole();
  const broker = await brokerOn(t, { workers: 2 });
  const portal = await Portal.create(broker);
  const somebody = await person(portal);
  await pause(200);
  const replicas = servers.filter((one) => one !== master);
  for (const replica of replicas) replica.pause(); // else they copy its emptiness
  await master.kill();
  await master.run();
  await broker.logged(/redis-refused.*step=lineage why="it came back without what was in it"/);
  await neverUnknown(portal, somebody, 1000);
  await master.kill();
  for (const replica of replicas) replica.resume();
  await elected(master);
  await eventually(10_000, "a login", () => tryLogin(portal, somebody));
  await master.run();
});

test("a challenge that it had not replicated: its waiter is told that it is lost", async (t) => {
  const master = await whole();
  const broker = await brokerOn(t);
  const portal = await Portal.create(broker);
  const somebody = await person(portal);
  await pause(200);
  // The replicas' links are cut, and stay so: what the master takes from now on goes with it.
  const replicas = servers.filter((one) => one !== master);
  for (const replica of replicas) replica.pause();
  await master.command(["CLIENT", "KILL", "TYPE", "replica"], asServer);
  const question = await portal.ask(somebody.user);
  const following = portal.follow(question.id);
  await following.until("pending", ({ state }) => state === ChallengeState.PENDING);
  const push = await somebody.phone.nextPush(somebody.connection);
  await master.kill();
  for (const replica of replicas) replica.resume();
  await elected(master);
  await master.run();
  await assert.rejects(following.end(), (error) => {
    assert.equal(error.code, Code.Aborted, error.message);
    assert.match(error.message, /lost by a fail-over.*publish it again/);
    return true;
  });
  assert.equal((await broker.metrics()).nanopush_watched_lost_total, 1);
  await assert.rejects(somebody.phone.decide(somebody.connection, push, "approve"), { code: "NOT_FOUND" });
  await eventually(10_000, "the next login", () => tryLogin(portal, somebody));
});

test("a master paused, and back as if nothing had happened: it is not written to", async (t) => {
  const master = await whole();
  const broker = await brokerOn(t, { workers: 2 });
  const portal = await Portal.create(broker);
  const somebody = await person(portal);
  await pause(200);
  master.pause();
  await elected(master);
  await eventually(10_000, "a login", () => tryLogin(portal, somebody));
  const before = broker.log().length;
  master.resume();
  await eventually(30_000, "the old master follows the new one", async () => (await master.command(["ROLE"], asServer))[0] === "slave");
  for (let i = 0; i < 3; i++) assert.ok(await tryLogin(portal, somebody));
  assert.doesNotMatch(broker.log().slice(before), /redis-master/);
});

test("Sentinels down, one and then all: logins go on with the master that is known", async (t) => {
  await whole();
  await sentinels[0].kill();
  const broker = await brokerOn(t);
  const portal = await Portal.create(broker);
  await login(portal);
  await sentinels[1].kill();
  await sentinels[2].kill();
  await login(portal);
});

test("Sentinels that do not know the name, or hear the wrong password: the log says so", async (t) => {
  for (const one of sentinels) await one.kill();
  await sentinels[0].run();
  for (const [options, why] of [
    [{ redis_master: "nobody" }, /sentinel-refused.*No such master with that name/],
    [{ redis_sentinel_password_file: "" }, /redis-refused.*step=ping.*NOAUTH/],
  ]) {
    const broker = new Broker();
    t.after(() => broker.stop());
    const password = path.join(broker.root, "password");
    writeFileSync(password, SENTINELS_SECRET, { mode: 0o600 });
    broker.configure({ redis_sentinels: [sentinels[0].address], redis_sentinel_password_file: password, redis_master: NAME, ...options });
    broker.start().catch(() => {});
    await broker.logged(why);
  }
});

test("a redis and Sentinels exclude each other", (t) => {
  const broker = new Broker({ redis: "127.0.0.1:1", redis_sentinels: ["127.0.0.1:2"] });
  t.after(() => broker.stop());
  assert.match(runProgram("--config", broker.configFile).stderr, /redis, redis_sentinels and redis_cluster exclude each other/);
});
