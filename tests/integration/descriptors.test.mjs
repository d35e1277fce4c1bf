// A worker that runs out of descriptors: it stops accepting, serves whom it has, does not spin, and goes on by itself.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import tls from "node:tls";
import { after, before, test } from "node:test";

import { Broker, eventually, pause } from "./harness.mjs";
import { ALPN } from "./phone.mjs";
import { login, Portal } from "./portal.mjs";

const PAUSES = 'nanopush_accept_pauses_total{limit="descriptors"}';
const KEPT = 32; // descriptors that a worker does not give to connections
const FREE = 12; // that are left to it besides
const TRIES = 40;
const TURNS_PER_S = 100; // it looks again each 100 ms on each port; 2 s of that, and all else
const broker = new Broker();
let portal;
let user;
let alone;
let worker;

before(async () => {
  await broker.start();
  portal = await Portal.create(broker);
  ({ user } = await portal.enrol());
  alone = await portal.alone(user);
  worker = alone.holder();
});
after(() => broker.stop());

const descriptors = () => readdirSync(`/proc/${worker}/fd`).length;
const value = async (name) => (await broker.metrics())[name];

function limit(count) {
  const { status, stderr } = spawnSync("prlimit", ["--pid", `${worker}`, `--nofile=${count}:`], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
}

/** Connections that try to shake hands; open() counts those that could. */
function knock(port, ALPNProtocols) {
  let open = 0;
  const sockets = Array.from({ length: TRIES }, () =>
    tls.connect({ host: "127.0.0.1", port, servername: "localhost", ca: broker.ca, ALPNProtocols })
      .on("error", () => {}).on("secureConnect", () => (open += 1)));
  broker.onStop(() => sockets.forEach((socket) => socket.destroy()));
  return { open: () => open, hangUp: () => sockets.forEach((socket) => socket.destroy()) };
}

for (const [port, protocols] of [["portal", ["http/1.1"]], ["device", [ALPN]]])
  test(`${port} port: descriptors exhausted`, async () => {
    const pausesBefore = await value(PAUSES);
    const had = descriptors();
    limit(had + KEPT + FREE);
    const crowd = knock(broker.ports[port], protocols);
    await eventually(10_000, "it pauses", async () => (await value(PAUSES)) > pausesBefore);
    await eventually(10_000, "those for whom there was room are served", () => crowd.open() >= FREE - 2);
    assert.ok(crowd.open() < FREE + 5, `${crowd.open()} connections`);

    const turns = await value("nanopush_loop_turns_total");
    await pause(2000);
    assert.ok((await value("nanopush_loop_turns_total")) - turns < 2 * TURNS_PER_S, "it does not spin");
    for (let count = 0; count < 20; count++) assert.equal((await alone.users.getUser({ user })).user.name, user);
    if (port === "portal") {
      limit(had + KEPT + FREE + TRIES + 20);
      await eventually(10_000, "who waited is accepted", () => crowd.open() === TRIES);
    }
    crowd.hangUp();
    limit(4096);
    await eventually(10_000, "their descriptors are given back", () => descriptors() <= had);
    await login(portal);
  });
