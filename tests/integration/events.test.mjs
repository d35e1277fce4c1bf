// What happened, as a SOC or a wake-up gateway reads it: EventService across workers, resumed by a cursor, scoped; and the
// audit, as the broker writes it into its data directory.
import assert from "node:assert/strict";
import { readFileSync, readdirSync, statSync } from "node:fs";
import http2 from "node:http2";
import path from "node:path";
import { after, before, describe, test } from "node:test";

import { Code } from "@connectrpc/connect";

import { Severity } from "../../build/gen-js/nanopush/v1/event_pb.js";
import { Broker, eventually } from "./harness.mjs";
import { Portal, refuses, unique } from "./portal.mjs";

const WAIT_MS = 10_000;
const WATCHES_MAX = 16; // of one portal, at one worker
const SOON_MS = 900; // sooner than any re-read: the hint brought it
const everything = ["SCOPE_CHALLENGE", "SCOPE_ENROL", "SCOPE_ADMIN", "SCOPE_EVENTS"];
const broker = new Broker({ workers: 2 });
let portal; // may see its own challenges' events only
let soc; // may see the organisation's, of the same organisation

before(async () => {
  await broker.start();
  portal = await Portal.create(broker, { scopes: ["SCOPE_CHALLENGE", "SCOPE_ENROL", "SCOPE_ADMIN"] });
  soc = await Portal.create(broker, { organisation: portal.organisation, scopes: everything });
});
after(() => broker.stop());

/** Watch: what came so far, until() one of a kind, and stop(). */
function watch(by, request = {}) {
  const abort = new AbortController();
  const seen = [];
  const gaps = [];
  const reading = (async () => {
    for await (const { event, gap } of by.events.watchEvents(request, { signal: abort.signal })) {
      if (event) seen.push(event);
      if (gap) gaps.push(gap);
    }
  })();
  reading.catch(() => {});
  broker.onStop(() => abort.abort());
  return {
    seen,
    gaps,
    stop: () => abort.abort(),
    failure: reading,
    until: (kind, user, ms = WAIT_MS) =>
      eventually(ms, `${kind} of ${user}`, async () => seen.find((event) => event.kind === kind && event.user === user)),
    untilGap: () => eventually(WAIT_MS, "a gap", async () => gaps[0]),
  };
}

const kindsOf = (watched, user) => watched.seen.filter((event) => event.user === user).map((event) => event.kind);
const audit = () => path.join(broker.dataDir, "audit");
const auditFiles = () => readdirSync(audit()).map((name) => path.join(audit(), name));
const auditLines = () => auditFiles().flatMap((file) => readFileSync(file, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line)));

describe("events", () => {
  test("an enrolment, a refusal and a lock, in order, with who did it", async () => {
    const all = watch(soc);
    const { user, phone, connection } = await portal.connected();
    const question = await portal.ask(user);
    await phone.decide(connection, await phone.pushOf(connection, question.id), "not_me");
    const locked = await all.until("push_locked", user);
    assert.equal(locked.severity, Severity.WARNING);
    assert.equal(locked.by, `phone ${phone.deviceId}`);
    assert.equal(locked.detail, "after a challenge was reported");
    await portal.users.unlockUser({ user });
    const unlocked = await all.until("push_unlocked", user);
    assert.equal(unlocked.by, "another portal", "whose name is not this one's to know");
    assert.deepEqual(kindsOf(all, user), ["enrolment_created", "enrolment_override", "phone_added", "push_locked", "push_unlocked"]);
    all.stop();
  });

  test("another portal's challenges and enrolments do not exist", async () => {
    const own = watch(portal);
    const all = watch(soc);
    const { user, phone, connection } = await portal.connected();
    const question = await portal.ask(user);
    await phone.decide(connection, await phone.pushOf(connection, question.id), "deny");
    const denied = await own.until("challenge_denied", user);
    assert.equal(denied.challengeId, question.id);
    assert.deepEqual(kindsOf(own, user), ["challenge_denied"], "nothing of the organisation without scope events");
    const added = await all.until("phone_added", user);
    assert.equal(added.portal + added.enrolmentId + added.challengeId, "");
    assert.ok(!kindsOf(all, user).includes("challenge_denied"));
    own.stop();
    all.stop();
  });

  test("a challenge that no connected phone has wakes whoever can wake the phone, at once, on every worker", async () => {
    const watchers = [];
    for (let i = 0; i < 6; i++) watchers.push(watch(await portal.alone((await portal.enrol()).user), { kinds: ["challenge_unreached"], onlyNew: true }));
    const { user } = await portal.enrol();
    await Promise.all(watchers.map(async (watched) => {
      // The stream is known to have begun once an event has come.
      await eventually(WAIT_MS, "a first event", async () => watched.seen.length || (await portal.ask((await portal.enrol()).user)) === null);
    }));
    const question = await portal.ask(user);
    const found = await Promise.all(watchers.map((watched) => watched.until("challenge_unreached", user, SOON_MS)));
    for (const event of found) {
      assert.equal(event.challengeId, question.id);
      assert.equal(event.by, `portal ${portal.id}`);
    }
    for (const watched of watchers) watched.stop();
  });

  test("resumed behind an event it misses nothing and repeats nothing", async () => {
    const users = [];
    for (let i = 0; i < 3; i++) users.push((await portal.enrol()).user);
    const first = watch(soc, { kinds: ["phone_added"] });
    await first.until("phone_added", users[2]);
    first.stop();
    const at = first.seen.findIndex(({ user }) => user === users[0]);
    users.push((await portal.enrol()).user);
    const again = watch(soc, { kinds: ["phone_added"], after: first.seen[at].id });
    await again.until("phone_added", users[3]);
    assert.deepEqual(again.seen.map(({ user }) => user), users.slice(1));
    assert.equal(again.gaps.length, 0);
    again.stop();
  });

  test("filtered by user", async () => {
    const { user } = await portal.enrol();
    await portal.enrol();
    const watched = watch(soc, { user });
    await watched.until("phone_added", user);
    assert.ok(watched.seen.every((event) => event.user === user));
    watched.stop();
  });

  test("what was trimmed is told as a gap, and what is kept follows", async () => {
    const lonely = await Portal.create(broker, { scopes: everything });
    const first = watch(lonely);
    await lonely.enrol("one");
    const { id } = await first.until("phone_added", "one");
    first.stop();
    await lonely.enrol("two");
    await lonely.enrol("three");
    const stream = `np1:events:{${lonely.organisation}}`;
    await broker.redis("XTRIM", stream, "MAXLEN", "1");
    const again = watch(lonely, { after: id });
    const gap = await again.untilGap();
    assert.equal(gap.count, 5n, "two enrolments' events, but for the last");
    await again.until("phone_added", "three");
    const behind = watch(lonely, { after: gap.until });
    await behind.until("phone_added", "three");
    assert.equal(behind.gaps.length, 0, "the gap's own id is a cursor");
    await broker.redis("DEL", stream);
    const lost = watch(lonely, { after: gap.until });
    assert.equal((await lost.untilGap()).count, 1n);
    for (const watched of [again, behind, lost]) watched.stop();
  });

  test("what somebody else writes into Redis is no event", async () => {
    const forged = await Portal.create(broker, { scopes: everything });
    const watched = watch(forged);
    await forged.enrol("ada");
    await watched.until("phone_added", "ada");
    const stream = `np1:events:{${forged.organisation}}`;
    await broker.redis("XADD", stream, "*", "event", "not sealed");
    await forged.enrol("bob");
    await watched.until("phone_added", "bob");
    assert.ok(watched.seen.every(({ user }) => ["", "ada", "bob"].includes(user)));
    watched.stop();
  });

  test("a portal watches so many times at a worker, and no more: each watch reads for itself", async () => {
    const greedy = await Portal.create(broker, { scopes: ["SCOPE_CHALLENGE"] });
    const held = [];
    let refused = 0;
    for (let i = 0; i < 2 * WATCHES_MAX + 1; i++) {
      const watched = watch(greedy);
      held.push(watched);
      watched.failure.catch(({ code }) => (refused += code === Code.ResourceExhausted));
    }
    await eventually(WAIT_MS, "one of them is too many at either worker", () => refused > 0);
    const other = watch(soc);
    const { user } = await portal.enrol();
    await other.until("phone_added", user);
    for (const each of [other, ...held]) each.stop();
    const again = await eventually(WAIT_MS, "there is room again", async () => {
      const one = watch(greedy);
      const before = refused;
      one.failure.catch(({ code }) => (refused += code === Code.ResourceExhausted));
      await greedy.users.getUser({ user: "nobody" }).catch(() => {});
      return refused === before && one;
    });
    again.stop();
  });

  test("refused: no scope, no such kind, no id", async () => {
    const enroller = await Portal.create(broker, { organisation: portal.organisation, scopes: ["SCOPE_ENROL"] });
    await refuses(watch(enroller).failure, "permission_denied", /challenge or events/);
    await refuses(watch(soc, { kinds: ["phone_added", "nothing"] }).failure, "invalid_argument", /kinds\[1\]/);
    for (const id of ["$", "+", "1", "1-2-3", "01-1", "-1-1", "x"])
      await refuses(watch(soc, { after: id }).failure, "invalid_argument", /after/);
  });

  test("each is counted by its kind", async () => {
    const count = async () => (await broker.metrics())['nanopush_events_total{event="phone_added"}'];
    const had = await count();
    await portal.enrol();
    assert.equal(await count() - had, 1);
  });
});

describe("watches are limited", () => {
  const MOST = 40;
  const USERS = 300; // their events are more than what MOST streams of a connection may have waiting
  const few = new Broker({ watches_max: MOST, write_timeout_ms: 300_000 });
  const held = async () => (await few.metrics()).nanopush_watches_held;
  const refusals = async (kind) => (await few.metrics())[`nanopush_bad_requests_total{kind="${kind}"}`] ?? 0;
  const deafs = []; // portals of one organisation, since each may watch so many times
  let watcher;
  let session;
  let streams;

  before(async () => {
    await few.start();
    watcher = await Portal.create(few, { scopes: everything });
    while (deafs.length < 4) deafs.push(await Portal.create(few, { organisation: watcher.organisation, scopes: everything }));
    session = http2.connect(`https://localhost:${few.ports.portal}`, { ca: few.ca, settings: { initialWindowSize: 0 } });
    session.on("error", () => {});
    few.onStop(() => session.destroy());
    streams = Array.from({ length: MOST }, (_, at) => deaf(deafs[at % deafs.length]));
  });
  after(() => few.stop());

  /** A watch whose caller grants no window: it reads nothing of what comes. */
  function deaf({ credential }) {
    const stream = session.request({
      ":method": "POST", ":path": "/nanopush.v1.EventService/WatchEvents",
      "content-type": "application/connect+json", authorization: `Bearer ${credential}`,
    });
    stream.on("error", () => {});
    stream.end(Buffer.from("\0\0\0\0\x02{}", "latin1"));
    return stream;
  }

  test("they count as calls that wait: one beyond is refused", async () => {
    await eventually(WAIT_MS, "all are held", async () => (await held()) === MOST);
    await refuses(watch(watcher).failure, "resource_exhausted", /./);
    assert.equal(await refusals("waits_too_many"), 1);
    streams.pop().close(http2.constants.NGHTTP2_CANCEL);
    await eventually(WAIT_MS, "a place is free", async () => (await held()) === MOST - 1);
    const one = watch(watcher);
    await eventually(WAIT_MS, "and taken", async () => (await held()) === MOST);
    one.stop();
    await eventually(WAIT_MS, "and free again", async () => (await held()) === MOST - 1);
  });

  test("who does not read what comes is cut, and whoever reads goes on", async () => {
    const reader = watch(watcher);
    const cut = Promise.race(streams.map((stream) => new Promise((resolve) => stream.on("close", () => resolve(stream.rstCode)))));
    for (let i = 0; i < USERS; i += 50)
      await Promise.all(Array.from({ length: 50 }, (_, at) => watcher.enrolments.createEnrolment({ user: `${"x".repeat(250)}-${i + at}` })));
    assert.equal(await cut, http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
    assert.ok(await refusals("unread") >= 1);
    await eventually(WAIT_MS, "the reader has all", () => reader.seen.filter(({ kind }) => kind === "enrolment_created").length === USERS);
    session.destroy();
    await eventually(WAIT_MS, "only the reader's is held", async () => (await held()) === 1);
    reader.stop();
    await eventually(WAIT_MS, "none is held", async () => (await held()) === 0);
  });
});

describe("audit", () => {
  test("says who enrolled, asked and answered; each line is chained with the one before", async () => {
    const user = unique("audited");
    const enrolled = await portal.enrol(user);
    const connection = await enrolled.phone.connect();
    const question = await portal.ask(user, { context: { application: "Secret project" } });
    await enrolled.phone.decide(connection, await enrolled.phone.pushOf(connection, question.id), "approve");
    await eventually(WAIT_MS, "the approval in the audit", async () => auditLines().some(({ entry }) => entry.kind === "challenge_approved" && entry.user === user));
    const about = auditLines().filter(({ entry }) => entry.user === user);
    assert.deepEqual(about.map(({ entry }) => entry.kind).sort(),
      ["challenge_approved", "challenge_asked", "enrolment_created", "enrolment_override", "phone_added"]);
    const approved = about.find(({ entry }) => entry.kind === "challenge_approved").entry;
    assert.equal(approved.by, `phone ${enrolled.phone.deviceId}`);
    assert.equal(approved.challengeId, question.id);

    const chains = new Map();
    for (const line of auditLines().sort((a, b) => a.seq - b.seq)) {
      const last = chains.get(line.chain) ?? { seq: 0, mac: "0".repeat(64) };
      assert.equal(line.seq, last.seq + 1);
      assert.equal(line.prev, last.mac);
      chains.set(line.chain, line);
    }
    assert.ok(chains.size >= 2, "one of each process that wrote");
  });

  test("holds no secret and no challenge's text, and is the owner's alone", async () => {
    const { user } = await portal.enrol();
    await portal.ask(user, { context: { application: "Secret project", message: "Secret message" } });
    const text = auditFiles().map((file) => readFileSync(file, "utf8")).join("");
    assert.ok(!text.includes("Secret"));
    assert.ok(!text.includes(portal.credential.split(".").at(-1)));
    assert.equal(statSync(audit()).mode & 0o777, 0o700);
    for (const file of auditFiles()) assert.equal(statSync(file).mode & 0o777, 0o600);
  });
});
