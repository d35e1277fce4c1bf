// The portal port under attack: each kind of it has its defined answer, is counted under its own label, and somebody
// else's calls go on meanwhile.
import assert from "node:assert/strict";
import http2 from "node:http2";
import tls from "node:tls";
import { after, before, describe, test } from "node:test";

import { Broker, eventually, within } from "./harness.mjs";
import { login, Portal } from "./portal.mjs";
import { sendInTls } from "./raw.mjs";
import {
  END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frame, PROTOCOL_ERROR, RawHttp2, REFUSED_STREAM, uint32,
} from "./raw_http2.mjs";

const BODY_MAX = 8192;
const HEADERS_MAX = 32;
const HEAD_MAX = 8192;
const DEPTH_MAX = 10;
const STREAMS_MAX = 50;
const broker = new Broker({
  request_max_bytes: BODY_MAX,
  headers_max_bytes: HEAD_MAX,
  headers_max: HEADERS_MAX,
  headers_timeout_ms: 1500,
  body_timeout_ms: 1500,
  write_timeout_ms: 1500,
  json_depth_max: DEPTH_MAX,
  streams_max: STREAMS_MAX,
  http2_control_frames_max: 200,
  http2_control_frames_per_s: 20,
  http2_resets_per_s: 20,
});
let portal;
let user;

before(async () => {
  await broker.start();
  portal = await Portal.create(broker);
  ({ user } = await portal.enrol());
});
after(async () => {
  await login(portal);
  await broker.stop();
});

const kindOf = async (kind) => (await broker.metrics())[`nanopush_bad_requests_total{kind="${kind}"}`];

/** Somebody else's calls, one after the other, for as long as the attack lasts. */
async function beside(attack) {
  let over = false;
  const calls = (async () => {
    let served = 0;
    do {
      const { user: known } = await within(10_000, "a bystander's call", portal.users.getUser({ user }));
      assert.equal(known.name, user);
      served += 1;
    } while (!over);
    return served;
  })();
  try {
    return await attack();
  } finally {
    over = true;
    assert.ok((await calls) > 0);
  }
}

/** A test of one kind: its counter grows, by as much as is said where that is certain. */
function attack(name, kind, act, { by } = {}) {
  test(`${name}: counted as ${kind}`, async () => {
    const earlier = await kindOf(kind);
    assert.notEqual(earlier, undefined, `there is a series ${kind}`);
    await beside(act);
    const later = await eventually(5000, `${kind} grows`, async () => {
      const now = await kindOf(kind);
      return now > earlier && now;
    });
    if (by !== undefined) assert.equal(later - earlier, by);
  });
}

const authorization = () => `Authorization: Bearer ${portal.credential}\r\n`;
const line = "POST /nanopush.v1.UserService/GetUser HTTP/1.1\r\n";
const json = "Content-Type: application/json\r\n";

/** What the broker says to raw HTTP/1.1: status, headers, parsed body. */
function parse(answer) {
  const [head, body] = answer.toString("latin1").split(/\r\n\r\n(.*)/s);
  const [statusLine, ...lines] = head.split("\r\n");
  const headers = Object.fromEntries(lines.map((each) => each.split(/: (.*)/s)).map(([key, value]) => [key.toLowerCase(), value]));
  return { status: Number(statusLine.split(" ")[1]), headers, error: body ? JSON.parse(body) : undefined };
}

async function refused(bytes, status, code) {
  const { status: got, headers, error } = parse(await sendInTls({ port: broker.ports.portal }, bytes));
  assert.equal(got, status, JSON.stringify(bytes.slice(0, 200)));
  assert.equal(headers["content-type"], "application/json");
  assert.equal(error.code, code);
  assert.ok(error.message);
  return { headers, error };
}

describe("HTTP/1.1: what two servers could read in two ways", () => {
  const host = "Host: a\r\n";
  const two = "Content-Length: 2\r\n\r\n{}";
  const chunked = `POST /grpc.health.v1.Health/Check HTTP/1.1\r\n${host}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`; // a call that anybody may make: else its body is not read
  const shapes = [
    ["line_end", 400, `${line}Host: a\n${two}`],
    ["line_end", 400, `${line}Host: a\r\nX: y\n\n{}`],
    ["line_end", 400, "POST / HTTP/1.1\nHost: a\n\n"],
    ["request_line", 400, `\r\n${line}${host}${two}`],
    ["request_line", 400, `POST  / HTTP/1.1\r\n${host}\r\n`],
    ["request_line", 400, `POST / HTTP/1.1 x\r\n${host}\r\n`],
    ["request_line", 400, "POST /\r\n\r\n"],
    ["http_version", 505, `POST / HTTP/1.0\r\n${host}\r\n`],
    ["http_version", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ["http_method", 501, `BREW / HTTP/1.1\r\n${host}\r\n`],
    ["target", 400, `POST http://a/ HTTP/1.1\r\n${host}\r\n`],
    ["target", 400, `OPTIONS * HTTP/1.1\r\n${host}\r\n`],
    ["target", 400, `CONNECT a:443 HTTP/1.1\r\n${host}\r\n`],
    ["target", 400, `POST /#f HTTP/1.1\r\n${host}\r\n`],
    ["header_folded", 400, `${line}${host}X: 1\r\n folded\r\n${two}`],
    ["header_folded", 400, `${line}${host}X: 1\r\n\tfolded\r\n${two}`],
    ["header_name", 400, `${line}Host : a\r\n${two}`],
    ["header_name", 400, `${line}${host}: x\r\n${two}`],
    ["header_name", 400, `${line}${host}X y: z\r\n${two}`],
    ["header_control", 400, `${line}${host}X: a\rb\r\n${two}`],
    ["header_control", 400, `${line}${host}X: a\0b\r\n${two}`],
    ["host", 400, `${line}${two}`],
    ["host", 400, `${line}${host}Host: b\r\n${two}`],
    ["host", 400, `${line}Host: a, b\r\n${two}`],
    ["host", 400, `${line}Host: user@a\r\n${two}`],
    ["content_length", 400, `${line}${host}Content-Length: 2\r\n${two}`],
    ["content_length", 400, `${line}${host}Content-Length: 3\r\n${two}`],
    ["content_length", 400, `${line}${host}Content-Length: +2\r\n\r\n{}`],
    ["content_length", 400, `${line}${host}Content-Length: 0x2\r\n\r\n{}`],
    ["content_length", 400, `${line}${host}Content-Length: 2, 2\r\n\r\n{}`],
    ["content_length", 400, `${line}${host}Content-Length: 99999999999999999999\r\n\r\n{}`],
    ["two_lengths", 400, `${line}${host}Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n`],
    ["two_lengths", 400, `${line}${host}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ["transfer_encoding", 400, `${line}${host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`],
    ["transfer_encoding", 400, `${line}${host}Transfer-Encoding: identity\r\n\r\n`],
    ["transfer_encoding", 400, `${line}${host}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ["transfer_encoding", 400, `${line}${host}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`],
    ["chunk", 400, `${chunked}2;x=y\r\n{}\r\n0\r\n\r\n`],
    ["chunk", 400, `${chunked}0x2\r\n{}\r\n0\r\n\r\n`],
    ["chunk", 400, `${chunked}2\n{}\r\n0\r\n\r\n`],
    ["chunk", 400, `${chunked}2\r\n{}}\r\n0\r\n\r\n`],
    ["chunk", 400, `${chunked}0\r\nX-Trailer: y\r\n\r\n`],
    ["expect", 417, `${line}${host}Expect: the-unexpected\r\n${two}`],
  ];
  const kinds = [...new Set(shapes.map(([kind]) => kind))];
  for (const kind of kinds) {
    const rows = shapes.filter(([each]) => each === kind);
    attack(`${rows.length} shapes`, kind, async () => {
      for (const [, status, bytes] of rows) {
        const { headers } = await refused(bytes, status, status > 500 ? "unimplemented" : "invalid_argument");
        assert.equal(headers.connection, "close", "what comes behind it is not believed");
      }
    }, { by: rows.length });
  }
});

describe("HTTP/1.1: too much, too slow", () => {
  const exhausted = "resource_exhausted";

  attack("a target without an end", "target_too_long", () =>
    refused(`POST /${"x".repeat(HEAD_MAX)}`, 414, exhausted), { by: 1 });
  attack("headers without an end", "headers_too_large", () =>
    refused(`${line}Host: a\r\nX: ${"x".repeat(HEAD_MAX)}`, 431, exhausted), { by: 1 });
  attack("many headers", "headers_too_many", () =>
    refused(`${line}Host: a\r\n${"X: y\r\n".repeat(HEADERS_MAX + 1)}`, 431, exhausted), { by: 1 });

  attack("headers that do not come", "slow_headers", () => refused(`${line}Host: a\r\nX`, 408, "deadline_exceeded"), { by: 1 });
  attack("headers byte by byte", "slow_headers", async () => {
    const socket = tls.connect({ host: "127.0.0.1", port: broker.ports.portal, servername: "localhost", ca: broker.ca });
    socket.on("error", () => {});
    let answer = "";
    socket.on("data", (part) => (answer += part));
    const bytes = `${line}Host: a\r\n${"X: y\r\n".repeat(HEADERS_MAX - 2)}`;
    let at = 0;
    const dripping = setInterval(() => at < bytes.length && socket.write(bytes[at++]), 50);
    await within(15_000, "the broker closes", new Promise((resolve) => socket.on("close", resolve).on("end", resolve)))
      .finally(() => clearInterval(dripping));
    socket.destroy();
    assert.match(answer, /^HTTP\/1\.1 408 /);
    assert.ok(at < bytes.length, "the deadline is of the whole head, not of a byte");
  }, { by: 1 });
  const start = () => `${line}Host: a\r\n${json}${authorization()}`;
  attack("a body that does not come", "slow_body", () =>
    refused(`${start()}Content-Length: 10\r\n\r\n{`, 408, "deadline_exceeded"), { by: 1 });

  attack("a body over the limit that is announced", "body_too_large", () =>
    refused(`${start()}Content-Length: ${BODY_MAX + 1}\r\n\r\n`, 429, exhausted), { by: 1 });
  attack("a body over the limit in chunks", "body_too_large", () =>
    refused(`${start()}Transfer-Encoding: chunked\r\n\r\n${(BODY_MAX + 1).toString(16)}\r\n`, 429, exhausted), { by: 1 });
  attack("a body over the limit that comes all the same: the answer is read first", "body_too_large", () =>
    refused(`${start()}Content-Length: 1000000\r\n\r\n${"x".repeat(1000000)}`, 429, exhausted), { by: 1 });

  test("who asks whether to send a body is told at once, one way or the other", async () => {
    const ask = (bytes) => beside(() => sendInTls({ port: broker.ports.portal }, `${start()}Expect: 100-continue\r\nConnection: close\r\n${bytes}`));
    assert.match((await ask(`Content-Length: ${BODY_MAX + 1}\r\n\r\n`)).toString(), /^HTTP\/1\.1 429 /);
    const socket = tls.connect({ host: "127.0.0.1", port: broker.ports.portal, servername: "localhost", ca: broker.ca });
    let answer = "";
    socket.on("data", (part) => (answer += part));
    const body = JSON.stringify({ user });
    socket.write(`${start()}Expect: 100-continue\r\nContent-Length: ${body.length}\r\n\r\n`);
    await eventually(5000, "100 Continue", () => answer === "HTTP/1.1 100 Continue\r\n\r\n");
    socket.write(body);
    await eventually(5000, "the answer", () => /\r\n\r\nHTTP\/1\.1 200 OK\r\n[\s\S]*\}$/.test(answer));
    socket.destroy();
  });

  attack("requests without an end behind one that is held", "pipelining", async () => {
    const other = (await portal.enrol()).user;
    const { id } = await portal.ask(other);
    const hold = JSON.stringify({ id, waitMs: 60_000, afterRevision: "1000" });
    const socket = tls.connect({ host: "127.0.0.1", port: broker.ports.portal, servername: "localhost", ca: broker.ca });
    let answer = "";
    socket.on("data", (part) => (answer += part));
    socket.on("error", () => {});
    const health = "GET /grpc.health.v1.Health/Check?encoding=json&message=%7B%7D HTTP/1.1\r\nHost: a\r\n\r\n";
    const count = 1000;
    socket.write(`POST /nanopush.v1.ChallengeService/GetChallenge HTTP/1.1\r\nHost: a\r\n${json}${authorization()}Content-Length: ${hold.length}\r\n\r\n${hold}`);
    socket.write(health.repeat(count));
    await eventually(10_000, "it is counted", async () => (await kindOf("pipelining")) > 0);
    assert.equal(answer, "", "nothing is answered out of turn");
    await portal.challenges.cancelChallenge({ id });
    await eventually(20_000, "all are answered, in turn", () => answer.split("HTTP/1.1 200 OK").length - 1 === count + 1);
    assert.match(answer.slice(0, 2000), /CHALLENGE_STATE_CANCELLED/);
    socket.destroy();
  }, { by: 1 });
});

describe("calls that are none, over both versions of HTTP", () => {
  const post = (method, body, headers = {}) => portal.post(method, body, { headers });
  const getUser = "UserService/GetUser";
  const challenge = "ChallengeService/CreateChallenge";
  const deep = `{"x":${"[".repeat(DEPTH_MAX)}${"]".repeat(DEPTH_MAX)},"user":"a"}`;
  const field = Buffer.of(0x3a, 2, 0x0a, 0); // of a context: one more of its fields, with an empty label
  const fields = Buffer.concat([Buffer.of(0x12, 0x90, 0x1c), Buffer.concat(Array(900).fill(field))]); // 3,600 bytes

  // kind, HTTP's status over Connect, code, method, body, headers, more
  const rows = [
    ["no_such_method", 404, "unimplemented", "UserService/Nothing", "{}"],
    ["no_such_method", 404, "unimplemented", "Nothing/GetUser", "{}"],
    ["verb", 405, "unimplemented", getUser, undefined, {}, { method: "DELETE" }],
    ["verb", 405, "unimplemented", getUser, undefined, {}, { method: "OPTIONS" }],
    ["verb", 405, "unimplemented", getUser, "{}", {}, { method: "PUT" }],
    ["verb", 405, "unimplemented", challenge, undefined, {}, { method: "GET" }],
    ["content_type", 415, "unknown", getUser, "{}", { "Content-Type": "text/html" }],
    ["content_type", 415, "unknown", getUser, "{}", { "Content-Type": "application/connect+json" }],
    ["content_type", 415, "unknown", "ChallengeService/WatchChallenge", "{}", { "Content-Type": "application/json" }],
    ["connect_version", 400, "invalid_argument", getUser, "{}", { "Connect-Protocol-Version": "2" }],
    ["timeout_header", 400, "invalid_argument", getUser, "{}", { "Connect-Timeout-Ms": "soon" }],
    ["compressed", 501, "unimplemented", getUser, "{}", { "Content-Encoding": "gzip" }],
    ["json", 400, "invalid_argument", getUser, "{"],
    ["json", 400, "invalid_argument", getUser, '{"user":1}'],
    ["json_too_large", 429, "resource_exhausted", getUser, deep],
    ["json_too_large", 429, "resource_exhausted", getUser, `{"x":[${",".repeat(5000)}]}`],
    ["protobuf", 400, "invalid_argument", challenge, Buffer.of(0x0a, 5, 1), { "Content-Type": "application/proto" }],
    ["protobuf", 400, "invalid_argument", challenge, Buffer.of(0x0a, 1, 0xff), { "Content-Type": "application/proto" }],
    ["protobuf_too_large", 429, "resource_exhausted", "UserService/GetUser", Buffer.concat(Array(2000).fill(Buffer.of(0x50, 1))), { "Content-Type": "application/proto" }],
    ["protobuf_too_large", 429, "resource_exhausted", challenge, fields, { "Content-Type": "application/proto" }],
  ];
  for (const [kind, status, code, method, body, headers, more] of rows) {
    attack(`HTTP/1.1 ${method} ${status} ${JSON.stringify(body ?? more ?? "").slice(0, 40)}`, kind, async () => {
      const answer = await portal.post(method, body, { headers, ...more });
      assert.equal(answer.status, status, answer.body);
      assert.equal(answer.headers["content-type"], "application/json");
      assert.equal(JSON.parse(answer.body).code, code);
      if (status === 405) assert.equal(answer.headers.allow, method === getUser ? "GET, POST" : "POST");
      if (status === 415) assert.match(answer.headers["accept-post"], /application\/grpc/);
    }, { by: 1 });
    attack(`HTTP/2   ${method} ${status} ${JSON.stringify(body ?? more ?? "").slice(0, 40)}`, kind, async () => {
      const session = http2.connect(`https://localhost:${broker.ports.portal}`, { ca: broker.ca });
      const stream = session.request({
        ":method": more?.method ?? "POST", ":path": `/nanopush.v1.${method}`, "content-type": "application/json",
        authorization: `Bearer ${portal.credential}`,
        ...Object.fromEntries(Object.entries(headers ?? {}).map(([name, value]) => [name.toLowerCase(), value])),
      }, { endStream: body === undefined });
      if (body !== undefined) stream.end(body);
      const answered = await within(10_000, "an answer", new Promise((resolve, reject) => stream.on("response", resolve).on("error", reject)));
      const parts = [];
      for await (const part of stream) parts.push(part);
      assert.equal(answered[":status"], status);
      assert.equal(JSON.parse(Buffer.concat(parts)).code, code);
      session.close();
    }, { by: 1 });
  }

  test("HEAD is answered without a body, and no answer is for a browser of another origin", async () => {
    const { status, headers, body } = await portal.post(getUser, undefined, { method: "HEAD" });
    assert.deepEqual([status, body], [405, ""]);
    const preflight = await portal.post(getUser, undefined, {
      method: "OPTIONS",
      headers: { Origin: "https://elsewhere.example", "Access-Control-Request-Method": "POST" },
    });
    const posted = await post(getUser, { user }, { Origin: "https://elsewhere.example" });
    assert.equal(posted.status, 200);
    for (const each of [headers, preflight.headers, posted.headers])
      assert.deepEqual(Object.keys(each).filter((name) => name.startsWith("access-control")), []);
  });

  // kind, grpc-status, method, what stands in for the one message, headers
  const message = (payload, flags = 0) => Buffer.concat([Buffer.of(flags), uint32(payload.length), payload]);
  const grpcRows = [
    ["no_such_method", "12", "/nanopush.v1.UserService/Nothing", message(Buffer.alloc(0))],
    ["timeout_header", "3", "/nanopush.v1.UserService/GetUser", message(Buffer.alloc(0)), { "grpc-timeout": "soon" }],
    ["compressed", "12", "/nanopush.v1.UserService/GetUser", message(Buffer.alloc(0), 1)],
    ["compressed", "12", "/nanopush.v1.UserService/GetUser", message(Buffer.alloc(0)), { "grpc-encoding": "gzip" }],
    ["message_count", "12", "/nanopush.v1.UserService/GetUser", Buffer.alloc(0)],
    ["message_count", "12", "/nanopush.v1.UserService/GetUser", Buffer.concat([message(Buffer.alloc(0)), message(Buffer.alloc(0))])],
    ["envelope", "3", "/nanopush.v1.UserService/GetUser", Buffer.of(0, 0, 0, 0, 9, 1)],
    ["envelope", "3", "/nanopush.v1.UserService/GetUser", message(Buffer.alloc(0), 4)],
    ["protobuf", "3", "/nanopush.v1.UserService/GetUser", message(Buffer.of(0x0a, 9))],
    ["protobuf_too_large", "8", "/nanopush.v1.UserService/GetUser", message(Buffer.concat(Array(2000).fill(Buffer.of(0x50, 1))))],
    ["body_too_large", "8", "/nanopush.v1.UserService/GetUser", message(Buffer.alloc(BODY_MAX))],
    ["slow_body", "4", "/nanopush.v1.UserService/GetUser", undefined],
    ["headers_too_large", "8", "/nanopush.v1.UserService/GetUser", Buffer.alloc(0), { x: "y".repeat(HEAD_MAX) }],
    ["headers_too_many", "8", "/nanopush.v1.UserService/GetUser", Buffer.alloc(0), Object.fromEntries(Array.from({ length: HEADERS_MAX }, (_, at) => [`x${at}`, "y"]))],
    ["target_too_long", "8", `/${"x".repeat(HEAD_MAX / 2)}`, Buffer.alloc(0)],
    ["target", "3", "/nanopush.v1.UserService/GetUser#f", Buffer.alloc(0)],
    ["host", "3", "/nanopush.v1.UserService/GetUser", Buffer.alloc(0), { host: "elsewhere" }],
    ["expect", "3", "/nanopush.v1.UserService/GetUser", Buffer.alloc(0), { expect: "the-unexpected" }],
  ];
  for (const [kind, status, path, body, headers] of grpcRows)
    attack(`gRPC ${path.slice(0, 40)} ${body?.length ?? "unfinished"} ${JSON.stringify(headers ?? {}).slice(0, 40)}`, kind, async () => {
      const session = http2.connect(`https://localhost:${broker.ports.portal}`, { ca: broker.ca });
      const stream = session.request({
        ":method": "POST", ":path": path, ":authority": "localhost", ...headers,
        "content-type": "application/grpc", te: "trailers", authorization: `Bearer ${portal.credential}`,
      });
      if (body !== undefined) stream.end(body);
      const answered = await within(10_000, "an answer", new Promise((resolve, reject) => stream.on("response", resolve).on("error", reject)));
      stream.resume();
      assert.deepEqual([answered[":status"], answered["content-type"]], [200, "application/grpc"]);
      assert.equal(answered["grpc-status"], status, answered["grpc-message"]);
      assert.ok(answered["grpc-message"]);
      session.destroy();
    }, { by: 1 });
  attack("gRPC over HTTP/1.1", "grpc_version", async () => {
    const { status, body } = await post(getUser, "", { "Content-Type": "application/grpc" });
    assert.equal(status, 505);
    assert.match(JSON.parse(body).message, /HTTP\/2/);
  }, { by: 1 });
});

describe("HTTP/2: floods and starvation", () => {
  const open = (options) => RawHttp2.open(broker, options);
  const calmed = async (connection) => {
    assert.equal(await connection.endedWith(), ENHANCE_YOUR_CALM);
    await connection.untilClosed();
  };

  attack("headers that go on for ever", "http2_continuation_flood", async () => {
    const connection = await open();
    connection.say(Frame.HEADERS, END_STREAM, 1, Buffer.of(0));
    connection.flood(100, Frame.CONTINUATION, 0, 1);
    await calmed(connection);
  }, { by: 1 });
  attack("rapid reset", "http2_rapid_reset", async () => {
    const connection = await open();
    for (let id = 1; id < 2000 && !connection.closed; id += 2) {
      connection.request(id, { path: "/grpc.health.v1.Health/Watch", headers: [["content-type", "application/grpc"]], flags: END_HEADERS });
      connection.say(Frame.RST_STREAM, 0, id, uint32(8));
    }
    await calmed(connection);
  }, { by: 1 });
  /** Streams that the broker resets, some at a time, until it has enough of it. */
  const provoke = async (ask) => {
    const connection = await open();
    for (let id = 1; id < 2000 && !connection.find(Frame.GOAWAY, 0); id += 2) {
      ask(connection, id);
      if (id % 40 !== 39) continue;
      await eventually(10_000, "a reset", () => connection.find(Frame.RST_STREAM, id) ?? connection.find(Frame.GOAWAY, 0));
    }
    await calmed(connection);
  };
  attack("streams that the broker is made to reset", "http2_rapid_reset", () => provoke((connection, id) => {
    connection.request(id, { flags: END_HEADERS });
    connection.say(Frame.WINDOW_UPDATE, 0, id, uint32(0x7fffffff));
  }), { by: 1 });
  for (const [name, kind, ...frame] of [
    ["pings", "http2_ping_flood", Frame.PING, 0, 0, Buffer.alloc(8)],
    ["answers to pings that nobody sent", "http2_ping_flood", Frame.PING, 1, 0, Buffer.alloc(8)],
    ["settings", "http2_settings_flood", Frame.SETTINGS, 0, 0, Buffer.of(0, 4, 0, 0, 0xff, 0xff)],
    ["empty settings", "http2_settings_flood", Frame.SETTINGS, 0, 0],
    ["empty data", "http2_empty_data_flood", Frame.DATA, 0, 1],
    ["window updates of one byte", "http2_window_update_flood", Frame.WINDOW_UPDATE, 0, 1, uint32(1)],
    ["priorities", "http2_frame_flood", Frame.PRIORITY, 0, 3, Buffer.alloc(5)],
  ])
    attack(name, kind, async () => {
      const connection = await open();
      connection.request(1, { flags: END_HEADERS });
      connection.flood(1000, ...frame);
      await calmed(connection);
    }, { by: 1 });

  attack("empty header blocks", "http2_malformed", () =>
    provoke((connection, id) => connection.say(Frame.HEADERS, END_STREAM | END_HEADERS, id)));
  attack("a header that HTTP/2 does not know", "http2_malformed", async () => {
    const connection = await open();
    connection.request(1, { headers: [["transfer-encoding", "chunked"]] });
    assert.equal(await connection.endedWith(1), PROTOCOL_ERROR);
    connection.hangUp();
  }, { by: 1 });
  attack("broken framing", "http2_connection_error", async () => {
    const connection = await open();
    connection.say(Frame.DATA, 0, 0, Buffer.of(1));
    assert.equal(await connection.endedWith(), PROTOCOL_ERROR);
    await connection.untilClosed();
  }, { by: 1 });
  for (const [name, kind, ack] of [
    ["before it can know the limit", "http2_streams_too_many", false],
    ["knowing the limit", "http2_connection_error", true],
  ])
    attack(`more streams than allowed, ${name}`, kind, async () => {
      const connection = await open({ ack });
      const last = 2 * STREAMS_MAX + 1;
      for (let id = 1; id <= last; id += 2) connection.request(id, { flags: END_HEADERS });
      assert.equal(await connection.endedWith(ack ? 0 : last), ack ? PROTOCOL_ERROR : REFUSED_STREAM);
      connection.hangUp();
    }, { by: 1 });
  attack("headers of a stream that do not end", "slow_headers", async () => {
    const connection = await open();
    connection.say(Frame.HEADERS, END_STREAM, 1, Buffer.of(0));
    await calmed(connection);
  }, { by: 1 });
  attack("an answer for which no window is granted", "unread", async () => {
    const connection = await open({ settings: Buffer.of(0, 4, 0, 0, 0, 0) });
    connection.request(1, { path: "/grpc.health.v1.Health/Check?encoding=json&message=%7B%7D", method: "GET" });
    assert.equal(await connection.endedWith(1), ENHANCE_YOUR_CALM);
    connection.hangUp();
  }, { by: 1 });
});
