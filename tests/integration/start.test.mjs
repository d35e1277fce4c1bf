// Starting, refusing to start, stopping, and starting again on what is there.
import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, test } from "node:test";

import { ChallengeState } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { EnrolmentState } from "../../build/gen-js/nanopush/v1/enrolment_pb.js";
import { Broker, eventually, joinCluster, pause, runProgram, startRedis, within } from "./harness.mjs";
import { parseUri, Phone } from "./phone.mjs";
import { login, Portal } from "./portal.mjs";

const modeOf = (file) => (statSync(file).mode & 0o777).toString(8);

/** A broker for one test, stopped at its end. */
function brokerFor(t, options, directory) {
  const broker = new Broker(options, directory);
  t.after(() => broker.stop());
  return broker;
}

/** What the program says when it is run on this configuration and is to refuse. */
function refusal(...args) {
  const { status, stdout, stderr, error } = runProgram(...args);
  assert.equal(error, undefined, `it ended by itself: ${stderr}`);
  assert.ok(status > 0 && status < 126, `exit status ${status}`);
  return stdout + stderr;
}

async function listening(t) {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => new Promise((resolve) => server.close(resolve)));
  return server.address().port;
}

describe("the command line", () => {
  test("--version and --help", () => {
    const version = runProgram("--version");
    assert.equal(version.status, 0);
    assert.match(version.stdout, /^nanopushd \d+\.\d+\.\d+\S*\n$/);
    const help = runProgram("--help");
    assert.equal(help.status, 0);
    for (const word of ["--config", "--check", "--version", "--help", "device_listen", "workers"])
      assert.ok(help.stdout.includes(word), `help says ${word}`);
  });

  test("an argument that is unknown is refused, with a way on", () => {
    assert.match(refusal("--frobnicate"), /--frobnicate[\s\S]*--help/);
    assert.match(refusal("--config"), /--config/);
  });

  test("--check: silent consent, or file, line, key and what would be right", (t) => {
    const directory = mkdtempSync(path.join(tmpdir(), "nanopush check "));
    t.after(() => rmSync(directory, { recursive: true }));
    const file = path.join(directory, "a.conf");
    const check = (text) => {
      writeFileSync(file, text);
      return runProgram("--config", file, "--check");
    };
    assert.equal(check(`data_dir = "${directory}/state";\nworkers = 2;\n`).status, 0);
    assert.ok(!existsSync(path.join(directory, "state")), "checking makes nothing");

    for (const [text, expected] of [
      ["workers = 2;\n\nwrokers = 2;\n", /a\.conf:3.*wrokers.*workers/s],
      ["workers = 2;\nheartbeat_s = 5;\n", /a\.conf:2.*heartbeat_s.*10.*3600/s],
      ['workers = "two";\n', /a\.conf:1.*workers/s],
      ["workers = 2;\nworkers = 3;\n", /a\.conf:2.*workers|duplicate/s],
      ['device_listen = "everywhere";\n', /a\.conf:1.*device_listen/s],
      ['log_level = "loud";\n', /a\.conf:1.*log_level.*debug/s],
      ["workers = ;\n", /a\.conf:1/],
    ]) {
      const { status, stdout, stderr } = check(text);
      assert.notEqual(status, 0, text);
      assert.match(stdout + stderr, expected);
    }
    assert.match(refusal("--config", path.join(directory, "none.conf"), "--check"), /none\.conf/);
  });

  test("a configuration that --check refuses does not start either", (t) => {
    const directory = mkdtempSync(path.join(tmpdir(), "nanopush-"));
    t.after(() => rmSync(directory, { recursive: true }));
    const file = path.join(directory, "a.conf");
    writeFileSync(file, `data_dir = "${directory}/state";\nwrokers = 2;\n`);
    assert.match(refusal("--config", file), /a\.conf:2.*wrokers/s);
    assert.ok(!existsSync(path.join(directory, "state")));
  });
});

describe("the first start", () => {
  test("makes what it needs, for the owner only", async (t) => {
    const broker = await brokerFor(t).start();
    const files = readdirSync(broker.dataDir);
    assert.equal(modeOf(broker.dataDir), "700");
    for (const file of ["cluster.secret", "admin.sock", ...files.filter((name) => name.endsWith(".key"))])
      assert.equal(modeOf(path.join(broker.dataDir, file)), "600", file);
    assert.ok(files.filter((name) => name.endsWith(".key")).length >= 2, "keys of a CA and of the server");
    for (const name of files.filter((file) => /redis.*sock|sock.*redis/.test(file)))
      assert.match(modeOf(path.join(broker.dataDir, name)), /^[67]00$/, name);
    await login(await Portal.create(broker));
  });

  test("works in a directory with a space and a quote in its name", async (t) => {
    const broker = await brokerFor(t, {}, "nano push's ");
    await broker.start();
    await login(await Portal.create(broker));
  });

  test("works in a directory whose name is longer than a socket's path may be", async (t) => {
    const broker = await brokerFor(t, {}, `nanopush-${"deep-".repeat(25)}`).start();
    await login(await Portal.create(broker));
  });

  test("two brokers stand side by side", async (t) => {
    const [one, two] = [await brokerFor(t).start(), await brokerFor(t).start()];
    for (const broker of [one, two]) await login(await Portal.create(broker));
  });

  test("names of its own in the certificate and in the URI", async (t) => {
    const broker = await brokerFor(t, { server_names: ["push.example.com", "localhost", "127.0.0.1"] }).start();
    const portal = await Portal.create(broker);
    const { id, uri } = await portal.enrolments.createEnrolment({ user: "ada" });
    const said = parseUri(uri);
    assert.equal(said.host, "push.example.com");
    assert.equal(said.serverName, "push.example.com");
    assert.equal(said.port, broker.ports.device);
    await Phone.enrol({ ...said, host: "127.0.0.1" });
    assert.equal((await portal.enrolments.getEnrolment({ id })).enrolment.state, EnrolmentState.DONE);
  });

  test("the address that phones dial, where the operator names one", async (t) => {
    const broker = await brokerFor(t, { device_address: "phones.example.com:443" }).start();
    const portal = await Portal.create(broker);
    const { uri } = await portal.enrolments.createEnrolment({ user: "ada" });
    const { host, port, serverName } = parseUri(uri);
    assert.deepEqual({ host, port, serverName }, { host: "phones.example.com", port: 443, serverName: "localhost" });
  });
});

describe("refusing to start", () => {
  test("a second broker on the same directory: the first goes on", async (t) => {
    const broker = await brokerFor(t).start();
    assert.match(refusal("--config", broker.configFile), new RegExp(`${broker.dataDir}|in use|running`));
    await login(await Portal.create(broker));
  });

  test("a port that is taken is named", async (t) => {
    const taken = await listening(t);
    for (const key of ["device_listen", "portal_listen", "stats_listen"]) {
      const broker = new Broker({ [key]: `127.0.0.1:${taken}` });
      t.after(() => rmSync(broker.root, { recursive: true, force: true }));
      assert.match(refusal("--config", broker.configFile), new RegExp(`127\\.0\\.0\\.1:${taken}`));
      assert.deepEqual(broker.processes(), [], "no Redis is left behind");
    }
  });

  test("a secret that others can read", async (t) => {
    const broker = await brokerFor(t).start();
    await broker.stop({ keep: true });
    const secret = path.join(broker.dataDir, "cluster.secret");
    chmodSync(secret, 0o644);
    assert.match(refusal("--config", broker.configFile), /cluster\.secret/);
    assert.deepEqual(broker.processes(), []);
    chmodSync(secret, 0o600);
    await broker.start();
  });

  test("a Redis that cannot be started", (t) => {
    const broker = new Broker({ redis_server: "/nonexistent/redis-server" });
    t.after(() => rmSync(broker.root, { recursive: true, force: true }));
    assert.match(refusal("--config", broker.configFile), /\/nonexistent\/redis-server/);
  });
});

/** After a restart the ports are others. */
function moved(broker, portal, phone) {
  phone.endpoint.port = broker.ports.device;
  broker.onStop(() => phone.hangUp());
  return new Portal(broker, portal);
}

async function finish(broker, before, { user, phone, pins, question }) {
  const portal = moved(broker, before, phone);
  assert.equal((await portal.users.getUser({ user })).user.devices.length, 1);
  const connection = await phone.connect();
  const push = await phone.nextPush(connection);
  assert.equal(push.challengeId, question.id);
  assert.equal((await phone.decide(connection, push, "approve")).state, ChallengeState.APPROVED);
  const { challenge } = await portal.challenges.getChallenge({ id: question.id });
  await portal.verify(challenge, question, pins);
  await login(portal);
}

describe("starting again", () => {
  test("after an orderly stop: phones, credentials and what waits are still there", async (t) => {
    const broker = await brokerFor(t).start();
    const portal = await Portal.create(broker);
    const enrolled = await portal.enrol();
    const question = await portal.ask(enrolled.user, { life: { seconds: 120n } });
    const { pin } = broker;
    await broker.stop({ keep: true });
    await broker.start();
    assert.deepEqual(broker.pin, pin, "the CA stays");
    await finish(broker, portal, { ...enrolled, question });
  });

  test("after the master was killed: its workers end, and a new one takes the Redis that is left", async (t) => {
    const broker = await brokerFor(t, { workers: 2 }).start();
    const portal = await Portal.create(broker);
    const enrolled = await portal.enrol();
    const connection = await enrolled.phone.connect();
    const question = await portal.ask(enrolled.user, { life: { seconds: 120n } });
    const redis = broker.redisPid();
    const children = broker.processes().filter(({ pid }) => pid !== redis);
    assert.ok(children.length >= 4, "master, ops and two workers");
    broker.signal("SIGKILL");
    await broker.exited;
    await connection.untilClosed();
    await eventually(10_000, "workers and ops end by themselves", () => broker.processes().every(({ pid }) => pid === redis));
    await broker.start();
    await finish(broker, portal, { ...enrolled, question });
  });

  test("after everything was killed at once, as by a power cut a second later", async (t) => {
    const broker = await brokerFor(t).start();
    const portal = await Portal.create(broker);
    const enrolled = await portal.enrol();
    const question = await portal.ask(enrolled.user, { life: { seconds: 120n } });
    await pause(1200); // What Redis promises: its append-only file is synchronised every second.
    for (const { pid } of broker.processes()) process.kill(pid, "SIGKILL");
    await broker.exited;
    await broker.start();
    await finish(broker, portal, { ...enrolled, question });
  });

  test("SIGINT ends it as SIGTERM does", async (t) => {
    const broker = await brokerFor(t).start();
    broker.signal("SIGINT");
    assert.equal(await within(10_000, "the broker ends", broker.exited), 0);
  });
});

describe("a Redis that is named", () => {
  test("is used, and none is started", async (t) => {
    const socket = await startRedis(t);
    const broker = await brokerFor(t, { redis: `unix:${socket}` }).start();
    await login(await Portal.create(broker));
    assert.deepEqual(broker.processes().filter(({ command }) => command.includes("redis-server")), []);
  });

  test("two brokers on it are one: asked at either, answered at the other", async (t) => {
    const redis = `unix:${await startRedis(t)}`;
    const one = await brokerFor(t, { redis }).start();
    const two = brokerFor(t, { redis });
    joinCluster(two, one);
    await two.start();
    const here = await Portal.create(one);
    const there = new Portal(two, here);
    for (const [asks, holds] of [[here, two], [there, one]]) {
      const { user, phone, pins } = await here.enrol();
      phone.endpoint.port = holds.ports.device;
      const connection = await phone.connect();
      const question = await asks.ask(user);
      const following = asks.follow(question.id);
      await following.until("pending", ({ state }) => state === ChallengeState.PENDING);
      await phone.decide(connection, await phone.nextPush(connection), "approve");
      await asks.verify((await following.end()).at(-1), question, pins);
    }
  });
});
