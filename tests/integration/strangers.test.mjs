// Who has not shown who they are gets little: an answer before the body, few streams, a short time, a few health watches.
import assert from "node:assert/strict";
import http2 from "node:http2";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";

import { Broker, eventually, exchange, pause, within } from "./harness.mjs";
import { login, Portal, refuses } from "./portal.mjs";

const IDLE_S = 2;
const WATCHES = 4; // of one connection
const broker = new Broker({ strangers_idle_timeout_s: IDLE_S });
const getUser = "/nanopush.v1.UserService/GetUser";
let portal;

before(async () => {
  await broker.start();
  portal = await Portal.create(broker);
});
after(() => broker.stop());

function raw() {
  const socket = tls.connect({ port: broker.ports.portal, host: "127.0.0.1", servername: "localhost", ca: broker.ca });
  broker.onStop(() => socket.destroy());
  let said = "";
  socket.setEncoding("latin1").on("data", (text) => (said += text)).on("error", () => {});
  const closed = new Promise((resolve) => socket.on("close", resolve));
  return { socket, closed, until: (pattern) => eventually(10_000, `${pattern} in ${JSON.stringify(said)}`, () => pattern.exec(said)) };
}

async function session(headers = {}) {
  const opened = http2.connect(`https://localhost:${broker.ports.portal}`, { ca: broker.ca });
  opened.on("error", () => {});
  broker.onStop(() => opened.destroy());
  await new Promise((resolve) => opened.once("remoteSettings", resolve));
  opened.begin = (path, more = {}) => {
    const stream = opened.request({ ":method": "POST", ":path": path, "content-type": "application/json", ...headers, ...more });
    stream.on("error", () => {});
    stream.answer = new Promise((resolve) => stream.on("response", resolve));
    return stream;
  };
  opened.gone = new Promise((resolve) => opened.on("close", resolve));
  return opened;
}

const head = (credential, more = "") =>
  `POST ${getUser} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAuthorization: Bearer ${credential}\r\nContent-Length: 60000\r\n${more}\r\n`;

describe("a body is read from who has a credential that counts, and from nobody else", () => {
  test("HTTP/1.1: refused before a byte of the body is there, and 100-continue is not said", async () => {
    for (const credential of [`${portal.id}.wrong`, "nobody.secret", "none"]) {
      const { socket, until, closed } = raw();
      socket.write(head(credential, "Expect: 100-continue\r\n"));
      await until(/^HTTP\/1\.1 401 [^]*"unauthenticated"/);
      await within(10_000, "the connection ends", closed);
    }
    const { socket, until } = raw();
    socket.write(head(portal.credential, "Expect: 100-continue\r\n"));
    await until(/^HTTP\/1\.1 100 /);
    socket.write(`{"user":"nobody"${" ".repeat(59_982)}  }`.slice(0, 60_000));
    await until(/HTTP\/1\.1 (404|400) /);
  });

  test("HTTP/2: refused while the request is not ended, and the next one of a portal is served", async () => {
    const opened = await session();
    const stream = opened.begin(getUser, { authorization: "Bearer nobody.secret" });
    assert.equal((await within(10_000, "an answer", stream.answer))[":status"], 401);
    const good = opened.begin(getUser, { authorization: `Bearer ${portal.credential}` });
    good.write('{"user":');
    await pause(50);
    good.end('"nobody"}');
    assert.equal((await within(10_000, "an answer", good.answer))[":status"], 404);
  });

  test("a missing scope is said before the body, too", async () => {
    const opened = await session();
    const stream = opened.begin("/nanopush.v1.UserService/UnlockUser", { authorization: `Bearer ${portal.credential}` });
    assert.equal((await within(10_000, "an answer", stream.answer))[":status"], 403);
  });

  test("grpc.health.v1 takes no large body", async () => {
    const post = (body) => exchange({
      tls: true, ca: broker.ca, host: "127.0.0.1", servername: "localhost", port: broker.ports.portal, method: "POST",
      path: "/grpc.health.v1.Health/Check", headers: { "Content-Type": "application/json" }, body,
    });
    assert.equal((await post('{"service":""}')).status, 200);
    const { status, body } = await post(`{"service":"${"x".repeat(2000)}"}`);
    assert.equal(status, 429);
    assert.match(body, /larger than 1024 bytes/);
  });
});

describe("a connection on which nobody is known", () => {
  test("may have fewer streams, until somebody is", async () => {
    const opened = await session();
    assert.equal(opened.remoteSettings.maxConcurrentStreams, 100);
    const raised = new Promise((resolve) => opened.once("remoteSettings", resolve));
    const stream = opened.begin(getUser, { authorization: `Bearer ${portal.credential}` });
    stream.end('{"user":"nobody"}');
    assert.equal((await within(10_000, "settings", raised)).maxConcurrentStreams, 1000);
  });

  test("ends soon when it is idle; a portal's does not", async () => {
    const stranger = await session();
    const known = await session();
    const stream = known.begin(getUser, { authorization: `Bearer ${portal.credential}` });
    stream.end('{"user":"nobody"}');
    await stream.answer;
    await within(IDLE_S * 1000 + 10_000, "the stranger's connection ends", stranger.gone);
    assert.equal(known.closed || known.destroyed, false);
    await login(portal);
  });

  test("has a few health watches, and leaves some to others", async () => {
    const watch = (opened) => {
      const stream = opened.begin("/grpc.health.v1.Health/Watch", { "content-type": "application/grpc" });
      stream.end(Buffer.alloc(5));
      stream.resume();
      return within(10_000, "an answer", stream.answer);
    };
    const greedy = await session();
    for (let count = 0; count < WATCHES; count++) assert.equal((await watch(greedy))["grpc-status"], undefined);
    assert.equal((await watch(greedy))["grpc-status"], "8");
    assert.equal((await watch(await session()))["grpc-status"], undefined);
  });
});

test("a request whose body breaks off after its portal was accepted is forgotten", async () => {
  const { socket, until } = raw();
  socket.write(head(portal.credential));
  socket.write("{");
  await pause(50);
  socket.destroy();
  const chunked = raw();
  chunked.socket.write(head(portal.credential).replace("Content-Length: 60000", "Transfer-Encoding: chunked") + "zz\r\n");
  await chunked.until(/^HTTP\/1\.1 400 /);
  await refuses(portal.users.getUser({ user: "nobody" }), "not_found");
  void until;
});
