// nanopush stats and nanopush top, seen on a real terminal: tmux is it, and says what its screen shows.
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";

import { Broker, eventually, NANOPUSHD } from "../integration/harness.mjs";
import { login, Portal } from "../integration/portal.mjs";

const NANOPUSH = path.join(path.dirname(NANOPUSHD), "nanopush");
const broker = new Broker({ workers: 2 });
const DATA = ["--data", broker.dataDir];
let portal;

before(async () => {
  await broker.start();
  portal = await Portal.create(broker);
});
after(() => broker.stop());

const run = (...args) => spawnSync(NANOPUSH, [...args, ...DATA], { encoding: "utf8", input: "", timeout: 20_000 });

/** A terminal with a shell in it. */
async function terminal(t, { columns = 100, rows = 40, environment = "" } = {}) {
  const socket = path.join(broker.root, `tmux-${Math.random().toString(36).slice(2)}`);
  const tmux = async (...args) => (await promisify(execFile)("tmux", ["-S", socket, "-f", "/dev/null", ...args])).stdout;
  await tmux("new-session", "-d", "-x", String(columns), "-y", String(rows), `env -u NO_COLOR ${environment} PS1='shell> ' sh`);
  t.after(() => tmux("kill-server").catch(() => {}));
  const screen = (...more) => tmux("capture-pane", "-p", ...more);
  const type = (text) => tmux("send-keys", text, "Enter");
  const state = async () => (await tmux("display-message", "-p", "alternate=#{alternate_on} cursor=#{cursor_flag} pid=#{pane_pid}")).trim();
  const shows = (pattern, ms = 10_000) => eventually(ms, `${pattern} on the terminal`, async () => pattern.exec(await screen()));
  const press = (key) => tmux("send-keys", key);
  await shows(/shell>/);
  return { tmux, screen, type, state, shows, press };
}

/** Type the command, and wait until it has painted. */
async function startTop(on, prefix = "") {
  await on.type(`clear; echo before-top; ${prefix}'${NANOPUSH}' top --data '${broker.dataDir}'; echo "ended=$?"`);
  await on.shows(/^nanopush \S+ +\d\d:\d\d:\d\d +logins work/m);
  assert.match(await on.state(), /alternate=1 cursor=0/);
}

/** The screen that was there before, its cursor, and keys that are shown again. */
async function assertRestored(on) {
  await on.shows(/before-top/);
  await eventually(5000, "the terminal as it was", async () => /alternate=0 cursor=1/.test(await on.state()));
  assert.doesNotMatch(await on.screen(), /logins work/);
  await on.type("stty -a | tr ' ;' '\\n\\n' | grep -cxE 'icanon|echo|ixon'");
  await on.shows(/^3$/m);
}

const topPid = async (on) => {
  const [, shell] = /pid=(\d+)/.exec(await on.state());
  return eventually(5000, "nanopush top's process", () => Number(spawnSync("ps", ["-o", "pid=,args=", "--ppid", shell], { encoding: "utf8" })
    .stdout.split("\n").find((line) => / top /.test(line))?.trim().split(" ")[0]));
};

describe("nanopush stats", () => {
  test("prints what the broker did, and is done", async () => {
    const { connection } = await portal.connected();
    await login(portal);
    const shown = await eventually(5000, "the login is counted", () => {
      const { status, stdout } = run("stats");
      assert.equal(status, 0);
      return /approved 1,/.test(stdout) && stdout;
    });
    assert.match(shown, /^nanopush \S+ +\d\d:\d\d:\d\d +logins work\n/);
    assert.match(shown, /^phones connected +\d+ /m);
    assert.match(shown, /^portal asks, is accepted +[\d.]+ (us|ms) +[\d.]+ (us|ms|s)/m);
    assert.match(shown, /^worker 2 +works/m);
    assert.match(shown, /^redis +answers/m);
    assert.doesNotMatch(shown, /\x1b/, "no colour where there is no terminal");
    connection.destroy();
  });

  test("--json is all of /stats.json, on one line", () => {
    const { stdout } = run("stats", "--json");
    assert.equal(stdout.trim().split("\n").length, 1);
    const { ready, workers, metrics } = JSON.parse(stdout);
    assert.equal(ready, true);
    assert.equal(workers.length, 2);
    assert.ok(metrics.nanopush_challenges_settled_total);
  });

  test("no broker there: 1, and why", () => {
    const { status, stderr } = spawnSync(NANOPUSH, ["stats", "--data", broker.root], { encoding: "utf8" });
    assert.equal(status, 1);
    assert.match(stderr, /cannot read the broker's addresses from/);
  });
});

describe("nanopush top", () => {
  test("is refused where standard output is no terminal", () => {
    const { status, stdout, stderr } = run("top");
    assert.equal(status, 2);
    assert.equal(stdout, "");
    assert.match(stderr, /needs a terminal.*nanopush stats/);
  });

  test("shows the figures, moves, and q gives the terminal back", async (t) => {
    const on = await terminal(t);
    await startTop(on);
    const approved = async () => Number(/approved (\d+)/.exec(await on.screen())[1]);
    const had = await approved();
    await login(portal);
    await eventually(10_000, "one login more", async () => (await approved()) === had + 1);
    const screen = await on.screen();
    for (const part of [/^LATENCY, last minute +p50 +p99$/m, /^PROCESS +STATE +PHONES/m, /^worker 1 +works/m, /^RECENT$/m]) assert.match(screen, part);
    assert.match(await on.screen("-e"), /\x1b\[32mlogins work/, "in colour");
    await on.press("q");
    await assertRestored(on);
    await on.shows(/^ended=0$/m);
  });

  test("fits the terminal that it is on, also when that changes", async (t) => {
    const on = await terminal(t, { columns: 100, rows: 40 });
    await startTop(on);
    await on.tmux("resize-window", "-x", "50", "-y", "12");
    const small = await eventually(5000, "twelve lines", async () => {
      const lines = (await on.screen()).trimEnd().split("\n");
      return lines.length === 12 && lines;
    });
    assert.match(small[0], /^nanopush/, "the most urgent stays");
    assert.ok(small.every((line) => line.length <= 50));
    await on.tmux("resize-window", "-x", "120", "-y", "50");
    await on.shows(/RECENT/);
    await on.press("q");
  });

  test("NO_COLOR: without colours", async (t) => {
    const on = await terminal(t);
    await startTop(on, "NO_COLOR=1 ");
    assert.doesNotMatch(await on.screen("-e"), /\x1b\[[\d;]*3[1-7]m/);
    await on.press("q");
  });

  for (const [name, end, status] of [
    ["Ctrl-C", (on) => on.press("C-c"), 130],
    ["SIGTERM", async (on) => process.kill(await topPid(on), "SIGTERM"), 143],
    ["SIGHUP", async (on) => process.kill(await topPid(on), "SIGHUP"), 129],
  ])
    test(`${name} ends it, and the terminal is as it was`, async (t) => {
      const on = await terminal(t);
      await startTop(on);
      await end(on);
      await assertRestored(on);
      if (status !== 130) await on.shows(new RegExp(`^ended=${status}$`, "m")); // sh itself ends a line by Ctrl-C
    });

  test("Ctrl-Z stops it with the terminal as it was; fg, and it is back", async (t) => {
    const on = await terminal(t);
    await on.type("set -m; echo ready");
    await on.shows(/^ready$/m);
    await startTop(on);
    await on.press("C-z");
    await assertRestored(on);
    await on.type("fg");
    await on.shows(/logins work/);
    await eventually(5000, "its own screen again", async () => /alternate=1 cursor=0/.test(await on.state()));
    await on.press("q");
    await assertRestored(on);
  });

  test("a worker that is stopped, and a broker that does not answer, are said", async (t) => {
    const on = await terminal(t, { columns: 140 });
    await startTop(on);
    const { workers } = JSON.parse((await broker.stats("/stats.json")).body);
    process.kill(workers[1].pid, "SIGSTOP");
    try {
      await on.shows(/NOT READY\nworker 2 stopped or saturated since/);
    } finally {
      process.kill(workers[1].pid, "SIGCONT");
    }
    await on.shows(/logins work/, 15_000);
    const known = [broker.child.pid, ...workers.map(({ pid }) => pid)];
    const ops = broker.processes().find(({ pid, command }) => command.includes(broker.configFile) && !known.includes(pid)).pid;
    process.kill(ops, "SIGSTOP");
    try {
      await on.shows(/the stats port does not answer: /);
      await on.press("q");
      await assertRestored(on);
    } finally {
      process.kill(ops, "SIGCONT");
    }
  });
});
