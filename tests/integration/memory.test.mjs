// What an idle phone costs its worker, as the slope between few and many of them: all included, also what malloc() keeps.
// The table in tests/bench/README.md says what it is made of.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { after, before, test } from "node:test";

import { Phones, enrolFleet, makeFleet } from "../bench/swarm.mjs";
import { Broker, eventually, within } from "./harness.mjs";

const FEW = 500;
const MANY = 2500;
const BYTES_A_PHONE = 500;
const QUIET_MS = 2500; // free pages of the heap are given back a second after a burst
const NOISE_BYTES = 16_384;
const sanitized = process.env.NANOPUSH_SLOW === "1"; // then its allocator's memory is not what would be measured

const broker = new Broker({ workers: 1, log_level: "warn" });
let phones;
let worker;
let few;

const descriptors = ({ pid }) => readdirSync(`/proc/${pid}/fd`).length;

// Only what is the process's own: its share of the libraries depends on who else uses them.
const ownBytes = () => 1024 * Number(/^Pss_Anon:\s+(\d+)/m.exec(readFileSync(`/proc/${worker.pid}/smaps_rollup`, "utf8"))[1]);

/** The worker's bytes once they are the same for a while. */
async function settledBytes() {
  let [bytes, since] = [ownBytes(), Date.now()];
  await eventually(20_000, "the worker's memory settles", () => {
    const now = ownBytes();
    if (Math.abs(now - bytes) > NOISE_BYTES) [bytes, since] = [now, Date.now()];
    return Date.now() - since > QUIET_MS;
  });
  return bytes;
}

async function assertSmall(t) {
  const cost = Math.round(((await settledBytes()) - few) / (MANY - FEW));
  t.diagnostic(`${cost} bytes a phone`);
  assert.ok(cost <= BYTES_A_PHONE, `an idle phone costs ${cost} bytes`);
}

before(async () => {
  if (sanitized) return;
  await broker.start();
  await broker.admin("AdminService/CreateOrganisation", { organisation: { id: "org" } });
  const { credential } = await broker.admin("AdminService/CreatePortal", {
    portal: { id: "portal", organisation: "org", modes: ["MODE_TAP"], scopes: ["SCOPE_CHALLENGE", "SCOPE_ENROL"] },
  });
  const fleet = { file: `${broker.root}/fleet`, count: MANY };
  makeFleet({ ...fleet, organisation: "org", credential, pin: broker.pin });
  const [device, portal] = ["device", "portal"].map((port) => `127.0.0.1:${broker.ports[port]}`);
  const { done, last_failure: why } = await enrolFleet({ ...fleet, device, portal });
  assert.deepEqual({ done, why }, { done: MANY, why: "" });
  phones = new Phones({ protocol: "nanopush", address: device, ...fleet });
  await within(10_000, "few are connected", phones.connect(FEW));
  [worker] = broker.processes().sort((a, b) => descriptors(b) - descriptors(a));
  few = await settledBytes();
});
after(async () => {
  if (sanitized) return;
  try {
    await phones?.stop();
  } finally {
    await broker.stop();
  }
});

test("many idle phones are small", { skip: sanitized }, async (t) => {
  assert.equal((await within(60_000, "many are connected", phones.connect(MANY))).ready, MANY);
  await assertSmall(t);
});

test("and are as small when they came back all at once", { skip: sanitized }, async (t) => {
  assert.equal((await within(60_000, "all are back", phones.cut())).connected, MANY);
  await assertSmall(t);
});
