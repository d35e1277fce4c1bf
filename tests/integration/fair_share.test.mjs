// Workers accept from one socket: each leaves connections to the others while it has more than its share, and a worker that
// is stopped holds up nobody.
import assert from "node:assert/strict";
import net from "node:net";
import { after, before, test } from "node:test";

import { Broker, eventually } from "./harness.mjs";

const CROWD = 400;
const MOST = CROWD / 2 + CROWD / 2 / 16 + 16 + 1; // of one of two workers
const broker = new Broker({ workers: 2, unauthenticated_max: 2 * CROWD, handshake_timeout_ms: 60_000 });
before(() => broker.start());
after(() => broker.stop());

const workers = async () => JSON.parse((await broker.stats("/stats.json")).body).workers;
const counts = async () => (await workers()).map(({ connections }) => connections);
const sum = (list) => list.reduce((a, b) => a + b, 0);

/** So many connections that say nothing, once workers have taken all of them. */
async function crowd(count) {
  const before = sum(await counts());
  const sockets = await Promise.all(Array.from({ length: count }, () => new Promise((resolve, reject) => {
    const socket = net.connect({ host: "127.0.0.1", port: broker.ports.device });
    broker.onStop(() => socket.destroy());
    socket.once("connect", () => resolve(socket));
    socket.on("error", reject);
  })));
  await eventually(10_000, `all of ${count} are accepted`, async () => sum(await counts()) === before + count);
  return sockets;
}

async function leave(sockets) {
  for (const socket of sockets) socket.destroy();
  await eventually(10_000, "all have left", async () => sum(await counts()) === 0);
}

test("many at once are spread over the workers", async () => {
  const sockets = await crowd(CROWD);
  const now = await counts();
  assert.ok(Math.max(...now) <= MOST, `${now}`);
  await leave(sockets);
});

test("a worker that is stopped leaves all to the other; once it is back, what comes is its own", async () => {
  const [, { pid }] = await workers();
  let sockets;
  process.kill(pid, "SIGSTOP");
  try {
    sockets = await crowd(CROWD / 2); // also while its last sign of life is still fresh
    assert.deepEqual(await counts(), [CROWD / 2, 0]);
  } finally {
    process.kill(pid, "SIGCONT");
  }
  await eventually(10_000, "it is back", async () => (await broker.stats("/readyz")).status === 200);
  const more = await crowd(CROWD / 2);
  const now = await counts();
  assert.ok(Math.max(...now) <= MOST, `${now}`);
  const metrics = await broker.metrics();
  assert.ok(metrics['nanopush_accept_pauses_total{limit="share"}'] > 0);
  await leave([...sockets, ...more]);
});
