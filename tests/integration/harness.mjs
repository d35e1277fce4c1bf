// Starts the real broker, with its own embedded Redis, in a directory of its own on ports of its own, and holds it to
// its word when it stops: in time, nobody left behind, nothing for a sanitizer to say.
//
// Environment: NANOPUSHD (the program; else build/nanopushd), NANOPUSH_SLOW=1 (doubles every deadline),
// TEST_LOGS (where the brokers' logs go; else test-logs/ beside the program).
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import {
  chmodSync, closeSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, readlinkSync,
  rmSync, statSync, writeFileSync,
} from "node:fs";
import http from "node:http";
import https from "node:https";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { sha256 } from "../vectors/inputs.mjs";

export const NANOPUSHD = path.resolve(
  process.env.NANOPUSHD ?? fileURLToPath(new URL("../../build/nanopushd", import.meta.url)),
);
const SLOWER = process.env.NANOPUSH_SLOW === "1" ? 2 : 1;
const STOP_MS = 10_000;
const START_MS = 15_000;
const POLL_MS = 20;
const FILE_MS = 300_000;
const SANITIZER = /ERROR: AddressSanitizer|runtime error|LeakSanitizer/;

export const deadline = (ms) => ms * SLOWER;

// A test that waits for what will not come ends its file, instead of the whole run's day.
setTimeout(() => {
  console.error(`${process.argv[1]}: not at its end after ${deadline(FILE_MS)} ms`);
  process.exit(1);
}, deadline(FILE_MS)).unref();

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The promise's outcome, or an error that says what did not happen in time. */
export async function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${deadline(ms)} ms: ${what}`)), deadline(ms));
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Ask until the answer is true (or a value); what it last said goes into the error. */
export async function eventually(ms, what, ask) {
  const end = Date.now() + deadline(ms);
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`not within ${deadline(ms)} ms: ${what}`);
    await pause(POLL_MS);
  }
}

/** Run the broker's program to its end. */
export const runProgram = (...args) =>
  spawnSync(NANOPUSHD, args, { encoding: "utf8", timeout: deadline(START_MS), stdio: ["ignore", "pipe", "pipe"] });

const readProc = (pid, file) => {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return "";
  }
};

const readLink = (pid, link) => {
  try {
    return readlinkSync(`/proc/${pid}/${link}`);
  } catch {
    return "";
  }
};

const descriptorsOf = (pid) => {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((descriptor) => readLink(pid, `fd/${descriptor}`));
  } catch {
    return [];
  }
};

/** Live processes that name the directory in their arguments or work in it. */
function processesOf(directory) {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map((entry) => ({
      pid: Number(entry),
      command: readProc(entry, "cmdline").replaceAll("\0", " ").trim(),
      cwd: readLink(entry, "cwd"),
      stat: readProc(entry, "stat").replace(/^.*\) /s, "").split(" "),
    }))
    .filter(({ command, cwd, stat }) =>
      stat[0] !== "Z" && (command.includes(directory) || cwd === directory || cwd.startsWith(`${directory}/`)))
    .map(({ pid, command, stat }) => ({ pid, command, parent: Number(stat[1]), name: readProc(pid, "comm").trim() }));
}

/** One HTTP exchange: status, headers, body as text. Connections are not kept. */
export function exchange({ tls = false, method = "GET", body, ...options }) {
  return new Promise((resolve, reject) => {
    const request = (tls ? https : http).request({ method, agent: false, timeout: deadline(70_000), ...options }, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("error", reject);
      response.on("end", () => resolve({
        status: response.statusCode,
        headers: response.headers,
        body: Buffer.concat(parts).toString(),
      }));
    });
    request.on("timeout", () => request.destroy(new Error("no answer")));
    request.on("error", reject);
    request.end(body);
  });
}

export class RpcError extends Error {
  constructor(status, { code, message }) {
    super(`${code}: ${message}`);
    Object.assign(this, { status, code });
  }
}

/** A Redis of the test's own, on a unix socket whose path is returned. */
export async function startRedis(t) {
  const directory = mkdtempSync(path.join(tmpdir(), "nanopush-redis-"));
  const socket = path.join(directory, "redis.sock");
  const found = ["redis-server", "redis-check-rdb"]
    .flatMap((name) => process.env.PATH.split(":").map((folder) => path.join(folder, name)))
    .find((file) => existsSync(file));
  assert.ok(found, "a redis-server is installed");
  const redis = spawn(found, ["--port", "0", "--unixsocket", socket, "--save", ""], {
    argv0: "redis-server", cwd: directory, stdio: "ignore",
  });
  const exited = new Promise((resolve) => redis.on("exit", resolve));
  t.after(async () => {
    redis.kill("SIGTERM");
    await exited;
    rmSync(directory, { recursive: true });
  });
  await eventually(10_000, "Redis listens", () => existsSync(socket));
  return socket;
}

/** Give a broker that has not been started the secret and the CA of another one, as an operator does. */
export function joinCluster(broker, first) {
  mkdirSync(broker.dataDir, { mode: 0o700 });
  for (const name of ["cluster.secret", "device-ca.pem", "device-ca.key"]) {
    const copy = path.join(broker.dataDir, name);
    copyFileSync(path.join(first.dataDir, name), copy);
    chmodSync(copy, statSync(path.join(first.dataDir, name)).mode & 0o777);
  }
}

const quote = (text) => `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
const setting = (value) =>
  Array.isArray(value) ? `[${value.map(setting).join(", ")}]` : typeof value === "string" ? quote(value) : String(value);

let started = 0;

export class Broker {
  /**
   * @param options    settings of the configuration file, over those that keep it apart from everything else
   * @param directory  name of the directory that it gets under the system's temporary one
   */
  constructor(options = {}, directory = "nanopush-") {
    this.root = mkdtempSync(path.join(tmpdir(), directory));
    this.dataDir = path.join(this.root, "state");
    this.configFile = path.join(this.root, "nanopushd.conf");
    this.cleanups = [];
    this.environment = {}; // over the test's own
    this.configure(options);
    process.on("exit", () => {
      this.#killAll();
      rmSync(this.root, { recursive: true, force: true });
    });
  }

  configure(options) {
    this.options = {
      data_dir: this.dataDir,
      workers: 1,
      device_listen: "127.0.0.1:0",
      portal_listen: "127.0.0.1:0",
      stats_listen: "127.0.0.1:0",
      server_names: ["localhost"],
      drain_s: 1,
      log_level: "debug",
      ...options,
    };
    const lines = Object.entries(this.options).map(([key, value]) => `${key} = ${setting(value)};\n`);
    writeFileSync(this.configFile, lines.join(""));
  }

  /** Start, and return once every worker is ready. */
  async start() {
    const logs = process.env.TEST_LOGS ?? path.join(path.dirname(NANOPUSHD), "test-logs");
    mkdirSync(logs, { recursive: true });
    const name = `${path.basename(process.argv[1], ".test.mjs")}-${process.pid}-${(started += 1)}.log`;
    this.logFile = path.join(logs, name);
    this.portsFile = path.join(this.dataDir, "ports");
    rmSync(this.portsFile, { force: true });

    const log = openSync(this.logFile, "w");
    this.child = spawn(NANOPUSHD, ["--config", this.configFile], {
      stdio: ["ignore", log, log], cwd: this.root, env: { ...process.env, ...this.environment },
    });
    closeSync(log);
    this.exited = new Promise((resolve, reject) => {
      this.child.on("error", reject);
      this.child.on("exit", (code, signal) => resolve(code ?? signal));
    });
    let ended = null;
    this.exited.then((status) => (ended = status), (error) => (ended = error));

    await eventually(START_MS, `ports of ${this.logFile}`, () => {
      if (ended !== null) throw new Error(`the broker ended with ${ended}:\n${this.log().slice(-2000)}`);
      return existsSync(this.portsFile);
    });
    const lines = readFileSync(this.portsFile, "utf8").trim().split("\n");
    this.ports = Object.fromEntries(lines.map((line) => line.split("=")).map(([port, address]) => [port, Number(address.split(":").pop())]));
    this.ca = readFileSync(path.join(this.dataDir, "device-ca.pem"), "utf8");
    this.pin = sha256(new X509Certificate(this.ca).publicKey.export({ type: "spki", format: "der" }));
    return this;
  }

  /**
   * SIGUSR2: the program that stands there now takes this one's place. Returns once the old one has ended; from then on this
   * is the new one, whose exit status is what it logged, since it is no child of ours.
   */
  async upgrade() {
    const [old, before] = [this.child.pid, this.log().length];
    this.signal("SIGUSR2");
    const [, pid] = await eventually(START_MS, "a successor", () => /event=handed-over to_pid=(\d+)/.exec(this.log().slice(before)));
    const status = await within(STOP_MS, `the one before ends (${this.logFile})`, this.exited);
    assert.equal(status, 0, `exit status of ${old}, see ${this.logFile}`);
    const orderlyEnds = () => this.log().split("\n").filter((line) => /process=master area=proc event=ended/.test(line)).length;
    const had = orderlyEnds();
    const gone = async () => {
      await eventually(600_000, "its end", () => readProc(pid, "stat").replace(/^.*\) /s, "").match(/^[^Z]/) === null);
      return orderlyEnds() > had ? 0 : 1;
    };
    this.child = { pid: Number(pid), exitCode: null, signalCode: null };
    this.exited = gone();
  }

  log() {
    return readFileSync(this.logFile, "utf8");
  }

  /** Lines of the log that tell of something wrong in the broker itself, or of an attack. */
  complaints() {
    return this.log().split("\n").filter((line) => /level=(error|warn)/.test(line));
  }

  /** The first line of the log that matches, once there is one. */
  logged(pattern, ms = 5000) {
    return eventually(ms, `${pattern} in ${this.logFile}`, () => this.log().split("\n").find((line) => pattern.test(line)));
  }

  processes() {
    return processesOf(this.root);
  }

  redisPid() {
    const redis = this.processes().find(({ command }) => /redis/.test(command) && !command.includes(this.configFile));
    assert.ok(redis, "the embedded Redis runs");
    return redis.pid;
  }

  /** The process that holds the other end of a connection: the worker that accepted it. */
  holderOf({ localPort, remotePort }) {
    const [here, there] = [localPort, remotePort].map((port) => `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`);
    const rows = readFileSync("/proc/net/tcp", "utf8").split("\n").map((line) => line.trim().split(/\s+/));
    const inode = rows.find(([, local, remote, state]) => local === there && remote === here && state === "01")?.[9];
    const holder = this.processes().find(({ pid }) => descriptorsOf(pid).includes(`socket:[${inode}]`));
    assert.ok(holder, `some process of the broker's holds the connection from port ${localPort}`);
    return holder.pid;
  }

  /** Called, last first, before the broker stops: whoever holds a connection hangs up here. */
  onStop(cleanup) {
    this.cleanups.push(cleanup);
  }

  hangUp() {
    for (const cleanup of this.cleanups.splice(0).reverse()) cleanup();
  }

  signal(name) {
    process.kill(this.child.pid, name);
  }

  /** End by SIGTERM. Throws when that takes too long, leaves a process, or a sanitizer spoke. */
  async stop({ keep = false } = {}) {
    this.hangUp();
    if (this.ports === undefined) {
      this.#killAll(); // It never started, which was reported then.
      rmSync(this.root, { recursive: true, force: true });
      return;
    }
    try {
      if (this.child.exitCode === null && this.child.signalCode === null) this.signal("SIGTERM");
      const status = await within(STOP_MS, `the broker ends (${this.logFile})`, this.exited);
      assert.equal(status, 0, `exit status, see ${this.logFile}`);
      const left = this.processes();
      assert.deepEqual(left, [], "no process is left behind");
    } finally {
      this.#killAll();
      const spoken = this.log().split("\n").find((line) => SANITIZER.test(line));
      if (!keep) rmSync(this.root, { recursive: true, force: true });
      assert.equal(spoken, undefined, `a sanitizer spoke, see ${this.logFile}`);
    }
  }

  #killAll() {
    for (const { pid } of existsSync(this.root) ? this.processes() : []) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It ended by itself meanwhile.
      }
    }
  }

  /** Path of the admin socket by way of a descriptor: a socket's own has 107 bytes at most, a directory's may have more. */
  async withAdminSocket(use) {
    const directory = openSync(this.dataDir, "r");
    try {
      return await use(`/proc/self/fd/${directory}/admin.sock`);
    } finally {
      closeSync(directory);
    }
  }

  /** A unary call on the admin socket, in JSON. */
  async admin(method, request) {
    const { status, body } = await this.withAdminSocket((socketPath) => exchange({
      method: "POST",
      socketPath,
      path: `/nanopush.v1.${method}`,
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(request),
    }));
    const answer = JSON.parse(body);
    if (status !== 200) throw new RpcError(status, answer);
    return answer;
  }

  /** One command to the embedded Redis; its raw answer. */
  redis(...args) {
    return new Promise((resolve, reject) => {
      const socket = net.connect(path.join(this.dataDir, "redis", "redis.sock"));
      const parts = args.map((arg) => Buffer.from(arg));
      socket.on("error", reject);
      socket.once("data", (answer) => {
        socket.destroy();
        resolve(answer.toString("latin1"));
      });
      socket.write(Buffer.concat([
        Buffer.from(`*${parts.length}\r\n`),
        ...parts.flatMap((part) => [Buffer.from(`$${part.length}\r\n`), part, Buffer.from("\r\n")]),
      ]));
    });
  }

  stats(target, options = {}) {
    return exchange({ host: "127.0.0.1", port: this.ports.stats, path: target, ...options });
  }

  /** Values of /metrics by their name with labels, as written there. */
  async metrics() {
    const { status, body } = await this.stats("/metrics");
    assert.equal(status, 200);
    const samples = body.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    return Object.fromEntries(samples.map((line) => {
      const at = line.lastIndexOf(" ");
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }));
  }
}
