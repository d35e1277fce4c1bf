// Two workers share nothing but Redis: a challenge that enters at one reaches the phone that hangs on the other, and
// the answer finds its way back, whoever of the two watches.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { ChallengeState } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { GoAway_Reason } from "../../build/gen-js/nanopush/v1/device_pb.js";
import { Broker, deadline } from "./harness.mjs";
import { Portal } from "./portal.mjs";

const TRIES = 64;
const broker = new Broker({ workers: 2 });
let portal;
before(async () => {
  await broker.start();
  portal = await Portal.create(broker);
});
after(() => broker.stop());

/** One of what make() makes for each worker, by its process. Several at once: a lone one finds the same worker idle. */
async function oneForEach(what, make, holderOf) {
  const found = new Map();
  for (let tries = 0; tries < TRIES && found.size < 2; tries += 8) {
    const made = await Promise.all(Array.from({ length: 8 }, make));
    for (const each of made) found.set(holderOf(each), each);
  }
  assert.equal(found.size, 2, `${what} at each of the two workers`);
  return found;
}

const sessionHolder = ({ connection }) => broker.holderOf(connection.socket);

test("each way from portal to phone and back, over each pair of workers", async (t) => {
  const phones = await oneForEach("a phone", () => portal.connected(), sessionHolder);
  const [{ user: anybody }] = phones.values();
  const portals = await oneForEach("a portal's connection", () => portal.alone(anybody), (alone) => alone.holder());
  const workers = [...phones.keys()].sort();
  assert.deepEqual([...portals.keys()].sort(), workers);
  const names = new Map(workers.map((worker) => [worker, portals.get(worker).lastWorker]));
  assert.deepEqual([...names.values()].sort(), ["1", "2"], "the header says which worker it was");

  for (const enters of workers)
    for (const hangs of workers)
      for (const watches of workers)
        await t.test(`enters at ${names.get(enters)}, phone on ${names.get(hangs)}, watched at ${names.get(watches)}`, async () => {
          const { user, phone, pins, connection } = phones.get(hangs);
          const [asker, watcher] = [portals.get(enters), portals.get(watches)];
          const question = await asker.ask(user);
          assert.equal(question.worker, names.get(enters));

          const following = watcher.follow(question.id);
          await following.until("pending", ({ state }) => state === ChallengeState.PENDING);
          assert.equal(watcher.lastWorker, names.get(watches));
          const push = await phone.nextPush(connection);
          const started = Date.now();
          const resolved = await phone.decide(connection, push, "approve");
          assert.equal(resolved.state, ChallengeState.APPROVED);
          const last = (await following.end()).at(-1);
          assert.ok(Date.now() - started < deadline(1500), "by a hint, not by the watcher's own reading after 2 s");
          await portal.verify(last, question, pins);
        });
});

test("a phone on one worker is told what a portal cancels at the other", async () => {
  const one = await portal.connected();
  const portals = await oneForEach("a portal's connection", () => portal.alone(one.user), (alone) => alone.holder());
  const there = [...portals].find(([holder]) => holder !== sessionHolder(one))[1];
  const question = await there.ask(one.user);
  await one.phone.nextPush(one.connection);
  await there.challenges.cancelChallenge({ id: question.id });
  const { state } = await one.connection.next("resolved");
  assert.equal(state, ChallengeState.CANCELLED);
});

test("a phone that comes back at the other worker takes over there", async () => {
  const one = await portal.connected();
  const here = sessionHolder(one);
  const elsewhere = async () => {
    const connection = await one.phone.connect();
    return { ...one, connection };
  };
  let previous = one.connection;
  for (let tries = 0; tries < TRIES; tries++) {
    const next = await elsewhere();
    assert.equal((await previous.next("goAway")).reason, GoAway_Reason.TAKEN_OVER);
    await previous.untilClosed();
    previous = next.connection;
    if (sessionHolder(next) === here) continue;
    const question = await portal.ask(one.user);
    const push = await one.phone.nextPush(next.connection);
    assert.equal(push.challengeId, question.id);
    assert.equal((await one.phone.decide(next.connection, push, "approve")).state, ChallengeState.APPROVED);
    return;
  }
  assert.fail(`the other worker accepted none of ${TRIES} connections`);
});
