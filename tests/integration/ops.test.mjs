// The stats port, and what it says while Redis is away.
import assert from "node:assert/strict";
import { mkdirSync, unlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";

import { Code } from "@connectrpc/connect";

import { ChallengeState, Mode } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { Broker, eventually, exchange } from "./harness.mjs";
import { login, Portal, refuses } from "./portal.mjs";

const broker = new Broker({ workers: 2, store_timeout_ms: 500 });
let portal;
before(async () => {
  await broker.start();
  portal = await Portal.create(broker);
});
after(() => broker.stop());

/** Sum of a family's samples whose labels match. */
const sum = (metrics, name, labels = /./) =>
  Object.entries(metrics)
    .filter(([sample]) => sample === name || (sample.startsWith(`${name}{`) && labels.test(sample)))
    .reduce((total, [, value]) => total + value, 0);

describe("the stats port", () => {
  test("/healthz and /readyz", async () => {
    assert.deepEqual(await broker.stats("/healthz").then(({ status, body }) => ({ status, body })), { status: 200, body: "ok\n" });
    assert.deepEqual(await broker.stats("/readyz").then(({ status, body }) => ({ status, body })), { status: 200, body: "ready\n" });
  });

  test("/metrics is Prometheus' text format, line by line", async () => {
    const { status, headers, body } = await broker.stats("/metrics");
    assert.equal(status, 200);
    assert.match(headers["content-type"], /^text\/plain; version=0\.0\.4/);
    assert.ok(body.endsWith("\n"));
    const types = new Map();
    const helps = new Set();
    const samples = new Set();
    let family;
    for (const line of body.slice(0, -1).split("\n")) {
      const [, comment, name, rest] = /^# (HELP|TYPE) ([a-z_:][a-z0-9_:]*) (.+)$/.exec(line) ?? [];
      if (comment === "HELP") {
        assert.ok(!helps.has(name), `one HELP for ${name}`);
        helps.add(name);
      } else if (comment === "TYPE") {
        assert.ok(!types.has(name), `one TYPE for ${name}`);
        assert.match(rest, /^(counter|gauge|histogram)$/);
        types.set(name, rest);
        family = name;
      } else {
        const sample = /^([a-z_:][a-z0-9_:]*)((?:\{(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+\})?) (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|\+Inf|NaN)$/.exec(line);
        assert.ok(sample, `a sample: ${line}`);
        const base = types.get(family) === "histogram" ? sample[1].replace(/_(bucket|sum|count)$/, "") : sample[1];
        assert.equal(base, family, "samples stand under their family");
        assert.ok(!samples.has(sample[1] + sample[2]), `one sample ${sample[1]}${sample[2]}`);
        samples.add(sample[1] + sample[2]);
        if (types.get(family) === "counter") assert.match(family, /_total$/);
      }
    }
    assert.deepEqual([...helps].sort(), [...types.keys()].sort());
    assert.ok([...samples].some((sample) => /^nanopush_build_info\{version="[^"]+"\}$/.test(sample)));
    assert.ok(![...samples].some((sample) => sample.includes("user-")), "names no user");
  });

  test("counters move with a login, by as much as there was", async () => {
    const before = await broker.metrics();
    await login(portal);
    const moved = await eventually(5000, "the counters", async () => {
      const now = await broker.metrics();
      const by = (name, labels) => sum(now, name, labels) - sum(before, name, labels);
      return by("nanopush_challenges_settled_total", /approved/) === 1 && { by };
    });
    assert.equal(moved.by("nanopush_challenges_created_total"), 1);
    assert.equal(moved.by("nanopush_challenges_settled_total"), 1, "no other outcome");
    assert.equal(moved.by("nanopush_enrolments_total", /done/), 1);
    assert.equal(moved.by("nanopush_hellos_total", /accepted/), 1);
    assert.equal(moved.by("nanopush_hellos_total", /denied/), 0);
  });

  test("gauges follow phones that come and go", async () => {
    const { phone } = await portal.enrol();
    const attached = async () => sum(await broker.metrics(), "nanopush_devices_attached");
    await eventually(5000, "nobody there", async () => (await attached()) === 0);
    const connection = await phone.connect();
    await eventually(5000, "one there", async () => (await attached()) === 1);
    connection.destroy();
    await eventually(5000, "gone", async () => (await attached()) === 0);
  });

  test("HEAD is GET without a body; everything else is refused", async () => {
    const head = await broker.stats("/metrics", { method: "HEAD" });
    assert.equal(head.status, 200);
    assert.equal(head.body, "");
    for (const method of ["POST", "PUT", "DELETE", "OPTIONS"])
      assert.equal((await broker.stats("/metrics", { method })).status, 405, method);
    assert.equal((await broker.stats("/nothing")).status, 404);
  });

  test("only a Host that cannot be rebound is served", async () => {
    for (const host of ["localhost", `localhost:${broker.ports.stats}`, "127.0.0.1", `[::1]:${broker.ports.stats}`])
      assert.equal((await broker.stats("/healthz", { headers: { Host: host } })).status, 200, host);
    for (const host of ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example"])
      assert.equal((await broker.stats("/healthz", { headers: { Host: host } })).status, 403, host);
  });
});

/** Somebody asked, with the push at the phone; then what happens to Redis, and the answer after it. */
async function throughTrouble(trouble) {
  const { user, phone, pins } = await portal.enrol();
  const connection = await phone.connect();
  const question = await portal.ask(user, { life: { seconds: 120n } });
  const push = await phone.nextPush(connection);
  await trouble(question, () =>
    connection.send("answer", { challengeId: push.challengeId, jws: phone.answer(push, "approve") }));

  await eventually(20_000, "ready again", async () => (await broker.stats("/readyz")).status === 200);
  const approved = await eventually(20_000, "the answer, repeated, counts", async () => {
    const live = connection.isClosed ? await phone.connect() : connection;
    live.send("answer", { challengeId: push.challengeId, jws: phone.answer(push, "approve") });
    const { challenge } = await portal.challenges.getChallenge({ id: question.id }).catch(() => ({}));
    return challenge?.answer && challenge;
  });
  await portal.verify(approved, question, pins);
  await login(portal);
}

describe("Redis goes away", () => {
  test("killed: it is started anew, calls meanwhile succeed or say unavailable, and nothing is lost", async () => {
    await throughTrouble(async (question) => {
      const redis = broker.redisPid();
      process.kill(redis, "SIGKILL");
      await eventually(20_000, "another Redis, and a call that succeeds", async () => {
        const { challenge } = await portal.challenges.getChallenge({ id: question.id }).catch((error) => {
          assert.equal(error.code, Code.Unavailable, error.message);
          return {};
        });
        return challenge && broker.redisPid() !== redis;
      });
    });
  });

  test("hung: calls say unavailable and /readyz why; then killed, it is back with what was stored", async () => {
    await throughTrouble(async (question, answer) => {
      const redis = broker.redisPid();
      process.kill(redis, "SIGSTOP");
      await refuses(portal.challenges.createChallenge({ user: "anybody", mode: Mode.TAP }), "unavailable");
      await refuses(portal.challenges.getChallenge({ id: question.id }), "unavailable");
      answer();
      const notReady = await eventually(10_000, "/readyz says so", async () => {
        const answered = await broker.stats("/readyz");
        return answered.status === 503 && answered;
      });
      assert.match(notReady.body, /redis/i);
      assert.equal((await broker.stats("/healthz")).status, 200);
      assert.equal((await broker.stats("/metrics")).status, 200);
      process.kill(redis, "SIGKILL");
    });
  });
});

describe("the audit cannot be written", () => {
  test("logins go on, /readyz stays 200 and says so with since when, until an entry is written again", async (t) => {
    const degraded = new Broker();
    t.after(() => degraded.stop());
    mkdirSync(degraded.dataDir, { mode: 0o700 });
    const inTheWay = path.join(degraded.dataDir, "audit");
    writeFileSync(inTheWay, "");
    await degraded.start();
    const its = await Portal.create(degraded);
    await login(its);
    const ready = () => degraded.stats("/readyz");
    const said = await eventually(5000, "both are named", async () => {
      const answer = await ready();
      return /^worker 1 cannot write its audit since \d{4}-\S+Z\nops cannot write its audit since \d{4}-\S+Z\n$/.test(answer.body) && answer;
    });
    assert.equal(said.status, 200);
    const { ready: works, faults, recent } = JSON.parse((await degraded.stats("/stats.json")).body);
    assert.equal(works, true);
    assert.ok(faults.every(({ degrades }) => degrades));
    assert.ok(recent.some(({ kind, severity }) => kind === "audit-failing" && severity === "error"));
    unlinkSync(inTheWay);
    await login(its);
    await eventually(5000, "ops alone has written nothing since", async () => /^ops cannot write its audit since \S+\n$/.test((await ready()).body));
    await Portal.create(degraded);
    await eventually(5000, "all is well", async () => (await ready()).body === "ready\n");
  });
});

const workerPids = () =>
  broker.stats("/stats.json").then(({ body }) => JSON.parse(body).workers.map(({ pid }) => pid));

describe("health proves delivery", () => {
  test("a worker that is stopped is named in time, the port answers meanwhile, and it comes back", async () => {
    const [, pid] = await workerPids();
    const stopped = Date.now();
    process.kill(pid, "SIGSTOP");
    try {
      const answer = await eventually(5000, "/readyz names it", async () => {
        const said = await broker.stats("/readyz");
        return said.status === 503 && said;
      });
      assert.match(answer.body, /^worker 2 stopped or saturated since \d{4}-\S+Z\n$/);
      const since = Date.parse(/since (\S+)/.exec(answer.body)[1]);
      assert.ok(since <= Date.now() && since > stopped - 3000, "since its last sign of life");
      const json = JSON.parse((await broker.stats("/stats.json")).body);
      assert.equal(json.ready, false);
      assert.equal(json.workers[1].fault, "stopped or saturated");
      assert.equal(json.workers[0].fault, null);
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await eventually(10_000, "ready again", async () => (await broker.stats("/readyz")).status === 200);
  });

  test("every worker stopped: the stats port answers all the same", async () => {
    const pids = await workerPids();
    for (const pid of pids) process.kill(pid, "SIGSTOP");
    try {
      for (const page of ["/metrics", "/stats.json", "/healthz"])
        assert.equal((await broker.stats(page)).status, 200, page);
      const said = await eventually(5000, "/readyz", async () => {
        const answer = await broker.stats("/readyz");
        return answer.body.split("\n").length === 3 && answer.body;
      });
      assert.match(said, /^worker 1 stopped[^\n]*\nworker 2 stopped/);
    } finally {
      for (const pid of pids) process.kill(pid, "SIGCONT");
    }
    await eventually(10_000, "ready again", async () => (await broker.stats("/readyz")).status === 200);
  });

  test("a killed worker's counters stay, and it is ready again once a probe came through", async () => {
    await login(portal);
    const before = await broker.metrics();
    const [pid] = await workerPids();
    process.kill(pid, "SIGKILL");
    await eventually(15_000, "another in its place, ready", async () =>
      (await workerPids())[0] !== pid && (await broker.stats("/readyz")).status === 200);
    const after = await broker.metrics();
    const counters = Object.keys(before).filter((name) => /_total|_count|_bucket/.test(name));
    assert.ok(counters.length > 100);
    for (const name of counters) assert.ok(after[name] >= before[name], `${name} does not go back`);
  });
});

describe("latency and outcomes", () => {
  test("a login is in each stage's histogram, and in its portal's outcomes", async () => {
    const before = await broker.metrics();
    const stage = (metrics, name) => metrics[`nanopush_login_seconds_count{stage="${name}"}`];
    const { user, phone, connection } = await portal.connected();
    const question = await portal.ask(user);
    const following = portal.follow(question.id);
    await following.until("asked", ({ state }) => state === ChallengeState.PENDING);
    const push = await phone.nextPush(connection);
    await phone.decide(connection, push, "approve");
    await following.end();
    const after = await eventually(5000, "counted", async () => {
      const now = await broker.metrics();
      return stage(now, "whole") > stage(before, "whole") && now;
    });
    for (const name of ["ask", "answer", "return", "whole"])
      assert.equal(stage(after, name) - stage(before, name), 1, name);
    const outcome = (metrics, event) =>
      sum(metrics, "nanopush_portal_challenges_total", new RegExp(`portal="${portal.id}",event="${event}"`));
    assert.equal(outcome(after, "approved") - outcome(before, "approved"), 1);
    assert.equal(outcome(after, "asked") - outcome(before, "asked"), 1);
    assert.equal(outcome(after, "denied"), outcome(before, "denied"));
    for (const until of ["handshake", "hello"])
      assert.ok(sum(after, "nanopush_connect_seconds_count", new RegExp(until)) > 0, until);
    assert.ok(after.nanopush_redis_seconds_count > before.nanopush_redis_seconds_count);
    assert.ok(after.nanopush_probe_seconds_count > 0);
  });
});

test("the ports of others are not served here", async () => {
  const answer = await exchange({ host: "127.0.0.1", port: broker.ports.stats, path: "/nanopush.v1.UserService/GetUser", method: "POST" });
  assert.notEqual(answer.status, 200);
});
