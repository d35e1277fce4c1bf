// What the broker may do on its machine: as root it becomes a user, and in any case no process of it has a capability left, or
// can get one.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { describe, test } from "node:test";

import { Broker, eventually, NANOPUSHD, runProgram } from "./harness.mjs";
import { login, Portal } from "./portal.mjs";

const asRoot = process.getuid() === 0;
const NOBODY = 65534; // Debian's

/** Fields of /proc/PID/status, of every process of the broker's. */
const statuses = (broker) => broker.processes().map(({ pid, name }) => ({
  name,
  ...Object.fromEntries(readFileSync(`/proc/${pid}/status`, "utf8").split("\n").map((line) => line.split(/:\s+/))),
}));

function hasNothing(broker, uid) {
  const all = statuses(broker);
  assert.ok(all.length >= 4, "master, worker, ops and Redis");
  for (const { name, Uid, Gid, CapPrm, CapEff, CapInh, CapAmb, NoNewPrivs } of all) {
    assert.deepEqual(Uid.split("\t").map(Number), [uid, uid, uid, uid], `${name}: real, effective, saved, file system`);
    if (uid) assert.equal(new Set(Gid.split("\t")).size, 1, name);
    for (const set of [CapPrm, CapEff, CapInh, CapAmb]) assert.match(set, /^0+$/, name);
    assert.equal(NoNewPrivs, "1", name);
  }
  return all;
}

describe("privileges", () => {
  test("whoever starts it: no capability, and none to be had", async (t) => {
    const broker = new Broker();
    t.after(() => broker.stop());
    await broker.start();
    const all = hasNothing(broker, process.getuid());
    if (asRoot) {
      assert.match(broker.log(), /level=info .*event=runs-as-root advice=/);
      for (const { name, CapBnd } of all) assert.match(CapBnd, /^0+$/, name);
    }
    await login(await Portal.create(broker));
  });

  test("as root: it becomes the user, whose the new data directory is, with a port below 1024; restarts do, too", { skip: !asRoot }, async (t) => {
    const broker = new Broker({ user: "nobody", stats_listen: "127.0.0.1:741" });
    chmodSync(broker.root, 0o755);
    t.after(() => broker.stop());
    await broker.start();
    assert.equal(statSync(broker.dataDir).uid, NOBODY);
    hasNothing(broker, NOBODY);
    const groups = new Set(statuses(broker).map(({ Groups }) => Groups?.trim()));
    assert.deepEqual([...groups], [execFileSync("id", ["-G", "nobody"], { encoding: "utf8" }).trim()]);
    const portal = await Portal.create(broker);
    await login(portal);
    const { pid } = JSON.parse((await broker.stats("/stats.json")).body).workers[0];
    process.kill(pid, "SIGKILL");
    await eventually(10_000, "a new worker", async () => {
      const { pid: now, ready } = JSON.parse((await broker.stats("/stats.json")).body).workers[0];
      return now !== pid && ready;
    });
    hasNothing(broker, NOBODY);
    await login(portal);
    await broker.stop({ keep: true });
    await broker.start();
    hasNothing(broker, NOBODY);
  });

  test("a user that there is not, or whose the data directory is not", { skip: !asRoot }, (t) => {
    const broker = new Broker({ user: "no-such-user" });
    t.after(() => rmSync(broker.root, { recursive: true }));
    assert.match(runProgram("--config", broker.configFile).stderr, /user: no-such-user: no such user/);
    broker.configure({ user: "nobody", data_dir: broker.root });
    assert.match(runProgram("--config", broker.configFile).stderr, /must belong to this user|Permission denied/);
  });

  test("who is not root cannot become another", { skip: !asRoot }, (t) => {
    const nobody = (...command) => spawnSync("setpriv", [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", ...command], {
      encoding: "utf8", cwd: tmpdir(), env: { PATH: process.env.PATH, NANOPUSH_USER: "daemon" },
    });
    if (nobody("test", "-x", NANOPUSHD).status !== 0) t.skip("nobody cannot reach the program");
    else assert.match(nobody(NANOPUSHD, "--data", "/nonexistent/x").stderr, /user: daemon: only who is started as root can/);
  });
});
