// Two brokers behind the real HAProxy, by the configuration of deploy/haproxy, while people sign in: one broker is drained,
// and comes back; the other one is killed. Whose address it is comes through; nobody fails to sign in.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { closeSync, openSync, rmSync } from "node:fs";
import net from "node:net";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { App, signInsWhile } from "./crowd.mjs";
import { Broker, eventually, exchange, joinCluster, startRedis, within } from "./harness.mjs";
import { Connection } from "./phone.mjs";
import { Portal } from "./portal.mjs";
import { tool } from "./tools.mjs";

const CONFIGURATION = fileURLToPath(new URL("../../deploy/haproxy/haproxy.cfg", import.meta.url));
const PHONES = 12;
const RETURN_MS = 30_000;
const cleanups = [];
const forSuite = { after: (cleanup) => cleanups.push(cleanup) };

async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The same file as in the field; the addresses are the environment's. */
async function startHaproxy(one, two) {
  const ports = { device: await freePort(), portal: await freePort() };
  const { program, env } = tool("haproxy");
  const log = openSync(path.join(path.dirname(one.logFile), "haproxy.log"), "w");
  const haproxy = spawn(program, ["-db", "-f", CONFIGURATION], {
    stdio: ["ignore", log, log],
    env: {
      ...env,
      NANOPUSH_DEVICE_BIND: `127.0.0.1:${ports.device}`,
      NANOPUSH_PORTAL_BIND: `127.0.0.1:${ports.portal}`,
      ...Object.fromEntries([one, two].flatMap((broker, at) => [
        [`NANOPUSH_${at + 1}_DEVICE`, `127.0.0.1:${broker.ports.device}`],
        [`NANOPUSH_${at + 1}_PORTAL`, `127.0.0.1:${broker.ports.portal}`],
        [`NANOPUSH_${at + 1}_STATS_PORT`, `${broker.ports.stats}`],
      ])),
    },
  });
  closeSync(log);
  const exited = new Promise((resolve) => haproxy.on("exit", resolve));
  cleanups.push(async () => {
    haproxy.kill("SIGTERM");
    await exited;
  });
  return ports;
}

const attached = async (broker) => (await broker.metrics()).nanopush_devices_attached;

describe("behind HAProxy", () => {
  let one;
  let two;
  let ports;
  let portal;
  let apps;
  let killed = false; // the second one

  before(async () => {
    const redis = `unix:${await startRedis(forSuite)}`;
    const options = { redis, device_proxy: "required", portal_proxy: "required", drain_notice_s: 4, drain_s: 2 };
    one = await new Broker(options).start();
    two = new Broker(options);
    joinCluster(two, one);
    await two.start();
    ports = await startHaproxy(one, two);
    // Everything that a portal or a phone does goes by HAProxy; only an administrator is on the machine.
    const outside = { ports, ca: one.ca, onStop: (cleanup) => one.onStop(cleanup), admin: (...call) => one.admin(...call) };
    portal = await Portal.create(outside);
    await eventually(10_000, "HAProxy listens, and has found a broker ready", () =>
      exchange({ tls: true, ca: one.ca, host: "127.0.0.1", servername: "localhost", port: ports.portal, path: "/" }).catch(() => false));
    apps = await App.crowd(portal, one, PHONES, ports.device);
    await eventually(RETURN_MS, "everybody is attached", async () => (await attached(one)) + (await attached(two)) === PHONES);
  });
  after(async () => {
    for (const app of apps ?? []) app.end();
    try {
      await one?.stop();
      if (!killed) await two?.stop();
    } finally {
      if (killed) rmSync(two.root, { recursive: true });
      for (const cleanup of cleanups.reverse()) await cleanup();
    }
  });

  test("both hold phones, and everybody signs in", async () => {
    assert.ok((await attached(one)) > 0 && (await attached(two)) > 0, "the balancer spreads them");
    assert.equal(await signInsWhile(portal, apps, () => {}), PHONES);
    for (const broker of [one, two]) assert.equal((await broker.metrics()).nanopush_proxy_refused_total, 0);
  });

  test("who comes past the balancer is refused, and what it says is logged", async () => {
    const [app] = apps;
    await assert.rejects(Connection.open({ ...app.phone.endpoint, port: one.ports.device }));
    await one.logged(/event=proxy-refused|proxy-refused .*peer=127\.0\.0\.1:\d+ why=MALFORMED/i);
    await assert.rejects(exchange({ tls: true, ca: one.ca, host: "127.0.0.1", servername: "localhost", port: one.ports.portal, path: "/" }));
    assert.equal((await one.metrics()).nanopush_proxy_refused_total, 2);
  });

  test("one is drained: its phones go to the other, and nobody fails to sign in", async () => {
    const count = await signInsWhile(portal, apps, async () => {
      one.signal("SIGTERM");
      await one.logged(/drain-progress/);
      assert.equal(await within(20_000, "it ends", one.exited), 0);
      await eventually(RETURN_MS, "everybody is at the other one", async () => (await attached(two)) === PHONES);
    });
    assert.ok(count > PHONES);
    assert.ok(!/drain-cut|children-killed/.test(one.log()), "it went in order");
  });

  test("it comes back, the other is killed: everybody comes back, and nobody fails to sign in", async () => {
    one.configure({ ...one.options, ...Object.fromEntries(Object.entries(one.ports).map(([port, number]) => [`${port}_listen`, `127.0.0.1:${number}`])) });
    await one.start();
    await eventually(RETURN_MS, "HAProxy sends it what is new", async () => {
      (await apps[0].phone.open()).close();
      return (await one.metrics())['nanopush_connections_accepted_total{port="device"}'] > 0;
    });
    await signInsWhile(portal, apps, async () => {
      killed = true;
      for (const { pid } of two.processes()) process.kill(pid, "SIGKILL");
      await two.exited;
      await eventually(RETURN_MS, "everybody is at the first one", async () => (await attached(one)) === PHONES);
    });
  });
});
