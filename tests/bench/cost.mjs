// What a login costs in counts, which a busy machine does not change: commands of Redis (those inside scripts
// included), scripts, and what the worker sent. One worker, its own Redis, 200 phones, one login after the other.
//
//   node tests/bench/cost.mjs [--workers N] [--logins N]
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";

import { Broker } from "../integration/harness.mjs";
import { cpuUs, redisFigure, treeOf } from "./proc.mjs";
import { Phones, Portals, enrolFleet, makeFleet } from "./swarm.mjs";

const { values: given } = parseArgs({ options: { workers: { type: "string", default: "1" }, logins: { type: "string", default: "1000" } } });
const PHONES = 200;
const total = Number(given.logins);

/** {command: calls} so far, and "scripts", those that were called from outside. */
function commands(socket) {
  const { stdout } = spawnSync("redis-cli", ["-s", socket, "INFO", "commandstats"], { encoding: "utf8" });
  return Object.fromEntries([...stdout.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)].map(([, name, calls]) => [name, Number(calls)]));
}

const broker = new Broker({ workers: Number(given.workers), log_level: "warn" });
await broker.start();
try {
  const redis = `${broker.dataDir}/redis/redis.sock`;
  await broker.admin("AdminService/CreateOrganisation", { organisation: { id: "org" } });
  const { credential } = await broker.admin("AdminService/CreatePortal", { portal: { id: "portal", organisation: "org", modes: ["MODE_TAP"], scopes: ["SCOPE_CHALLENGE", "SCOPE_ENROL"] } });
  const file = `${broker.root}/fleet`;
  makeFleet({ file, count: PHONES, organisation: "org", credential, pin: broker.pin });
  const [device, portal] = [`127.0.0.1:${broker.ports.device}`, `127.0.0.1:${broker.ports.portal}`];
  await enrolFleet({ file, count: PHONES, device, portal });
  const phones = new Phones({ protocol: "nanopush", address: device, count: PHONES, file });
  const portals = new Portals({ protocol: "nanopush", address: portal, atOnce: 1, count: PHONES, file });
  await phones.connect(PHONES);
  await portals.open();
  await portals.logins({ count: PHONES, total: PHONES });
  const redisPid = await redisFigure(redis, "process_id");
  const pids = treeOf(broker.child.pid).filter((pid) => pid !== redisPid);
  const before = { redis: commands(redis), metrics: await broker.metrics(), cpu: cpuUs(pids), redisCpu: cpuUs([redisPid]) };
  const { approved, latency } = await portals.logins({ count: PHONES, total });
  const after = { redis: commands(redis), metrics: await broker.metrics(), cpu: cpuUs(pids), redisCpu: cpuUs([redisPid]) };
  const each = (a, b) => Object.entries(b).map(([name, n]) => [name, (n - (a[name] ?? 0)) / total]).filter(([, n]) => n >= 0.05).sort((x, y) => y[1] - x[1]);
  const redisEach = each(before.redis, after.redis);
  console.log(`${approved} of ${total} logins approved, p50 ${latency.p50_us} us; CPU us each: broker ${Math.round((after.cpu - before.cpu) / total)}, Redis ${Math.round((after.redisCpu - before.redisCpu) / total)}`);
  console.log(`commands of Redis a login: ${redisEach.reduce((sum, [, n]) => sum + n, 0).toFixed(1)}`);
  console.log(redisEach.map(([name, n]) => `${name} ${n.toFixed(1)}`).join(", "));
  console.log(`store commands a login: ${((after.metrics.nanopush_store_commands_total - before.metrics.nanopush_store_commands_total) / total).toFixed(2)}`);
  await portals.stop();
  await phones.stop();
} finally {
  await broker.stop();
}
