// SIGHUP: certificates, limits and the log's levels are read again, as a whole or not at all, and nobody is cut off.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";

import { Broker, eventually, NANOPUSHD, within } from "./harness.mjs";
import { login, Portal } from "./portal.mjs";

const NANOPUSH = path.join(path.dirname(NANOPUSHD), "nanopush");
const broker = new Broker({ workers: 2 });
let portal;
before(async () => {
  await broker.start();
  portal = await Portal.create(broker);
});
after(() => broker.stop());

const inData = (name) => path.join(broker.dataDir, name);
const lines = (pattern) => broker.log().split("\n").filter((line) => pattern.test(line));

/** Send SIGHUP, and wait until so many more lines of that event stand in the log. */
async function reload(event, count) {
  const pattern = new RegExp(`event=${event}\\b`);
  const had = lines(pattern).length;
  broker.signal("SIGHUP");
  return eventually(10_000, `${count} of ${event}`, () => {
    const now = lines(pattern);
    return now.length >= had + count && now.slice(had);
  });
}
const RELOADED = ["reloaded", 3]; // by the master and two workers

/** Serial number of the certificate that a port shows. */
function serial(port) {
  return within(5000, "a handshake", new Promise((resolve, reject) => {
    const socket = tls.connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ALPNProtocols: ["nanopush/1", "h2"] });
    socket.on("error", reject);
    socket.on("secureConnect", () => {
      resolve(socket.getPeerX509Certificate().serialNumber);
      socket.destroy();
    });
  }));
}

/** Another certificate for the broker's key, from the CA that phones pin. */
function issue(number) {
  const openssl = (...args) => execFileSync("openssl", args, { stdio: ["ignore", "pipe", "ignore"] });
  writeFileSync(path.join(broker.root, "names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
  const request = path.join(broker.root, "request.pem");
  writeFileSync(request, openssl("req", "-new", "-key", inData("server.key"), "-subj", "/CN=localhost"));
  return openssl("x509", "-req", "-in", request, "-CA", inData("device-ca.pem"), "-CAkey", inData("device-ca.key"),
    "-set_serial", String(number), "-days", "10", "-extfile", path.join(broker.root, "names")).toString();
}

describe("certificates", () => {
  test("new ones are shown from now on; phones and portals that are connected stay and log in", async () => {
    const { user, phone, connection } = await portal.connected();
    const alone = await portal.alone(user);
    writeFileSync(inData("server.pem"), issue(4711) + broker.ca);
    await reload(...RELOADED);
    const shown = new X509Certificate(readFileSync(inData("server.pem"))).serialNumber;
    assert.equal(BigInt(`0x${shown}`), 4711n);
    for (const port of [broker.ports.device, broker.ports.portal])
      for (let i = 0; i < 8; i++) assert.equal(await serial(port), shown, "from every worker");
    const question = await alone.ask(user);
    const push = await phone.nextPush(connection);
    await phone.decide(connection, push, "approve");
    assert.ok(question.id && !connection.isClosed, "over the connections of before");
    await login(portal);
    connection.destroy();
  });

  test("a broken file leaves the old ones, and the log says so", async () => {
    const good = readFileSync(inData("server.pem"));
    const before = await serial(broker.ports.portal);
    writeFileSync(inData("server.pem"), "nothing\n");
    const [line] = await reload("reload-refused", 1);
    assert.match(line, /process=master .*server\.pem/);
    writeFileSync(inData("server.pem"), good);
    assert.equal(await serial(broker.ports.portal), before);
    assert.equal(await serial(broker.ports.device), before);
    await login(portal);
  });

  test("another CA than phones pin is refused", async () => {
    const good = readFileSync(inData("device-ca.pem"));
    execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=other",
      "-keyout", path.join(broker.root, "other.key"), "-out", inData("device-ca.pem")], { stdio: "ignore" });
    const [line] = await reload("reload-refused", 1);
    assert.match(line, /another CA/);
    writeFileSync(inData("device-ca.pem"), good);
  });
});

describe("options", () => {
  test("a limit counts from now on, also on open connections", async () => {
    const { user } = await portal.enrol();
    const long = { context: { message: "x".repeat(3000) } };
    const refusedBy = (promise) => promise.then(() => "nobody", (error) => error.message);
    assert.doesNotMatch(await refusedBy(portal.ask(user, long)), /too large|bytes at most/);
    broker.configure({ ...broker.options, request_max_bytes: 1024 });
    await reload(...RELOADED);
    assert.match(await refusedBy(portal.ask(user, long)), /large|resource/i);
    broker.configure({ ...broker.options, request_max_bytes: 65536 });
    await reload(...RELOADED);
    assert.doesNotMatch(await refusedBy(portal.ask(user, long)), /too large/);
  });

  test("one mistake, and nothing of the file counts", async () => {
    const good = readFileSync(broker.configFile);
    appendFileSync(broker.configFile, 'hello_timeout = 1;\n');
    const [line] = await reload("reload-refused", 1);
    assert.match(line, /unknown option hello_timeout; did you mean hello_timeout_ms/);
    writeFileSync(broker.configFile, good);
    await login(portal);
  });

  test("what wants a restart is named, and the rest is done", async () => {
    broker.configure({ ...broker.options, workers: 5, heartbeat_s: 100, connections_max: 77 });
    const [line] = await reload("reload-needs-restart", 1);
    assert.match(line, /options="?workers,connections_max"?/);
    const { connection, welcome } = await portal.connected();
    await eventually(5000, "the new heartbeat", () => (welcome ?? connection.welcome)?.heartbeatMs <= 100_000);
    connection.destroy();
  });
});

test("nanopush log: levels by area, in every process at once", async () => {
  const nanopush = (...args) => execFileSync(NANOPUSH, [...args, "--data", broker.dataDir], { encoding: "utf8", stdio: "pipe" });
  const states = () => lines(/area=device event=session-state/).length;
  nanopush("log", "warn", "device");
  const had = states();
  for (let i = 0; i < 8; i++) (await portal.connected()).connection.destroy();
  assert.equal(states(), had, "nothing of phones is logged, by either worker");
  nanopush("log", "debug");
  await eventually(10_000, "and now it is", async () => {
    (await portal.connected()).connection.destroy();
    return states() > had;
  });
  assert.throws(() => nanopush("log", "loud"), /error, warn, info or debug/);
  assert.throws(() => nanopush("log", "info", "nowhere"), /area/);
});
