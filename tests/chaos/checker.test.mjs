// The checker of chaos finds nothing wrong with a good history, and what is wrong with bad ones.
import assert from "node:assert/strict";
import { test } from "node:test";

import { judge } from "./checker.mjs";

const S = 1_000_000;
const phone = (t, event, rest = {}) => ({ t: t * S, who: "phone", device: "d1", user: "ada", event, ...rest });
const portal = (t, event, rest = {}) => ({ t: t * S, who: "portal", event, id: "c1", ...rest });
const fault = (from, to, kind = "kill a worker", loses = false) => [
  { t: from * S, who: "driver", event: "fault", kind, loses },
  { t: to * S, who: "driver", event: "recovered", kind, healed: from * S },
];
const outcome = (t, rest = {}) => portal(t, "outcome", { state: "APPROVED", digest: "x", verified: true, since: 10 * S, ...rest });

/** Two phones of Ada's, one of Bob's; a challenge from 10 to 40, approved at 12. Parts are replaced by their name. */
function history(parts = {}) {
  const all = {
    links: [phone(1, "welcome"), phone(1, "welcome", { device: "d2" }), phone(1, "welcome", { device: "d3", user: "bob" })],
    accepted: [portal(10, "accepted", { user: "ada", expires: 40 * S })],
    pushes: [phone(10.1, "push", { id: "c1", shown: "ada" }), phone(10.1, "push", { id: "c1", shown: "ada", device: "d2" })],
    answers: [phone(12, "answer", { id: "c1", decision: "approve", digest: "x" })],
    resolved: [phone(12.1, "resolved", { id: "c1", state: "APPROVED" }), phone(12.1, "resolved", { id: "c1", state: "APPROVED", device: "d2" })],
    outcomes: [outcome(12.2), outcome(17)],
    faults: [],
    end: [phone(60, "gone", { device: "d3", user: "bob" })],
    ...parts,
  };
  return Object.values(all).flat();
}

const rules = (events) => [...new Set(judge(events).violations.map(({ rule }) => rule))];

test("a good history", () => {
  const { violations, figures } = judge(history());
  assert.deepEqual(violations, []);
  assert.equal(figures.accepted, 1);
  assert.deepEqual(figures.outcomes, { APPROVED: 1 });
  assert.equal(figures.phones, 3);
});

const expired = [outcome(40.1, { state: "EXPIRED", digest: undefined })];

for (const [name, rule, parts] of [
  ["nothing told to the portal", "has an outcome", { outcomes: [] }],
  ["approved, later denied", "has one outcome", { outcomes: [outcome(12.2), outcome(17, { state: "DENIED", digest: "y" })] }],
  ["approved by one answer, later by another", "has one outcome", { outcomes: [outcome(12.2), outcome(17, { digest: "y" })] }],
  ["a phone that was told another end", "ends alike for portal and phones",
    { resolved: [phone(12.1, "resolved", { id: "c1", state: "APPROVED" }), phone(12.1, "resolved", { id: "c1", state: "DENIED", device: "d2" })] }],
  ["approved, and nobody answered", "is decided by a signed answer", { answers: [] }],
  ["approved by what was answered later", "is decided by a signed answer",
    { answers: [phone(13, "answer", { id: "c1", decision: "approve", digest: "x" })] }],
  ["approved by a refusal", "is decided by a signed answer", { answers: [phone(12, "answer", { id: "c1", decision: "deny", digest: "x" })] }],
  ["approved by a wrong signature", "is decided by a signed answer", { outcomes: [outcome(12.2, { verified: false })] }],
  ["approved by somebody else's phone", "is decided by a signed answer",
    { answers: [phone(12, "answer", { id: "c1", decision: "approve", digest: "x", device: "d3", user: "bob" })] }],
  ["approved by an answer after the end", "is not decided after its end",
    { answers: [phone(41, "answer", { id: "c1", decision: "approve", digest: "x" })], resolved: [], outcomes: [outcome(41.1)] }],
  ["pushed to somebody else", "is seen by its user's phones only", {
    pushes: [...history().filter(({ event }) => event === "push"), phone(10.1, "push", { id: "c1", shown: "ada", device: "d3", user: "bob" })],
  }],
  ["somebody else's on the right phone", "is seen by its user's phones only",
    { pushes: [phone(10.1, "push", { id: "c1", shown: "bob" }), phone(10.1, "push", { id: "c1", shown: "ada", device: "d2" })] }],
  ["lost, and nothing had happened", "is not lost", { answers: [], resolved: [], outcomes: [portal(11, "lost", { code: "aborted" })] }],
  ["lost, though it was old when the master went", "is not lost",
    { answers: [], resolved: [], outcomes: [portal(31, "lost", { code: "aborted" })], faults: fault(25, 30, "fail over", true) }],
  ["lost by what loses nothing", "is not lost",
    { answers: [], resolved: [], outcomes: [portal(14, "lost", { code: "aborted" })], faults: fault(11, 13) }],
  ["one of two phones was not asked", "reaches each phone that is there",
    { pushes: [phone(10.1, "push", { id: "c1", shown: "ada" })], answers: [], resolved: [], outcomes: expired }],
  ["nobody was asked, though a fault was long over", "reaches each phone that is there",
    { pushes: [], answers: [], resolved: [], outcomes: expired, faults: fault(9, 20) }],
  ["an answer that was told nothing", "is settled by an answer in time", { resolved: [], outcomes: [outcome(39)] }],
  ["expired, though it was answered", "is settled by an answer in time",
    { resolved: [phone(40, "resolved", { id: "c1", state: "EXPIRED" })], outcomes: expired }],
  ["a portal that waited and was told at the end", "is told to who waits for it", { outcomes: [outcome(20)] }],
  ["logins that did not work again", "recovers", { faults: fault(20, 21).slice(0, 1) }],
])
  test(`bad: ${name}`, () => assert.deepEqual(rules(history(parts)).filter((each) => each === rule), [rule]));

const unasked = { pushes: [], answers: [], resolved: [], outcomes: expired };

for (const [name, parts] of [
  ["lost by a fail-over that came just after", { ...unasked, pushes: [], outcomes: [portal(13, "lost", { code: "aborted" })], faults: fault(11, 13, "fail over", true) }],
  ["denied, and undone by a fail-over that came just after", {
    faults: fault(13, 16, "fail over", true),
    outcomes: [outcome(12.2), outcome(17, { state: "EXPIRED", digest: undefined })],
  }],
  ["not asked, since no phone was there", { ...unasked, links: [phone(1, "welcome"), phone(9, "gone")] }],
  ["not asked, since everything was broken all the time", { ...unasked, faults: fault(9, 39) }],
  ["not asked, since links lived for seconds", { ...unasked, links: [phone(9, "welcome"), phone(12, "gone"), phone(30, "welcome"), phone(33, "gone")] }],
  ["not asked, since it was withdrawn before", { ...unasked, withdrawn: [portal(10.5, "withdrawn")] }],
  ["told late, by a call that began late", { outcomes: [outcome(20, { since: 20 * S })] }],
  ["told late, while something was broken", { outcomes: [outcome(20)], faults: fault(12, 19) }],
])
  test(`not bad: ${name}`, () => assert.deepEqual(judge(history(parts)).violations, []));

test("figures: what a fail-over lost is counted, and how long it took until a login worked again", () => {
  const lost = portal(5.5, "lost", { id: "c0", code: "aborted" });
  const before = [portal(5, "accepted", { id: "c0", user: "eve", expires: 35 * S }), lost];
  const { figures } = judge(history({ before, faults: fault(5.2, 10, "fail over", true) }));
  assert.equal(figures.lost_by_failover, 1);
  assert.equal(figures.lost, 0);
  assert.deepEqual(figures.faults, { "fail over": { times: 1, recovery_ms: { median: 7000, max: 7000 } } });
});
