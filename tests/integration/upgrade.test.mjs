// Another program takes a broker's place, on the same sockets and with the same Redis, while people sign in: nobody fails to,
// and nobody is refused a connection.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import path from "node:path";
import { after, before, describe, test } from "node:test";

import { ChallengeState } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { App, signInsWhile } from "./crowd.mjs";
import { Broker, eventually, NANOPUSHD, pause, runProgram, within } from "./harness.mjs";
import { login, Portal } from "./portal.mjs";

const PHONES = 24;
const RETURN_MS = 30_000;
const attached = async (broker) => (await broker.metrics()).nanopush_devices_attached;

describe("SIGUSR2", () => {
  const broker = new Broker({ workers: 2, drain_s: 2, drain_notice_s: 3 });
  let portal;
  let apps;
  before(async () => {
    await broker.start();
    portal = await Portal.create(broker);
    apps = await App.crowd(portal, broker, PHONES);
    await eventually(RETURN_MS, "everybody is attached", async () => (await attached(broker)) === PHONES);
  });
  after(async () => {
    for (const app of apps) app.end();
    await broker.stop();
  });

  /** Connects all the time, to each port: what could not be. */
  async function refusedWhile(until) {
    let over = false;
    const refused = [];
    const knocks = Object.values(broker.ports).map(async (port) => {
      for (; !over; await pause(5))
        await new Promise((resolve) => {
          const socket = net.connect(port, "127.0.0.1", () => resolve(socket.destroy()));
          socket.on("error", (error) => resolve(refused.push(error.code)));
        });
    });
    await until().finally(() => (over = true));
    await Promise.all(knocks);
    return refused;
  }

  test("a successor takes over: Redis stays, phones return to it, no sign-in fails, no connection is refused", async () => {
    const [redis, old] = [broker.redisPid(), broker.child.pid];
    let refused;
    const count = await signInsWhile(portal, apps, async () => {
      refused = await refusedWhile(() => broker.upgrade());
      await eventually(RETURN_MS, "everybody is at the new one", async () => (await attached(broker)) === PHONES);
    });
    assert.ok(count > PHONES);
    assert.deepEqual(refused, []);
    assert.notEqual(broker.child.pid, old);
    assert.equal(broker.redisPid(), redis);
    assert.equal((await broker.stats("/readyz")).status, 200);
    assert.ok(existsSync(broker.portsFile), "health checks find the new one");
    assert.ok(!/event=(drain-cut|children-killed|redis-started)/.test(broker.log().split("event=successor-started").at(-1)));
    assert.match(broker.log(), /event=drain notice_ms=0/, "nobody need notice");
    await broker.admin("AdminService/ListOrganisations", {});
  });

  test("a challenge that waits is answered at the successor", async () => {
    const { user, phone, pins } = await portal.enrol();
    const question = await portal.ask(user);
    await broker.upgrade();
    const connection = await phone.connect();
    const push = await phone.nextPush(connection);
    assert.equal((await phone.decide(connection, push, "approve")).state, ChallengeState.APPROVED);
    await portal.approved(question, pins);
  });

  test("a successor that cannot start changes nothing", async () => {
    const good = readFileSync(broker.configFile);
    const [{ pid }, before] = [broker.child, broker.log().length];
    writeFileSync(broker.configFile, "no_such_option = 1;\n");
    broker.signal("SIGUSR2");
    await eventually(10_000, "it has failed", () => /event=successor-failed/.test(broker.log().slice(before)));
    writeFileSync(broker.configFile, good);
    assert.equal(broker.child.pid, pid);
    await login(portal);
  });

  test("nor does one that does not get ready", async () => {
    const good = readFileSync(broker.configFile);
    const before = broker.log().length;
    writeFileSync(broker.configFile, `${good}redis = "127.0.0.1:1";\n`); // where nobody is
    broker.signal("SIGUSR2");
    await eventually(20_000, "it gives up", () => /event=successor-failed/.test(broker.log().slice(before)));
    writeFileSync(broker.configFile, good);
    assert.match(broker.log().slice(before), /event=succession-failed why=not-ready/);
    await eventually(5000, "it left nothing", () => !existsSync(path.join(broker.dataDir, "admin.sock.new")));
    await login(portal);
    await broker.admin("AdminService/ListOrganisations", {});
  });

  test("SIGUSR1 of somebody who is no successor changes nothing", async () => {
    broker.signal("SIGUSR1");
    await broker.logged(/event=no-successor/);
    await login(portal);
  });
});

describe("sockets of a service manager", () => {
  test("are taken by name; the broker binds none of its own", async (t) => {
    const broker = new Broker({ device_listen: "127.0.0.1:1", portal_listen: "127.0.0.1:1", stats_listen: "127.0.0.1:1" });
    const ports = await Promise.all([0, 0, 0].map(freePort));
    const activator = spawn("systemd-socket-activate", [
      ...ports.flatMap((port) => ["-l", `127.0.0.1:${port}`]), "--fdname=device:portal:stats",
      NANOPUSHD, "--config", broker.configFile,
    ], { stdio: ["ignore", "ignore", "pipe"], cwd: broker.root });
    let said = "";
    activator.stderr.on("data", (part) => (said += part));
    const ended = new Promise((resolve) => activator.on("exit", (code) => resolve(code)));
    t.after(async () => {
      for (const { pid } of broker.processes()) process.kill(pid, "SIGKILL"); // where the test failed
      await ended;
      rmSync(broker.root, { recursive: true, force: true });
    });
    await eventually(5000, "it listens", () => /Listening on 127.0.0.1:\d+ as 5/.test(said));
    const knock = net.connect(ports[2], "127.0.0.1"); // the first connection starts it, and is served
    const served = new Promise((resolve) => knock.once("data", (part) => resolve(part.toString())));
    knock.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert.match(await within(10_000, "an answer", served), /^HTTP\/1.1 200/);
    const file = path.join(broker.dataDir, "ports");
    await eventually(10_000, `it is ready:\n${said}`, () => existsSync(file));
    assert.deepEqual(readFileSync(file, "utf8").match(/\d+$/gm).map(Number), ports);
    process.kill(activator.pid, "SIGTERM");
    assert.equal(await within(10_000, "it ends", ended), 0);
  });

  test("what is no socket, or of no name that is ours, is refused", (t) => {
    const broker = new Broker();
    t.after(() => rmSync(broker.root, { recursive: true }));
    const run = (names, fd) => spawnSync("sh", ["-c", 'LISTEN_PID=$$ exec "$@"', "sh", NANOPUSHD, "--config", broker.configFile], {
      encoding: "utf8", stdio: ["ignore", "pipe", "pipe", fd], timeout: 10_000, env: { ...process.env, LISTEN_FDS: "1", LISTEN_FDNAMES: names },
    });
    assert.match(run("http", "ignore").stderr, /descriptor 3, "http": must be device, portal or stats/);
    const plain = run("device", "ignore");
    assert.match(plain.stderr, /descriptor 3, "device": is no listening stream socket/);
    assert.equal(plain.status, 1);
  });

  test("what is meant for another process is none of ours; a second broker on the directory is refused without them", async (t) => {
    const broker = new Broker();
    t.after(() => broker.stop());
    Object.assign(broker.environment, { LISTEN_PID: "1", LISTEN_FDS: "7", LISTEN_FDNAMES: "nonsense" });
    await broker.start();
    const { status, stderr } = runProgram("--config", broker.configFile);
    assert.equal(status, 1);
    assert.match(stderr, /another nanopushd runs on this data directory/);
  });
});

async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
