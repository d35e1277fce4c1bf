// Ten thousand calls that wait at one worker: what each costs in memory and, while nothing happens, in work; what is
// held when the callers are gone: nothing.
import assert from "node:assert/strict";
import http2 from "node:http2";
import https from "node:https";
import net from "node:net";
import { readFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";

import { Broker, eventually, pause, within } from "./harness.mjs";
import { login, Portal } from "./portal.mjs";

const FIRST = 2000;
const ALL = 10_000;
const STREAMS = 1000; // of one connection
const PLAIN = 200; // over HTTP/1.1, a connection each
const WATCH_MAX_BYTES = 2048;
const AT_ONCE = 100;
const READS = 3; // at the beginning, after 2 s, after 10 s
const OTHERS = 200; // commands and turns that have nothing to do with watches
const sanitized = process.env.NANOPUSH_SLOW === "1";

const broker = new Broker({ watches_max: ALL + PLAIN, log_level: "info" });
let portal;
let worker;
const ids = [];
const sessions = [];
const streams = [];

before(async () => {
  await broker.start();
  portal = await Portal.create(broker);
  const alone = await portal.alone((await portal.enrol()).user);
  worker = alone.holder();
  const session = connect();
  while (ids.length < ALL + PLAIN + 1)
    ids.push(...await Promise.all(Array.from({ length: AT_ONCE }, (_, at) => createEnrolment(session, `waiting-${ids.length + at}`))));
  session.close();
}, { timeout: 180_000 });
after(() => broker.stop());

function connect() {
  const session = http2.connect(`https://localhost:${broker.ports.portal}`, { ca: broker.ca });
  session.on("error", () => {});
  broker.onStop(() => session.destroy());
  return session;
}

const head = (method, type) => ({
  ":method": "POST", ":path": `/nanopush.v1.EnrolmentService/${method}`, "content-type": type, authorization: `Bearer ${portal.credential}`,
});

async function createEnrolment(session, user) {
  const stream = session.request(head("CreateEnrolment", "application/json"));
  stream.end(JSON.stringify({ user }));
  const parts = [];
  for await (const part of stream) parts.push(part);
  const { id, message } = JSON.parse(Buffer.concat(parts));
  assert.ok(id, message);
  return id;
}

const envelope = (text) => {
  const bytes = Buffer.alloc(5 + text.length);
  bytes.writeUInt32BE(text.length, 1);
  bytes.write(text, 5);
  return bytes;
};
const watchRequest = (id) => envelope(JSON.stringify({ id }));

/** A stream of snapshots, once the first is there. */
function watch(session, id) {
  const stream = session.request(head("WatchEnrolment", "application/connect+json"));
  stream.on("error", () => {});
  stream.end(watchRequest(id));
  return new Promise((resolve, reject) => {
    stream.once("data", (part) => (part[0] === 0 ? resolve(stream) : reject(new Error(part.subarray(5).toString()))));
    stream.once("close", () => reject(new Error("closed without a snapshot")));
  });
}

async function holdUntil(count) {
  while (streams.length < count) {
    sessions.push(connect());
    const session = sessions.at(-1);
    streams.push(...await within(60_000, "the streams are held", Promise.all(ids.slice(streams.length, streams.length + STREAMS).map((id) => watch(session, id)))));
  }
}

const held = async () => (await broker.metrics()).nanopush_watches_held;
const turns = async () => (await broker.metrics()).nanopush_loop_turns_total;

/** Memory that is the worker's alone, in bytes. */
function privateBytes() {
  const lines = readFileSync(`/proc/${worker}/smaps_rollup`, "utf8").matchAll(/^Private_(?:Clean|Dirty): +(\d+) kB$/gm);
  return [...lines].reduce((sum, [, kb]) => sum + 1024 * Number(kb), 0);
}

/** How many scripts Redis has run. */
async function scriptsRun() {
  const socket = net.connect(path.join(broker.dataDir, "redis", "redis.sock"));
  const answer = await within(5000, "Redis answers", new Promise((resolve, reject) => {
    let text = "";
    socket.on("error", reject);
    socket.on("data", (part) => {
      text += part;
      if (/cmdstat_evalsha:[^\n]*\n[\s\S]*\r\n$/.test(text)) resolve(text);
    });
    socket.write("INFO commandstats\r\n");
  })).finally(() => socket.destroy());
  return Number(/cmdstat_evalsha:calls=(\d+)/.exec(answer)[1]);
}

describe("calls that wait", () => {
  let scriptsBefore;
  let bytesAtFirst;

  test(`${ALL} at one worker over HTTP/2: at most ${WATCH_MAX_BYTES} bytes each`, { timeout: 180_000 }, async (t) => {
    scriptsBefore = await scriptsRun();
    await holdUntil(FIRST);
    bytesAtFirst = privateBytes();
    await holdUntil(ALL);
    assert.equal(await held(), ALL);
    const each = Math.round((privateBytes() - bytesAtFirst) / (ALL - FIRST));
    t.diagnostic(`${each} bytes for each held watch over HTTP/2`);
    if (!sanitized) assert.ok(each <= WATCH_MAX_BYTES, `${each} bytes`);
  });

  test("one that waits for nothing is read again twice, and then costs nothing", { timeout: 120_000 }, async (t) => {
    const expected = scriptsBefore + READS * ALL;
    await eventually(60_000, "all are read for the last time", async () => (await scriptsRun()) >= expected);
    const scripts = await scriptsRun();
    const turned = await turns();
    assert.ok(scripts <= expected + OTHERS, `${scripts - scriptsBefore} scripts for ${ALL} watches`);
    await pause(2000);
    const idle = { scripts: (await scriptsRun()) - scripts, turns: (await turns()) - turned };
    t.diagnostic(`in 2 s with ${ALL} watches: ${idle.scripts} scripts, ${idle.turns} wake-ups of all processes`);
    assert.ok(idle.scripts < OTHERS && idle.turns < OTHERS, JSON.stringify(idle));
  });

  test(`${PLAIN} more over HTTP/1.1, and then no more`, async (t) => {
    const agent = new https.Agent({ keepAlive: true, ca: broker.ca, maxSockets: PLAIN });
    broker.onStop(() => agent.destroy());
    const bytes = privateBytes();
    const requests = await within(60_000, "they are held", Promise.all(ids.slice(ALL, ALL + PLAIN).map((id) => new Promise((resolve, reject) => {
      const { ":method": method, ":path": target, ...headers } = head("WatchEnrolment", "application/connect+json");
      const request = https.request({ host: "127.0.0.1", servername: "localhost", port: broker.ports.portal, agent, method, path: target, headers });
      request.on("error", reject);
      request.on("response", (response) => response.once("data", () => resolve(request)).on("error", () => {}));
      request.end(watchRequest(id));
    }))));
    t.diagnostic(`${Math.round((privateBytes() - bytes) / PLAIN)} bytes for each over HTTP/1.1 and TLS`);
    assert.equal(await held(), ALL + PLAIN);

    const refused = watch(connect(), ids[ALL + PLAIN]);
    await assert.rejects(refused, /resource_exhausted/);
    assert.equal((await broker.metrics())['nanopush_bad_requests_total{kind="waits_too_many"}'], 1);
    for (const request of requests) request.on("error", () => {}).destroy();
    await eventually(10_000, "they are released", async () => (await held()) === ALL);
  });

  test("one whose caller goes away is released at once: by a thousand resets, then by hanging up", async () => {
    for (const stream of streams.splice(0, STREAMS)) stream.close(http2.constants.NGHTTP2_CANCEL);
    await eventually(10_000, "those are released", async () => (await held()) === ALL - STREAMS);
    for (const session of sessions) session.destroy();
    await eventually(10_000, "all are released", async () => (await held()) === 0);
    assert.equal((await portal.enrolments.getEnrolment({ id: ids[0] })).enrolment.id, ids[0], "what they waited for goes on");
    await login(portal);
  });
});

describe("bodies that do not end", () => {
  test("more bytes of requests than one connection may have: those beyond may be sent again, and others are served", async () => {
    const session = connect();
    const refused = [];
    const parts = Array.from({ length: 80 }, () => new Promise((resolve) => {
      const stream = session.request(head("CreateEnrolment", "application/json"));
      stream.on("error", () => {});
      stream.on("close", () => refused.push(stream.rstCode));
      stream.write(Buffer.alloc(60_000, 32), resolve);
    }));
    await eventually(20_000, "one is refused", () => refused.length > 0);
    assert.deepEqual([...new Set(refused)], [http2.constants.NGHTTP2_REFUSED_STREAM]);
    await login(portal);
    session.destroy();
    await Promise.race([Promise.all(parts), pause(0)]);
    assert.ok((await broker.metrics())['nanopush_bad_requests_total{kind="http2_requests_too_large"}'] > 0);
  });
});
