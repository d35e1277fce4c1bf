// Judges what portals and phones saw, and nothing else: it knows no broker and no Redis. A history is a list of events,
// each with t, microseconds of the machine's monotonic clock:
//
//   who: "portal"  accepted {id, user, expires}   refused {code}   lost {id, code}   silent {id, code}
//                  withdrawn {id}: it asked for that, and may not have been told that it came about
//                  outcome {id, state, digest, verified, since}    since: the call that brought it waits from then on
//   who: "phone"   welcome, gone, push {id, shown}, answer {id, decision, digest}, resolved {id, state}, error {id, code};
//                  each with device and user
//   who: "driver"  fault {kind, loses}            recovered {kind, healed}
//
// A digest is that of a signed answer, so that what the portal was given is found again at the phone that sent it.

/** What is still right, in microseconds. */
export const TOLERANCE = {
  expiry: 200_000, // an answer that was sent so long after the end still counts as in time: two processes' clocks
  late: 4_000_000, // who is connected while nothing is broken, is told within this
  loss: 2_000_000, // a fail-over loses what was accepted or settled so long before it, and nothing older
};

const BY_ANSWER = new Map([["APPROVED", "approve"], ["DENIED", "deny"]]);
const first = (events) => events[0]?.t ?? Infinity;
const seconds = (us) => `${(us / 1e6).toFixed(3)} s`;

class History {
  constructor(events, tolerance) {
    this.tolerance = tolerance;
    this.events = [...events].sort((a, b) => a.t - b.t);
    this.end = this.events.at(-1)?.t ?? 0;
    this.challenges = new Map();
    this.devices = new Map();
    this.faults = [];
    this.refused = {};
    for (const event of this.events) this[`on_${event.who}`](event);
  }

  challenge(id) {
    if (!this.challenges.has(id))
      this.challenges.set(id, { id, accepted: null, outcomes: [], lost: [], withdrawn: [], pushes: [], answers: [], resolved: [], errors: [] });
    return this.challenges.get(id);
  }

  on_portal(event) {
    if (event.event === "accepted") this.challenge(event.id).accepted ??= event;
    else if (event.event === "outcome") this.challenge(event.id).outcomes.push(event);
    else if (event.event === "lost") this.challenge(event.id).lost.push(event);
    else if (event.event === "withdrawn") this.challenge(event.id).withdrawn.push(event);
    else if (event.event === "refused") this.refused[event.code] = (this.refused[event.code] ?? 0) + 1;
  }

  on_phone(event) {
    const { device, user, t } = event;
    if (!this.devices.has(device)) this.devices.set(device, { device, user, connected: [] });
    const { connected } = this.devices.get(device);
    const last = connected.at(-1);
    if (event.event === "welcome") connected.push({ from: t, to: Infinity });
    else if (event.event === "gone" && last) last.to = Math.min(last.to, t);
    else if (event.event === "push") this.challenge(event.id).pushes.push(event);
    else if (event.event === "answer") this.challenge(event.id).answers.push(event);
    else if (event.event === "resolved") this.challenge(event.id).resolved.push(event);
    else if (event.event === "error" && event.id) this.challenge(event.id).errors.push(event);
  }

  on_driver({ event, kind, loses, healed, t }) {
    if (event === "fault") this.faults.push({ kind, loses, from: t, to: Infinity });
    else if (event === "recovered") Object.assign(this.faults.findLast((fault) => fault.kind === kind), { to: t, healed });
  }

  /** Nothing was broken from .. to. */
  quiet(from, to) {
    return !this.faults.some((fault) => fault.from < to && fault.to > from);
  }

  /** A fault explains that what was written at t is gone when seen at later. */
  excused(t, later) {
    return this.faults.some((fault) => fault.loses && t >= fault.from - this.tolerance.loss && t <= fault.to && later >= fault.from);
  }

  /** The moment by which a device must have heard of something that stands between from and to; Infinity: never had to. */
  mustHear(device, from, to) {
    const { late } = this.tolerance;
    for (const link of this.devices.get(device)?.connected ?? []) {
      const starts = [Math.max(from, link.from), ...this.faults.map((fault) => fault.to).filter((t) => t > from && t > link.from)];
      const start = Math.min(...starts.filter((t) => t + late < Math.min(to, link.to, this.end) && this.quiet(t, t + late)));
      if (start !== Infinity) return start + late;
    }
    return Infinity;
  }

  /** When a challenge was over, as far as anybody saw. */
  over({ accepted, outcomes, resolved, lost, withdrawn }) {
    return Math.min(accepted.expires, first(outcomes), first(resolved), first(lost), first(withdrawn));
  }
}

/** Each takes a challenge that a portal was told is accepted, and says what is wrong with it, or nothing. */
const RULES = {
  "has an outcome": ({ outcomes, lost }) => outcomes.length === 0 && lost.length === 0 && "the portal was never told how it ended",

  "has one outcome": ({ outcomes: [one, ...others] }, history) => {
    const other = others.find(({ state, digest }) => state !== one.state || digest !== one.digest);
    return other && !history.excused(one.t, other.t) && `${one.state} (${one.digest}), then ${other.state} (${other.digest})`;
  },

  "ends alike for portal and phones": ({ outcomes, resolved }, history) => {
    const states = [...outcomes, ...resolved];
    const other = states.find(({ state }) => state !== states[0].state);
    return other && !history.excused(Math.min(states[0].t, other.t), Math.max(states[0].t, other.t)) &&
      `${states[0].who} ${states[0].state}, ${other.who} ${other.device ?? ""} ${other.state}`;
  },

  "is decided by a signed answer": ({ accepted, outcomes, answers }, history) => {
    for (const { state, digest, verified, t } of outcomes) {
      const decision = BY_ANSWER.get(state);
      if (!decision) continue;
      const answer = answers.find((each) => each.digest === digest && each.t <= t);
      if (!answer) return `${state} by an answer that no phone has sent`;
      if (!verified) return `${state} by a signature that is wrong`;
      if (answer.decision !== decision) return `${state} by a phone that said ${answer.decision}`;
      if (history.devices.get(answer.device).user !== accepted.user) return `${state} by a phone of ${answer.user}`;
    }
    return null;
  },

  "is not decided after its end": ({ accepted, outcomes, answers }, { tolerance }) => {
    for (const { digest } of outcomes) {
      const answer = digest && answers.find((each) => each.digest === digest);
      const late = answer && answer.t - accepted.expires;
      if (late > tolerance.expiry) return `its answer was sent ${seconds(late)} after its end`;
    }
    return null;
  },

  "is seen by its user's phones only": ({ accepted, pushes, resolved }) => {
    const stranger = [...pushes, ...resolved].find(({ user, shown = user }) => user !== accepted.user || shown !== accepted.user);
    return stranger && `${accepted.user}'s was seen by ${stranger.user}'s ${stranger.device}`;
  },

  "is not lost": ({ accepted, lost }, history) => {
    const one = lost.find(({ t }) => !history.excused(accepted.t, t));
    return one && `${one.code}, and nothing had happened that loses anything`;
  },

  "reaches each phone that is there": (challenge, history) => {
    const { accepted, pushes } = challenge;
    for (const { device, user } of history.devices.values()) {
      if (user !== accepted.user) continue;
      const by = history.mustHear(device, accepted.t, history.over(challenge));
      if (by !== Infinity && !pushes.some((push) => push.device === device && push.t <= by)) return `${device} was there, and was not asked`;
    }
    return null;
  },

  "is settled by an answer in time": ({ accepted, answers, outcomes, resolved, errors, lost }, history) => {
    for (const { device, t } of answers.filter((each) => each.t < accepted.expires)) {
      const by = history.mustHear(device, t, accepted.expires);
      if (by === Infinity) continue;
      if (![...resolved, ...errors].some((each) => each.device === device && each.t <= by) && first(lost) > by)
        return `${device} answered, and was told nothing for ${seconds(by - t)}`;
      if (outcomes[0]?.state === "EXPIRED") return `EXPIRED, though ${device} answered ${seconds(accepted.expires - t)} before its end`;
    }
    return null;
  },

  "is told to who waits for it": ({ outcomes: [one], resolved }, history) => {
    const told = first(resolved);
    const { late } = history.tolerance;
    return one && one.since <= told && history.quiet(told, told + late) && one.t > told + late &&
      `the phone was told ${seconds(one.t - told)} before the portal that waited`;
  },
};

const count = (list, key) => {
  const counts = {};
  for (const each of list) counts[key(each)] = (counts[key(each)] ?? 0) + 1;
  return counts;
};

/** For each kind of fault, how long after it was healed the first login that began after that was approved, in ms. */
function recoveries(faults, accepted) {
  const kinds = {};
  for (const { kind, healed } of faults.filter((fault) => fault.healed)) {
    const approvals = accepted.filter((challenge) => challenge.accepted.t > healed && challenge.outcomes[0]?.state === "APPROVED");
    const first_us = Math.min(...approvals.map(({ outcomes: [{ t }] }) => t));
    (kinds[kind] ??= []).push(Math.round((first_us - healed) / 1000));
  }
  return Object.fromEntries(Object.entries(kinds).map(([kind, each]) => {
    const sorted = [...each].sort((a, b) => a - b);
    return [kind, { times: each.length, recovery_ms: { median: sorted[Math.floor(sorted.length / 2)], max: sorted.at(-1) } }];
  }));
}

/** @return {violations: [{rule, id, text}], figures} */
export function judge(events, tolerance = TOLERANCE) {
  const history = new History(events, tolerance);
  const accepted = [...history.challenges.values()].filter((challenge) => challenge.accepted);
  const violations = [];
  for (const challenge of accepted)
    for (const [rule, broken] of Object.entries(RULES)) {
      const text = broken(challenge, history);
      if (text) violations.push({ rule, id: challenge.id, text });
    }
  for (const { kind } of history.faults.filter(({ to }) => to === Infinity))
    violations.push({ rule: "recovers", id: "", text: `${kind} was healed, and logins did not work again` });
  const broken = (...rules) => new Set(violations.filter(({ rule }) => rules.includes(rule)).map(({ id }) => id)).size;
  const reverted = accepted.filter(({ outcomes: [one, ...others] }) => others.some(({ state }) => state !== one.state)).length;
  return {
    violations,
    figures: {
      accepted: accepted.length,
      outcomes: count(accepted.filter(({ outcomes }) => outcomes.length > 0), ({ outcomes: [{ state }] }) => state),
      refused: history.refused,
      lost: broken("is not lost", "has an outcome"),
      double: broken("has one outcome", "ends alike for portal and phones"),
      lost_by_failover: accepted.filter(({ lost }) => lost.length > 0).length - broken("is not lost"),
      reverted_by_failover: reverted - broken("has one outcome"),
      phones: history.devices.size,
      connects: [...history.devices.values()].reduce((sum, { connected }) => sum + connected.length, 0),
      faults: recoveries(history.faults, accepted),
    },
  };
}
