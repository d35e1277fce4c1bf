// A Redis that is named: how the broker logs in to it, and what it says when it is not let in.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";

import { Code } from "@connectrpc/connect";

import { Broker, eventually, runProgram } from "./harness.mjs";
import { login, Portal } from "./portal.mjs";
import { makeAuthority, Redis } from "./redis.mjs";

const SECRET = "correct horse battery staple";
const SECRET_ARGUMENT = `"${SECRET}"`;

function brokerFor(t, options) {
  const broker = new Broker(options);
  t.after(() => broker.stop());
  return broker;
}

/** A broker whose password file says that. */
function brokerWithPassword(t, options, password = SECRET, mode = 0o600) {
  const broker = brokerFor(t);
  const file = path.join(broker.root, "password");
  writeFileSync(file, `${password}\n`, { mode });
  broker.configure({ ...options, redis_password_file: file });
  return broker;
}

/** It logs in, and a login works. */
async function works(broker) {
  await broker.start();
  await login(await Portal.create(broker));
  return broker;
}

/** It does not come up, and the log says why. */
async function isRefused(broker, why) {
  broker.start().catch(() => {}); // it never is ready: ended by its cleanup
  const line = await broker.logged(/redis-refused/);
  assert.match(line, why);
  assert.doesNotMatch(broker.log(), new RegExp(SECRET));
  assert.doesNotMatch(broker.log(), /redis-connected/);
}

/** The line of deploy/redis/users.acl, as README tells to use it. */
const users = (change = (line) => line) =>
  change(readFileSync(new URL("../../deploy/redis/users.acl", import.meta.url), "utf8")).replace(">CHANGE-ME", `>${SECRET.replaceAll(" ", "-")}`);

async function redisWithAcl(t, change) {
  const redis = await Redis.start(t);
  const rules = users(change).trim().split(" ").slice(2);
  await redis.do("ACL", "SETUSER", "nanopush", "reset", ...rules);
  await redis.do("ACL", "SETUSER", "default", "off");
  return redis;
}

const aclOptions = (redis) => ({ redis: redis.address, redis_user: "nanopush" });
const aclSecret = SECRET.replaceAll(" ", "-");

describe("a password", () => {
  test("of requirepass", async (t) => {
    const redis = await Redis.start(t, { requirepass: SECRET_ARGUMENT });
    const broker = await works(brokerWithPassword(t, { redis: redis.address }));
    for (const { pid } of broker.processes())
      assert.doesNotMatch(readFileSync(`/proc/${pid}/cmdline`, "utf8"), new RegExp(SECRET));
    assert.doesNotMatch(broker.log(), new RegExp(SECRET));
  });

  test("that is wrong", async (t) => {
    const redis = await Redis.start(t, { requirepass: SECRET_ARGUMENT });
    await isRefused(brokerWithPassword(t, { redis: redis.address }, "wrong"), /step=auth.*WRONGPASS/);
  });

  test("that is missing", async (t) => {
    const redis = await Redis.start(t, { requirepass: SECRET_ARGUMENT });
    await isRefused(brokerFor(t, { redis: redis.address }), /step=ping.*NOAUTH/);
  });

  test("whose file others may read, or is empty, or is not there", (t) => {
    const refusal = (broker) => {
      const { status, stderr } = runProgram("--config", broker.configFile);
      assert.equal(status, 1);
      return stderr;
    };
    const options = { redis: "127.0.0.1:1" };
    assert.match(refusal(brokerWithPassword(t, options, SECRET, 0o644)), /redis_password_file: .*readable by its owner only/);
    assert.match(refusal(brokerWithPassword(t, options, "")), /redis_password_file: .*no password/);
    assert.match(refusal(brokerFor(t, { ...options, redis_password_file: "/nonexistent" })), /redis_password_file: \/nonexistent: not found/);
    assert.match(refusal(brokerFor(t, { ...options, redis_user: "nanopush" })), /redis_password_file is needed/);
  });
});

describe("an ACL", () => {
  test("with what deploy/redis/users.acl allows, and nothing else", async (t) => {
    const redis = await redisWithAcl(t);
    const broker = await works(brokerWithPassword(t, aclOptions(redis), aclSecret));
    assert.deepEqual(broker.complaints().filter((line) => /area=store/.test(line)), []);
    await broker.stop();
  });

  for (const [missing, why] of [
    ["hset", /step=permissions.*does not allow, on keys np1:\*: HSET"$/m],
    ["xrange", /step=permissions.* XRANGE/],
    ["eval", /step=permissions.*NOPERM.*'eval'/],
    ["role", /step=role.*NOPERM.*'role'/],
  ])
    test(`without ${missing}: the log names it`, async (t) => {
      const redis = await redisWithAcl(t, (line) => line.replace(` +${missing} `, " "));
      await isRefused(brokerWithPassword(t, aclOptions(redis), aclSecret), why);
    });

  test("for other keys: the log says which are wanted", async (t) => {
    const redis = await redisWithAcl(t, (line) => line.replace("~np1:*", "~other:*"));
    await isRefused(brokerWithPassword(t, aclOptions(redis), aclSecret), /on keys np1:\*: .*EXISTS/);
  });

  test("each command of it is needed: what scripts run is in the table, and nothing else", () => {
    const read = (file) => readFileSync(new URL(`../../${file}`, import.meta.url), "utf8");
    const table = [...read("broker/store/redis_command.def").matchAll(/^REDIS_COMMAND\((\w+)\)/gm)].map(([, name]) => name.toLowerCase());
    const outside = ["auth", "select", "ping", "role", "eval", "evalsha", "del", "xadd", "xread"];
    const allowed = [...users().matchAll(/ \+([a-z|]+)/g)].map(([, name]) => name);
    assert.deepEqual([...allowed].sort(), [...new Set([...table, ...outside])].sort());
    const scripts = readFileSync(path.join(process.env.BUILD, "gen/store/scripts.c"), "utf8");
    const run = new Set([...scripts.matchAll(/redis\.p?call\('([A-Za-z]+)'/g)].map(([, name]) => name.toLowerCase()));
    assert.deepEqual([...run].sort(), [...table].sort());
  });
});

test("a database of another number", async (t) => {
  const redis = await Redis.start(t);
  await works(brokerFor(t, { redis: redis.address, redis_database: 7 }));
  assert.match(await redis.do("INFO", "keyspace"), /^db7:/m);
  assert.doesNotMatch(await redis.do("INFO", "keyspace"), /^db0:/m);
});

test("a name is looked up", async (t) => {
  const redis = await Redis.start(t);
  await works(brokerFor(t, { redis: `localhost:${redis.port}` }));
  const { stderr } = runProgram("--config", brokerFor(t, { redis: "nowhere.invalid:6379" }).configFile);
  assert.match(stderr, /nowhere\.invalid:6379: /);
});

test("a replica is left alone", async (t) => {
  const master = await Redis.start(t);
  const replica = await Redis.start(t, { replicaof: `127.0.0.1 ${master.port}` });
  await isRefused(brokerFor(t, { redis: replica.address }), /step=role.*slave, not a master/);
});

test("a master that becomes a replica is left, and found again when it is one no more", async (t) => {
  const [one, two] = [await Redis.start(t), await Redis.start(t)];
  const broker = await works(brokerFor(t, { redis: one.address }));
  const portal = await Portal.create(broker);
  await one.do("REPLICAOF", "127.0.0.1", two.port);
  await broker.logged(/redis-refused.*not a master/);
  await eventually(5000, "it refuses", () => portal.ask("nobody").then(() => false, ({ code }) => code === Code.Unavailable));
  await one.do("REPLICAOF", "NO", "ONE");
  await eventually(10_000, "it serves", () => Portal.create(broker).then(() => true, () => false));
});

describe("TLS to Redis", () => {
  const redisOver = (t, authority, { certificate, key }, settings = {}) => Redis.start(t, {
    "tls-port": 0, "tls-cert-file": certificate, "tls-key-file": key, "tls-ca-cert-file": authority.ca, "tls-auth-clients": "no", ...settings,
  });

  test("the certificate is checked up to the CA and for the name", async (t) => {
    const authority = makeAuthority(t);
    const redis = await redisOver(t, authority, authority.certificate("redis", "DNS:redis.internal,IP:127.0.0.1"));
    await works(brokerFor(t, { redis: redis.address, redis_tls_ca: authority.ca, redis_tls_name: "redis.internal" }));
    await works(brokerFor(t, { redis: redis.address, redis_tls_ca: authority.ca, redis_tls_name: "127.0.0.1" }));
    await isRefused(brokerFor(t, { redis: redis.address, redis_tls_ca: authority.ca, redis_tls_name: "other.internal" }), /step=tls.*hostname mismatch/);
    await isRefused(brokerFor(t, { redis: redis.address, redis_tls_ca: authority.ca, redis_tls_name: "127.0.0.2" }), /step=tls.*IP address mismatch/);
    const other = makeAuthority(t, "another CA");
    await isRefused(brokerFor(t, { redis: redis.address, redis_tls_ca: other.ca, redis_tls_name: "redis.internal" }),
      /step=tls.*(unable to get local issuer|self-signed certificate)/);
  });

  test("with a certificate of our own", async (t) => {
    const authority = makeAuthority(t);
    const redis = await redisOver(t, authority, authority.certificate("redis", "DNS:redis.internal"), { "tls-auth-clients": "yes", requirepass: SECRET_ARGUMENT });
    const tls = { redis: redis.address, redis_tls_ca: authority.ca, redis_tls_name: "redis.internal" };
    const { certificate, key } = authority.certificate("broker", "DNS:broker.internal");
    await works(brokerWithPassword(t, { ...tls, redis_tls_certificate: certificate, redis_tls_key: key }));
    await isRefused(brokerWithPassword(t, tls), /step=tls.*certificate required/);
  });

  test("to one that speaks none, and the other way round", async (t) => {
    const authority = makeAuthority(t);
    const plain = await Redis.start(t);
    const broker = brokerFor(t, { redis: plain.address, redis_tls_ca: authority.ca, redis_tls_name: "redis.internal", store_timeout_ms: 500 });
    broker.start().catch(() => {});
    await broker.logged(/redis-unreachable|redis-refused/);
    assert.doesNotMatch(broker.log(), /redis-connected/);
  });

  test("half of what it needs is refused at the start, with what is missing", (t) => {
    const refusal = (options) => runProgram("--config", brokerFor(t, { redis: "127.0.0.1:1", ...options }).configFile).stderr;
    assert.match(refusal({ redis_tls_name: "redis.internal" }), /redis_tls_ca is needed/);
    assert.match(refusal({ redis_tls_ca: "/nonexistent" }), /redis_tls_name is needed/);
    assert.match(refusal({ redis_tls_ca: "/nonexistent", redis_tls_name: "a" }), /CA file \/nonexistent/);
    const { ca } = makeAuthority(t);
    assert.match(refusal({ redis_tls_ca: ca, redis_tls_name: "a", redis_tls_certificate: "/nonexistent" }), /redis_tls_key is needed/);
  });
});
