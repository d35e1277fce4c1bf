// A worker stops dead, or stands still, at each moment of each command that a login sends to Redis, one after the other; and
// the login still ends right within 3 s, or its portal is told. The commands are the rows of store/script.def and those sent
// from outside a script; build/nanopushd-stops has the seam (stop_points.c).
import assert from "node:assert/strict";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";

const built = path.resolve(process.env.NANOPUSHD ?? "build/nanopushd");
process.env.NANOPUSHD = `${built}-stops`;
const { Broker, deadline, eventually } = await import("../integration/harness.mjs");
const { freePorts } = await import("../integration/redis.mjs");
const { Portal } = await import("../integration/portal.mjs");
const { dice } = await import("./history.mjs");
const { makeKey, portable } = await import("./keys.mjs");
const { ChaosPhone, surroundings } = await import("./phone.mjs");
const { ChaosPortal } = await import("./portal.mjs");

const END_MS = 3000;
const TICK_MS = 20;
const TRIES = 24; // of a command that some login has sent: whether the next one does is chance, as which worker has whom
const MOMENTS = ["before", "sent", "reply", "handled"];
const scripts = readFileSync(new URL("../../broker/store/script.def", import.meta.url), "utf8");
const COMMANDS = [...[...scripts.matchAll(/^SCRIPT\((\w+)/gm)].map(([, name]) => name), "XADD"];
/** Those that no login can do without: that they are passed shows that the seam works. */
const NEEDED = ["device_attach", "challenge_create", "challenge_settle", "challenge_get", "XADD"];

const STOPS_A_START = 4; // who dies young is started anew later each time: then the broker is

const [devicePort, portalPort] = await freePorts(2);
const broker = new Broker({
  workers: 2, log_level: "info", device_listen: `127.0.0.1:${devicePort}`, portal_listen: `127.0.0.1:${portalPort}`,
});
const point = path.join(broker.root, "stop-point");
const roll = dice("stop points");
const seen = [];
const witness = { saw: (event, fields) => seen.push({ event, ...fields }) };
let enrolling, asking, shared;
let stops = 0;

before(async () => {
  process.env.STOP_POINT = point;
  await broker.start();
  enrolling = await Portal.create(broker);
  shared = surroundings({
    witness, roll, seed: "", brokers: [devicePort], patience: { handshakeMs: 700, silenceMs: 700, backoffMs: 100 },
  });
  asking = new ChaosPortal({
    witness, roll, brokers: [portalPort], ca: broker.ca, credential: enrolling.credential, pins: {},
    patience: { callMs: 700, waitMs: 700, againMs: 50 },
  });
});
after(() => broker.stop());

/** A person with a phone that approves at once. */
async function person() {
  const { user, phone, pins } = await enrolling.enrol(undefined, { possession: makeKey(), verification: makeKey() });
  const { organisation, deviceId, generation, endpoint } = phone;
  asking.pins[deviceId] = Object.fromEntries([pins.possession, pins.verification].map(({ kid, jwk }) => [kid, jwk]));
  const own = new ChaosPhone(shared, {
    organisation, user, deviceId, generation, endpoint, possession: portable(phone.possession), verification: portable(phone.verification),
  });
  own.decide = (push) => own.answers.set(push.challengeId, { push, decision: "approve", dueMs: 0, endMs: Number(push.expireUnixS) * 1000 });
  const ticking = setInterval(() => own.tick(Date.now()), TICK_MS);
  const leave = () => {
    clearInterval(ticking);
    own.cut();
  };
  await eventually(5000, "the phone is connected", () => own.welcomed);
  return { user, phone: own, leave };
}

const readyWorkers = () => broker.stats("/stats.json").then(({ body }) => JSON.parse(body).workers.filter(({ ready }) => ready).length, () => 0);

/** What was stopped serves again. */
async function mend(pid, how) {
  rmSync(`${point}.pid`);
  if (how === "pause") process.kill(pid, "SIGCONT");
  else if ((stops += 1) % STOPS_A_START === 0) {
    await broker.stop({ keep: true });
    await broker.start();
  }
  await eventually(10_000, "both workers are ready", async () => (await readyWorkers()) === 2);
}

/** Stop at that point during a login that begins with the phone's coming. @return whether any worker came to it */
async function loginWithStop(command, moment, how) {
  const somebody = await person();
  asking.hangUp(); // or every try has the same worker
  let stopped;
  try {
    writeFileSync(point, `${command} ${moment} ${how}`);
    if (/device_attach|device_detach/.test(command)) somebody.phone.cut();
    const began = Date.now();
    const asked = await asking.create(somebody.user);
    const state = asked.refused ? "refused" : await asking.learn(asked, "getWaiting");
    const took = Date.now() - began;
    stopped = existsSync(`${point}.pid`) && Number(readFileSync(`${point}.pid`, "utf8"));
    assert.ok(["APPROVED", "refused", "lost"].includes(state), `${command} ${moment}: it ended with ${state}`);
    assert.ok(took < deadline(END_MS), `${command} ${moment}: it ended ${took} ms later`);
    if (state === "APPROVED") assert.equal(seen.findLast(({ event }) => event === "outcome").verified, true);
  } finally {
    rmSync(point, { force: true });
    somebody.leave();
    if (stopped) await mend(stopped, how);
  }
  return Boolean(stopped);
}

for (const how of ["kill", "pause"])
  test(`${how}: at each point of a login`, async (t) => {
    const passed = [];
    for (const command of COMMANDS)
      for (const moment of MOMENTS) {
        let came = false;
        for (let tries = NEEDED.includes(command) || moment !== "before" ? TRIES : 1; tries > 0 && !came; tries--)
          came = await loginWithStop(command, moment, how);
        if (!came) break; // no login sends it
        passed.push(`${command} ${moment}`);
      }
    t.diagnostic(`${passed.length} points: ${passed.join(", ")}`);
    for (const command of NEEDED)
      for (const moment of MOMENTS) assert.ok(passed.includes(`${command} ${moment}`), `${command} ${moment} was passed`);
  });
