// Resumption: a ticket shortens the handshake at every worker and machine of one cluster, and authenticates nobody.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import tls from "node:tls";
import { after, before, test } from "node:test";

import { Broker, eventually, within } from "./harness.mjs";
import { ALPN } from "./phone.mjs";
import { Portal } from "./portal.mjs";

const broker = new Broker({ workers: 2 });
let portal;
before(async () => {
  await broker.start();
  portal = await Portal.create(broker, { scopes: ["SCOPE_CHALLENGE", "SCOPE_ENROL", "SCOPE_ADMIN"] });
});
after(() => broker.stop());

/** A phone that is connected, with the one ticket that its handshake gave it. */
async function withTicket(how) {
  const one = await portal.connected(how);
  await one.connection.ping();
  assert.equal(one.connection.tickets.length, 1, "one ticket a handshake");
  return { ...one, ticket: one.connection.tickets[0] };
}

test("a phone resumes at either worker, gets a new ticket each time, and signs in", async () => {
  const { phone, connection, ticket, user, pins } = await withTicket();
  const before = (await broker.metrics()).nanopush_tls_resumed_total;
  const holders = new Set([broker.holderOf(connection.socket)]);
  let session = ticket;
  let resumed = 0;
  for (; holders.size < 2 || resumed < 3; resumed++) {
    assert.ok(resumed < 64, "at each of the two workers");
    const others = await Promise.all(Array.from({ length: 8 }, () => phone.open())); // a lone one finds the same worker idle
    const again = await phone.connect({ session });
    assert.ok(again.resumed, "the handshake was short");
    await again.ping();
    assert.equal(again.tickets.length, 1, "one ticket a handshake, resumed ones too");
    assert.notDeepEqual(again.cb, connection.cb, "the channel binding is this connection's own");
    holders.add(broker.holderOf(again.socket));
    await portal.signIn({ user, phone, connection: again, pins });
    session = again.tickets[0];
    for (const other of others) other.destroy();
    again.close();
    await again.untilClosed();
  }
  assert.equal((await broker.metrics()).nanopush_tls_resumed_total, before + resumed);
});

test("a Hello that was signed on the connection that gave the ticket is none on the resumed one", async () => {
  const { phone, connection, ticket } = await withTicket();
  const again = await phone.open({ session: ticket });
  assert.ok(again.resumed);
  again.send("hello", phone.helloFields(connection));
  assert.equal((await again.nextError()).code, "DENIED");
  await again.untilClosed();
});

test("a revoked phone resumes, and is refused", async () => {
  const { phone, ticket } = await withTicket();
  await portal.users.revokeDevice({ deviceId: phone.deviceId });
  const again = await phone.open({ session: ticket });
  assert.ok(again.resumed, "a ticket is no credential, so there is nothing to revoke in it");
  again.send("hello", phone.helloFields(again));
  assert.equal((await again.nextError()).code, "DENIED");
  await again.untilClosed();
});

test("a machine with the same cluster secret resumes; another one shakes hands in full", async (t) => {
  const { phone, ticket } = await withTicket();
  const withFiles = async (...files) => {
    const other = new Broker();
    mkdirSync(other.dataDir, { mode: 0o700 });
    for (const file of files) copyFileSync(path.join(broker.dataDir, file), path.join(other.dataDir, file));
    t.after(() => other.stop());
    return other.start();
  };
  const opened = async ({ ports, pin }) => {
    const connection = await Object.assign(Object.create(phone), {
      endpoint: { ...phone.endpoint, port: ports.device, pin }, connections: new Set(),
    }).open({ session: ticket });
    connection.destroy();
    return connection.resumed;
  };
  const ca = ["device-ca.pem", "device-ca.key"];
  assert.equal(await opened(await withFiles("cluster.secret", ...ca)), true, "the same secret and CA");
  assert.equal(await opened(await withFiles(...ca)), false, "a secret of its own");
  assert.equal(await opened(await withFiles("cluster.secret")), false, "a CA of its own");
});

test("the portal port gives no tickets", async () => {
  const socket = tls.connect({ host: "127.0.0.1", port: broker.ports.portal, ca: broker.ca, servername: "localhost", ALPNProtocols: ["http/1.1"] });
  let tickets = 0;
  socket.on("session", () => (tickets += 1));
  await within(5000, "the answer", new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.once("data", resolve);
    socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  }));
  assert.equal(tickets, 0);
  socket.destroy();
});

test("openssl s_client resumes by a ticket of its file", async () => {
  const file = path.join(broker.root, "session.pem");
  const client = async (option, isDone) => {
    const child = spawn("openssl", ["s_client", "-connect", `127.0.0.1:${broker.ports.device}`, "-alpn", ALPN,
      "-servername", "localhost", option, file], { stdio: ["pipe", "pipe", "ignore"] });
    let said = "";
    child.stdout.on("data", (text) => (said += text));
    try {
      await eventually(10_000, `s_client ${option}`, () => isDone(said));
    } finally {
      child.stdin.end();
      child.kill();
    }
  };
  await client("-sess_out", () => existsSync(file) && /END SSL SESSION/.test(readFileSync(file)));
  await client("-sess_in", (said) => /Reused, TLSv1\.3/.test(said));
});
