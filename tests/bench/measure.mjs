// One measurement a function. Each takes servers that run (peers.mjs) and phones that are connected to them
// (swarm.mjs), and returns figures; what is compared runs interleaved, several times, and keeps its spread.
import { pause } from "../integration/harness.mjs";
import { cpuUs, kernelBytes, pssBytes } from "./proc.mjs";

const SETTLE_MS = 400;

/** Median of the figures, with the least and the greatest. */
export function spread(figures) {
  const sorted = figures.filter((figure) => figure !== null).sort((a, b) => a - b);
  if (sorted.length === 0) return null;
  return { median: sorted[Math.floor(sorted.length / 2)], min: sorted[0], max: sorted[sorted.length - 1], of: sorted.length };
}

/** What the server and its Redis used of the CPU while work() ran and a moment after, in microseconds. */
async function used(server, work) {
  const [pids, redis] = [server.pids, server.redisPids];
  const before = [cpuUs(pids), cpuUs(redis)];
  const result = await work();
  await pause(SETTLE_MS);
  return { result, server: cpuUs(pids) - before[0], redis: cpuUs(redis) - before[1] };
}

async function connectOnce({ server, phones }, count, atOnce, resumed) {
  await phones.resume(resumed);
  if (resumed) { // one round for the tickets
    await phones.connect(count, { atOnce });
    await phones.connect(0);
    await pause(SETTLE_MS);
  }
  const { result, server: cpu, redis } = await used(server, () => phones.connect(count, { atOnce }));
  await phones.connect(0);
  await pause(SETTLE_MS);
  if (result.failed) throw new Error(`${server.name}: ${result.failed} connects failed: ${result.last_failure}`);
  return { cpu_us: cpu / count, redis_us: redis / count, per_s: count / (result.ms / 1000), resumed: result.resumed === count };
}

/** CPU of a server for a connect, full and resumed, in microseconds; resumed null where it does not. */
export async function connectCost(pairs, { count, repetitions, atOnce = 64 }, say) {
  const runs = new Map(pairs.map(({ server }) => [server.name, { full: [], full_redis: [], resumed: [], per_s: [] }]));
  for (let i = 0; i < repetitions; i++)
    for (const pair of pairs) {
      const run = runs.get(pair.server.name);
      const full = await connectOnce(pair, count, atOnce, false);
      const resumed = await connectOnce(pair, count, atOnce, true);
      run.full.push(full.cpu_us);
      run.full_redis.push(full.redis_us);
      run.per_s.push(full.per_s);
      run.resumed.push(resumed.resumed ? resumed.cpu_us : null);
      say(`connect ${i + 1}/${repetitions} ${pair.server.name}: ${Math.round(full.cpu_us)} us full, ${resumed.resumed ? Math.round(resumed.cpu_us) : "no"} us resumed`);
    }
  return Object.fromEntries([...runs].map(([name, run]) => [name, {
    full_us: spread(run.full), full_redis_us: spread(run.full_redis), resumed_us: spread(run.resumed), per_s: spread(run.per_s),
  }]));
}

async function memoryOf(server) {
  return { user: pssBytes(server.pids), redis: await server.redisBytes() };
}

/**
 * Bytes that a phone costs, as the slope between few and many of them: of the server, after all idled together; of the
 * kernel, both ends of the socket; of Redis.
 */
export async function memory(pairs, { few, many, idleS, atOnce = 128 }, say, progress) {
  const slopes = {};
  const before = new Map();
  for (const { server, phones } of pairs) {
    await phones.resume(false);
    await phones.connect(few, { atOnce });
    await pause(SETTLE_MS);
    const start = { ...(await memoryOf(server)), kernel: kernelBytes() };
    const { ms } = await phones.connect(many, { atOnce, onProgress: ({ ready }) => progress(`${server.name}: ${ready} of ${many} phones`) });
    await pause(SETTLE_MS);
    before.set(server.name, start);
    slopes[server.name] = { kernel: Math.round((kernelBytes() - start.kernel) / (many - few)), at_once: (await memoryOf(server)).user, connect_s: ms / 1000 };
  }
  say(`idle for ${idleS} s`);
  await pause(idleS * 1000);
  for (const { server, phones } of pairs) {
    const after = await memoryOf(server);
    const start = before.get(server.name);
    const { at_once: atOnceUser, ...slope } = slopes[server.name];
    slopes[server.name] = {
      user: Math.round((after.user - start.user) / (many - few)),
      user_before_idling: Math.round((atOnceUser - start.user) / (many - few)),
      ...slope,
      redis: Math.round((after.redis - start.redis) / (many - few)),
      still_there: (await phones.status()).ready,
    };
    say(`${server.name}: ${slopes[server.name].user} bytes a phone`);
  }
  return slopes;
}

/** Logins at a rate (0: as fast as they go): time and CPU of each. */
export async function logins(server, portals, { count, total, rate, verify = false }) {
  const { result, server: cpu, redis } = await used(server, () => portals.logins({ count, total, rate, verify }));
  const { approved, verified, failed, ms, latency } = result;
  return {
    asked: total, approved, verified, failed, last_failure: result.last_failure, p50_us: latency.p50_us, p99_us: latency.p99_us, max_us: latency.max_us,
    per_s: Math.round(approved / (ms / 1000)), cpu_us: cpu / total, redis_cpu_us: redis / total,
  };
}

/** The same, interleaved over servers and repeated: {name: {figure: spread}}. */
export async function loginsSideBySide(sides, { repetitions, ...how }, say) {
  const runs = new Map(sides.map(({ server }) => [server.name, []]));
  for (let i = 0; i < repetitions; i++)
    for (const { server, portals } of sides) {
      const run = await logins(server, portals, how);
      runs.get(server.name).push(run);
      say(`logins ${how.rate ? `at ${how.rate}/s` : "64 outstanding"} ${i + 1}/${repetitions} ${server.name}: p50 ${run.p50_us} us, p99 ${run.p99_us} us, ${Math.round(run.cpu_us + run.redis_cpu_us)} us of CPU, ${run.per_s}/s, ${run.failed} failed`);
    }
  const names = ["p50_us", "p99_us", "per_s", "cpu_us", "redis_cpu_us", "failed"];
  return Object.fromEntries([...runs].map(([server, list]) => [server, Object.fromEntries(names.map((name) => [name, spread(list.map((run) => run[name]))]))]));
}

/** CPU of a server for one sign of life, in microseconds. */
export async function heartbeatCost(pairs, { repetitions }, say) {
  const runs = new Map(pairs.map(({ server }) => [server.name, []]));
  for (let i = 0; i < repetitions; i++)
    for (const { server, phones } of pairs) {
      const { result, server: cpu } = await used(server, () => phones.ping());
      runs.get(server.name).push(cpu / result.pongs);
    }
  say(`heartbeats: ${[...runs].map(([name, list]) => `${name} ${spread(list).median.toFixed(1)} us`).join(", ")}`);
  return Object.fromEntries([...runs].map(([name, list]) => [name, spread(list)]));
}

/** All links cut at once: seconds until 99 % and all are back, interleaved. */
export async function cutStorm(pairs, { repetitions }, progress) {
  const runs = new Map(pairs.map(({ server }) => [server.name, { back99: [], all: [] }]));
  for (let i = 0; i < repetitions; i++)
    for (const { server, phones } of pairs) {
      const { ms, back99_ms: back99 } = await phones.cut(({ ready, wanted }) => progress(`${server.name}: ${ready} of ${wanted} are back`));
      runs.get(server.name).back99.push(back99 / 1000);
      runs.get(server.name).all.push(ms / 1000);
      await pause(SETTLE_MS);
    }
  return Object.fromEntries([...runs].map(([name, { back99, all }]) => [name, { back99_s: spread(back99), all_s: spread(all) }]));
}

/** The same for the broker while portals go on asking. */
export async function cutWhileAsked({ server, phones, portals }, { count, rate = 50, seconds = 10 }, progress) {
  const asked = logins(server, portals, { count, total: rate * seconds, rate, verify: true });
  const { ms, back99_ms: back99 } = await phones.cut(({ ready, wanted }) => progress(`${server.name}: ${ready} of ${wanted} are back`));
  return { phones: count, back99_s: back99 / 1000, all_s: ms / 1000, logins: await asked };
}

/** The broker killed by -9 and started again at once. */
export async function killed({ server, phones }, progress) {
  await phones.mark();
  await server.kill();
  const back = phones.back(({ ready, wanted }) => progress(`${server.name}: ${ready} of ${wanted} are back`));
  await server.start();
  const { ms, back99_ms: back99, failed } = await back;
  return { back99_s: back99 / 1000, all_s: ms / 1000, refused_connects: failed };
}
