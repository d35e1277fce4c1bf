// `make bench` and `make bench-short`: nanopush beside what Debian ships and beside the floor, in one report from one
// run. Writes report.json, report.txt and report.svg into build/bench; leaves nothing running.
//
//   node tests/bench/bench.mjs [--short] [--idle SECONDS] [--sizes 1000,15000] [--state DIRECTORY] [--only PART,PART]
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";

import { pause } from "../integration/harness.mjs";
import { connectCost, cutStorm, cutWhileAsked, heartbeatCost, killed, logins, loginsSideBySide, memory } from "./measure.mjs";
import { Floor, Mosquitto, Nanopush, Nchan, havePackages } from "./peers.mjs";
import { plot } from "./plot.mjs";
import { machine, pssBytes } from "./proc.mjs";
import { table } from "./report.mjs";
import { Phones, Portals } from "./swarm.mjs";

const { values: given } = parseArgs({
  options: {
    short: { type: "boolean" }, idle: { type: "string" }, sizes: { type: "string" }, state: { type: "string" },
    only: { type: "string", default: "connect,memory,logins,storm,growth" }, out: { type: "string", default: "build/bench" },
  },
});
const size = given.short
  ? { connects: 400, repetitions: 3, few: 300, many: 2000, idleS: 5, total: 300, fast: 1500, sizes: [500, 2000], workers: 2 }
  : { connects: 2000, repetitions: 5, few: 1000, many: 15_000, idleS: 600, total: 1000, fast: 6000, sizes: [1000, 15_000, 45_000, 90_000], workers: 6 };
if (given.idle) size.idleS = Number(given.idle);
if (given.sizes) size.sizes = given.sizes.split(",").map(Number);
const wanted = new Set(given.only.split(","));

const AT_ONCE = 64;
const began = Date.now();
const say = (text) => process.stderr.write(`${((Date.now() - began) / 1000).toFixed(0).padStart(5)} s  ${text}\n`);

/** What goes on is said every few seconds. */
let lastProgress = 0;
const progress = (text) => {
  if (Date.now() - lastProgress < 5000) return;
  lastProgress = Date.now();
  say(text);
};

const out = path.resolve(given.out);
mkdirSync(out, { recursive: true });
const scratch = mkdtempSync(path.join(out, "run-"));
const state = path.resolve(given.state ?? path.join(scratch, "state"));
const report = {
  date: new Date().toISOString(),
  commit: spawnSync("git", ["describe", "--always", "--dirty"], { encoding: "utf8" }).stdout.trim(),
  machine: machine(),
  sizes: size,
  versions: {},
};
const stops = [];
const save = () => {
  writeFileSync(path.join(out, "report.json"), `${JSON.stringify(report, null, 2)}\n`);
  writeFileSync(path.join(out, "report.txt"), table(report));
  writeFileSync(path.join(out, "report.svg"), plot(report));
};

async function started(server) {
  await server.start();
  stops.push(() => server.stop());
  report.versions[server.name] = server.version;
  return server;
}

function swarmFor(server, count, processes) {
  const phones = new Phones({ ...server.phones, count, processes });
  stops.push(() => phones.stop());
  return phones;
}

function portalsFor(server, count) {
  const portals = new Portals({ ...server.portals, atOnce: AT_ONCE, count });
  stops.push(() => portals.stop());
  return portals;
}

async function stopAll() {
  for (const stop of stops.splice(0).reverse()) await stop();
}

/** One worker beside the others. */
async function sideBySide() {
  const nanopush = await started(new Nanopush(path.join(state, "one"), { workers: 1 }));
  report.enrolment = await nanopush.enrol(size.many, (done) => progress(`enrolled ${done} of ${size.many}`));
  say(`enrolled ${size.many} phones: ${report.enrolment.per_s}/s`);
  const others = [new Floor(path.join(scratch, "floor"), nanopush.certificate)];
  if (havePackages()) others.push(new Mosquitto(path.join(scratch, "mosquitto"), nanopush.certificate), new Nchan(path.join(scratch, "nchan"), nanopush.certificate));
  else say("mosquitto and nchan are not there: deploy/deps.sh bench build/bench/packages");
  for (const other of others) await started(other);
  const pairs = [nanopush, ...others].map((server) => ({ server, phones: swarmFor(server, size.many, 1) }));

  if (wanted.has("connect")) {
    report.connect = await connectCost(pairs, { count: size.connects, repetitions: size.repetitions, atOnce: AT_ONCE }, say);
    save();
  }
  report.memory = await memory(pairs, { few: size.few, many: size.many, idleS: wanted.has("memory") ? size.idleS : 0 }, say, progress);
  save();
  const asking = pairs.filter(({ server }) => server.portals).map((pair) => ({ ...pair, portals: portalsFor(pair.server, size.many) }));
  for (const { portals } of asking) await portals.open();
  report.random = await logins(nanopush, asking[0].portals, { count: size.many, total: 1000, rate: 200, verify: true });
  report.heartbeat_us = await heartbeatCost(pairs, { repetitions: size.repetitions }, say);
  save();
  if (wanted.has("logins")) {
    const how = { count: size.many, repetitions: size.repetitions };
    report.logins_200 = await loginsSideBySide(asking, { ...how, total: size.total, rate: 200 }, say);
    report.logins_2000 = await loginsSideBySide(asking, { ...how, total: size.fast, rate: 2000 }, say);
    report.logins_most = await loginsSideBySide(asking, { ...how, total: size.fast, rate: 0 }, say);
    save();
  }
  if (wanted.has("storm")) {
    report.cut = await cutStorm(pairs, { repetitions: given.short ? 1 : 2 }, progress);
    report.cut_while_asked = await cutWhileAsked(asking[0], { count: size.many }, progress);
    report.killed = await killed(asking[0], progress);
    save();
  }
}

/** The broker alone, with many workers, from few phones to very many. */
async function growth() {
  const most = Math.max(...size.sizes);
  const server = await started(new Nanopush(path.join(state, "many"), { workers: size.workers }));
  const enrolled = await server.enrol(most, (done) => progress(`enrolled ${done} of ${most}`));
  say(`enrolled ${most} phones: ${enrolled.per_s}/s`);
  const phones = swarmFor(server, most);
  const portals = portalsFor(server, most);
  await portals.open();
  report.growth = [];
  for (const count of size.sizes) {
    const { ms } = await phones.connect(count, { atOnce: 256, onProgress: ({ ready }) => progress(`${ready} of ${count} phones`) });
    await pause(2000);
    const row = { phones: count, connect_s: ms / 1000, user_bytes: pssBytes(server.pids), redis_bytes: await server.redisBytes() };
    row.random = await logins(server, portals, { count, total: 1000, rate: 200, verify: true });
    row.most = await logins(server, portals, { count, total: size.fast, rate: 0 });
    report.growth.push(row);
    say(`${count} phones: ${row.random.approved} of 1000 answered, p50 ${row.random.p50_us} us, p99 ${row.random.p99_us} us; ${row.most.per_s}/s, ${Math.round(row.most.cpu_us + row.most.redis_cpu_us)} us of CPU a login`);
    save();
  }
  if (wanted.has("storm")) {
    report.growth_cut = await cutWhileAsked({ server, phones, portals }, { count: most, seconds: 30 }, progress);
    report.growth_killed = await killed({ server, phones }, progress);
    save();
  }
}

try {
  if (["connect", "memory", "logins", "storm"].some((part) => wanted.has(part))) await sideBySide();
  await stopAll();
  if (wanted.has("growth")) await growth();
} finally {
  await stopAll();
  rmSync(scratch, { recursive: true, force: true });
}
report.seconds = Math.round((Date.now() - began) / 1000);
save();
process.stdout.write(table(report));
say(`${path.join(given.out, "report.{json,txt,svg}")}`);
