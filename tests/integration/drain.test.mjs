// nanopush drain: everybody is sent elsewhere, the broker stays, and comes back when it is told to; and what the service
// manager is told of all that.
import assert from "node:assert/strict";
import { execFile, execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";

import { Code } from "@connectrpc/connect";

import { GoAway_Reason } from "../../build/gen-js/nanopush/v1/device_pb.js";
import { Broker, eventually, NANOPUSHD, within } from "./harness.mjs";
import { login, Portal } from "./portal.mjs";

const NANOPUSH = path.join(path.dirname(NANOPUSHD), "nanopush");
const PHONES = 12;
const RETURN_MAX_MS = 10_000;

/** What a service manager hears: lines of datagrams, on a socket below the broker's directory. */
function startManager(broker) {
  const name = path.join(broker.root, "notify");
  const script = `use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die $!;
    $| = 1; while (defined $s->recv(my $said, 4096)) { print "$said\\n"; }`;
  const manager = spawn("perl", ["-e", script, name], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => manager.on("exit", resolve));
  let heard = "";
  manager.stdout.on("data", (part) => (heard += part));
  broker.environment.NOTIFY_SOCKET = name;
  return {
    name,
    heard: () => heard.split("\n"),
    stop: () => manager.kill() && ended,
  };
}

describe("nanopush drain", () => {
  const broker = new Broker({ workers: 2, drain_s: 2 });
  const nanopush = (...args) => promisify(execFile)(NANOPUSH, [...args, "--data", broker.dataDir], { encoding: "utf8" });
  let manager;
  let portal;
  let enrolled;
  before(async () => {
    manager = startManager(broker);
    await eventually(5000, "the manager listens", () => existsSync(manager.name));
    await broker.start();
    portal = await Portal.create(broker);
  });
  after(async () => {
    await manager.stop();
    await broker.stop();
  });

  test("everybody is sent away with a time of their own, calls are handed back, and the command tells how far it is", async () => {
    const phones = await Promise.all(Array.from({ length: PHONES }, () => portal.connected()));
    [enrolled] = phones;
    const { user, phone, connection } = enrolled;
    const { id } = await portal.ask(user);
    await phone.nextPush(connection);
    const following = portal.follow(id);
    await following.until("pending", () => true);
    const handedBack = assert.rejects(following.end(), (error) => error.code === Code.Unavailable);

    const drained = nanopush("drain");
    const goAways = await Promise.all(phones.map(({ connection: each }) => each.next("goAway")));
    assert.ok(goAways.every(({ reason, returnAfterMs }) => reason === GoAway_Reason.DRAINING && returnAfterMs < RETURN_MAX_MS));
    assert.ok(new Set(goAways.map(({ returnAfterMs }) => returnAfterMs)).size > PHONES / 2, "they do not return at once");
    await handedBack;
    assert.equal((await broker.stats("/readyz")).status, 503);
    const { stdout } = await within(10_000, "the command ends", drained);
    const steps = stdout.trim().split("\n");
    assert.match(steps[0], /^draining: \d+ connections of phones/);
    assert.equal(steps.at(-1), "drained: 0 connections of phones, 0 of portals");
    assert.match(broker.log(), /event=drain-ordered wish=drain by=.*administrator, uid \d+/);
    assert.match(broker.log(), /event=drain-progress devices=\d+ portals=\d+ left_ms=/);
    await eventually(5000, "no health check finds it ready", () => !existsSync(broker.portsFile));
    const metrics = await broker.metrics();
    assert.equal(metrics['nanopush_workers_leaving{state="drained"}'], 2);
  });

  test("who comes meanwhile is turned away at once, and does not wait for nothing", async () => {
    await assert.rejects(enrolled.phone.connect(), (error) => !/not within/.test(error.message));
    await assert.rejects(within(2000, "the connection ends", portal.post("ChallengeService/GetChallenge", { id: "x" })), (error) => error.code === "ECONNRESET");
  });

  test("a worker that is started anew stays away too", async () => {
    const started = () => broker.log().split("\n").filter((line) => /process=worker-1 .*event=drained/.test(line)).length;
    const had = started();
    const { pid } = JSON.parse((await broker.stats("/stats.json")).body).workers[0];
    process.kill(pid, "SIGKILL");
    await eventually(10_000, "the new one has drained", () => started() > had);
    assert.equal((await broker.stats("/readyz")).status, 503);
  });

  test("--undo: it serves again", async () => {
    const { stdout } = await within(10_000, "the command ends", nanopush("drain", "--undo", "--json"));
    assert.equal(JSON.parse(stdout.trim().split("\n").at(-1)).state, "DRAIN_STATE_SERVING");
    await eventually(5000, "it is ready", async () => existsSync(broker.portsFile) && (await broker.stats("/readyz")).status === 200);
    await login(portal);
    assert.match((await nanopush("drain", "--undo")).stdout, /^serving: /);
  });

  test("the service manager hears of readiness, of a reload from its beginning to its end, and of the drain", async () => {
    await eventually(5000, "serving again", () => manager.heard().filter((line) => line === "STATUS=serving").length >= 2);
    const before = manager.heard().length;
    broker.signal("SIGHUP");
    await eventually(5000, "reloaded", () => manager.heard().slice(before).includes("READY=1"));
    const [reloading, at, ready] = manager.heard().slice(before - 1);
    assert.equal(reloading, "RELOADING=1");
    assert.match(at, /^MONOTONIC_USEC=\d+$/);
    assert.equal(ready, "READY=1");
    assert.ok(manager.heard().some((line) => line.startsWith("STATUS=drained")));
  });

  test("SIGTERM ends one that is drained, at once", async () => {
    execFileSync(NANOPUSH, ["drain", "--data", broker.dataDir]);
    broker.signal("SIGTERM");
    assert.equal(await within(3000, "it ends", broker.exited), 0);
    assert.ok(!/event=(drain-cut|children-killed)/.test(broker.log()));
    await eventually(2000, "the manager hears", () => manager.heard().includes("STOPPING=1"));
  });
});
