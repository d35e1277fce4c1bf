// The swarm of tests/bench, small: phones that were enrolled through the API are connected, lose their links, lose a
// worker, stand beside peers that misbehave, and whoever is asked answers.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { after, before, test } from "node:test";

import { MISBEHAVIOURS, Phones, Portals, enrolFleet, makeFleet } from "../bench/swarm.mjs";
import { Broker, eventually, within } from "./harness.mjs";

const COUNT = 200;
const ASKED = 100;
const broker = new Broker({ workers: 2, log_level: "info", hello_timeout_ms: 1000, handshake_timeout_ms: 1000 });
let phones;
let portals;

before(async () => {
  await broker.start();
  await broker.admin("AdminService/CreateOrganisation", { organisation: { id: "org" } });
  const { credential } = await broker.admin("AdminService/CreatePortal", {
    portal: { id: "portal", organisation: "org", modes: ["MODE_TAP"], scopes: ["SCOPE_CHALLENGE", "SCOPE_ENROL"] },
  });
  const fleet = { file: `${broker.root}/fleet`, count: COUNT };
  makeFleet({ ...fleet, organisation: "org", credential, pin: broker.pin });
  const [device, portal] = ["device", "portal"].map((port) => `127.0.0.1:${broker.ports[port]}`);
  const { done, failed, last_failure: why } = await enrolFleet({ ...fleet, device, portal });
  assert.deepEqual({ done, failed, why }, { done: COUNT, failed: 0, why: "" });
  phones = new Phones({ protocol: "nanopush", address: device, ...fleet, processes: 2 });
  portals = new Portals({ protocol: "nanopush", address: portal, atOnce: 8, ...fleet });
});
after(async () => {
  try {
    await Promise.all([phones?.stop(), portals?.stop()]);
  } finally {
    await broker.stop();
  }
});

async function allAnswer() {
  await within(5000, "the portals are connected", portals.open());
  const { approved, verified, failed, last_failure: why } = await within(20_000, "logins", portals.logins({ total: ASKED }));
  assert.deepEqual({ approved, verified, failed, why }, { approved: ASKED, verified: ASKED, failed: 0, why: "" });
}

test("phones connect, ping and are asked at random", async () => {
  const { ready } = await within(10_000, "connected", phones.connect(COUNT));
  assert.equal(ready, COUNT);
  const { pongs } = await within(5000, "pongs", phones.ping());
  assert.equal(pongs, COUNT);
  await allAnswer();
});

test("all links are cut: all come back, and answer", async () => {
  const { connected, lost, back99_ms: back99 } = await within(20_000, "back", phones.cut());
  assert.deepEqual({ connected, lost }, { connected: COUNT, lost: COUNT });
  assert.ok(back99 > 0);
  await allAnswer();
});

test("a worker is killed: its phones come back, and answer", async () => {
  const descriptors = ({ pid }) => readdirSync(`/proc/${pid}/fd`).length;
  const [worker] = broker.processes().sort((a, b) => descriptors(b) - descriptors(a));
  await phones.mark();
  process.kill(worker.pid, "SIGKILL");
  await eventually(5000, "its phones notice", async () => (await phones.status()).lost > 0);
  assert.equal((await within(20_000, "back", phones.connect(COUNT))).ready, COUNT);
  await allAnswer();
});

for (const kind of MISBEHAVIOURS)
  test(`peers that misbehave are ended, and disturb nobody: ${kind}`, async () => {
    const { misbehaved, survived } = await within(10_000, "ended", phones.misbehave(kind, 20));
    assert.deepEqual({ misbehaved, survived }, { misbehaved: 20, survived: 0 });
    assert.equal((await phones.status()).ready, COUNT);
  });
