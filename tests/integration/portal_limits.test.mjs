// A portal's calls have a limit in the whole cluster (README, "Portals' credentials"), which costs no round trip a call.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { fromBinary } from "@bufbuild/protobuf";

import { RetryInfoSchema } from "../../build/gen-js/google/rpc/error_details_pb.js";
import { Broker, eventually, pause } from "./harness.mjs";
import { login, Portal, refuses } from "./portal.mjs";

const RATE = 20;
const BURST = 2 * RATE;
const broker = new Broker({ workers: 2, portal_calls_open_max: 50 });
const admin = (method, request) => broker.admin(`AdminService/${method}`, request);
let portal;

before(async () => {
  await broker.start();
  portal = await Portal.create(broker);
});
after(() => broker.stop());

const limited = async (rate = RATE) => {
  const fresh = await Portal.create(broker, { organisation: portal.organisation });
  await admin("SetLimits", { portal: fresh.id, callsPerSecond: rate });
  return fresh;
};
/** How many of so many calls, on connections of their own and so at both workers, were let through. */
async function flood(by, count) {
  const answers = [];
  while (answers.length < count)
    answers.push(...(await Promise.all(Array.from({ length: 10 }, () => by.post("UserService/GetUser", { user: "nobody" })))));
  return { passed: answers.filter(({ status }) => status === 404).length, refused: answers.filter(({ status }) => status === 429), all: answers };
}

test("beyond the rate both workers refuse, with when to come again; then it goes on", async () => {
  const by = await limited();
  const from = Date.now();
  const { passed, refused, all } = await flood(by, 6 * BURST);
  const seconds = (Date.now() - from) / 1000;
  assert.equal(passed + refused.length, all.length, JSON.stringify(all.find(({ status }) => status !== 404 && status !== 429)));
  const most = RATE * seconds + BURST + 2; // and a batch, of one permit at this rate, for each worker
  assert.ok(passed <= most, `${passed} calls in ${seconds} s, more than ${most}`);
  assert.ok(refused.length > 0);
  for (const { headers, body } of refused) {
    assert.match(headers["retry-after"], /^[1-9]\d*$/);
    const { code, details } = JSON.parse(body);
    assert.equal(code, "resource_exhausted");
    const [{ type, value, debug }] = details;
    assert.equal(type, "google.rpc.RetryInfo");
    const { retryDelay } = fromBinary(RetryInfoSchema, Buffer.from(value, "base64"));
    assert.ok(retryDelay.seconds > 0n || retryDelay.nanos > 0, debug?.retryDelay);
  }
  assert.ok((await broker.metrics()).nanopush_calls_limited_total >= refused.length);
  await eventually(5000, "a call is let through again", async () => (await by.post("UserService/GetUser", { user: "nobody" })).status === 404);
  await login(portal);
});

test("a limit is raised and taken away while the portal calls", async () => {
  const by = await limited(1);
  await flood(by, 20);
  await admin("SetLimits", { portal: by.id, callsPerSecond: 10_000 });
  await eventually(10_000, "it holds no more", async () => (await flood(by, 20)).refused.length === 0);
  const { portal: row } = await admin("SetLimits", { portal: by.id });
  assert.equal(row.callsPerSecond, undefined);
  await refuses(admin("SetLimits", { portal: by.id, callsPerSecond: 1_000_001 }), "invalid_argument", /calls_per_second/);
  await refuses(admin("SetLimits", { portal: "nobody" }), "not_found");
});

test("calls are let through from what is leased: far fewer leases than calls", async () => {
  const by = await Portal.create(broker, { organisation: portal.organisation });
  await flood(by, 200);
  const before = (await broker.metrics()).nanopush_permit_leases_total;
  await flood(by, 500);
  const leases = (await broker.metrics()).nanopush_permit_leases_total - before;
  assert.ok(leases < 100, `${leases} leases for 500 calls`);
});

test("a portal holds so many calls at a worker, and no more; who goes away makes room", async () => {
  const { user } = await portal.enrol();
  const { id } = await portal.ask(user);
  const leaving = new AbortController();
  const held = Array.from({ length: 120 }, () =>
    portal.challenges.getChallenge({ id, waitMs: 60_000, afterRevision: 1000n }, { signal: leaving.signal }).then(() => "answered", ({ code }) => code));
  const first = await Promise.race(held);
  assert.equal(first, 8, "beyond 50 at each of the two workers: resource_exhausted");
  leaving.abort();
  await Promise.all(held);
  await pause(100);
  await eventually(5000, "there is room again", async () => (await portal.post("UserService/GetUser", { user })).status === 200);
});
