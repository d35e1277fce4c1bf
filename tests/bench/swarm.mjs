// Drives processes of build/swarm (swarm.c): simulated phones and portals, several processes of each, since a process
// has at most 20,000 descriptors.
import { spawn, spawnSync } from "node:child_process";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const BUILD = path.resolve(process.env.BUILD ?? fileURLToPath(new URL("../../build", import.meta.url)));
export const SWARM = path.join(BUILD, "swarm");
export const PHONES_PER_PROCESS = 18_000;

/** Kinds of misbehaviour, by their number in misbehave.h. */
export const MISBEHAVIOURS = ["garbage", "half a hello", "silent", "bad frame", "bad record", "hang up"];

/** One process: takes commands, one at a time. */
export class Swarm {
  constructor(...args) {
    this.args = args.map(String);
    this.child = spawn(SWARM, this.args, { stdio: ["pipe", "pipe", "inherit"] });
    this.exited = new Promise((resolve) => this.child.on("exit", resolve));
    this.exited.then((status) => this.waiting?.reject(new Error(`swarm ${this.args.join(" ")} ended with ${status}`)));
    this.child.stdin.on("error", () => {}); // It ended: its exit says so.
    createInterface({ input: this.child.stdout }).on("line", (line) => this.#onLine(JSON.parse(line)));
    this.started = this.#next("ready");
    this.started.catch(() => {});
  }

  get pid() {
    return this.child.pid;
  }

  #next(event) {
    return new Promise((resolve, reject) => (this.waiting = { event, resolve, reject }));
  }

  #onLine(line) {
    this.last = line;
    if (line.event === "progress") this.onProgress?.(line);
    else if (line.event === this.waiting?.event) this.waiting.resolve(line);
  }

  /** Send a command; its last line of figures, once it is done. */
  async command(...words) {
    await this.started;
    const done = this.#next("done");
    this.child.stdin.write(`${words.join(" ")}\n`);
    return done;
  }

  /** Throws when it did not end in order, or a sanitizer spoke. */
  async stop() {
    this.waiting = undefined;
    if (this.child.exitCode === null) this.child.stdin.end();
    const status = await this.exited;
    if (status !== 0) throw new Error(`swarm ${this.args.join(" ")} ended with ${status}`);
  }
}

const sum = (lines, name) => lines.reduce((total, line) => total + (line[name] ?? 0), 0);
const max = (lines, name) => Math.max(0, ...lines.map((line) => line[name] ?? 0));

/** The figures of several processes as those of one: counts are added, times are the slowest's. */
function together(lines) {
  const counts = ["wanted", "ready", "connected", "resumed", "failed", "lost", "pinged", "pongs", "pushed", "answered",
    "refused", "misbehaved", "survived"];
  return {
    ...Object.fromEntries(counts.map((name) => [name, sum(lines, name)])),
    ms: max(lines, "ms"),
    back99_ms: max(lines, "back99_ms"),
    connect_p50_us: max(lines.map(({ connects }) => connects), "p50_us"),
    connect_p99_us: max(lines.map(({ connects }) => connects), "p99_us"),
    last_failure: lines.map((line) => line.last_failure).find((text) => text) ?? "",
  };
}

/** Phones, spread over as many processes as they need. */
export class Phones {
  /**
   * @param processes  of the swarm; each has its own loopback network
   * @param file       of the fleet (nanopush)
   */
  constructor({ protocol, address, count, file, processes = Math.ceil(count / PHONES_PER_PROCESS) }) {
    this.share = Math.ceil(count / processes);
    this.swarms = Array.from({ length: processes }, (_, i) => {
      const first = i * this.share;
      const size = Math.max(0, Math.min(this.share, count - first));
      return new Swarm("phones", protocol, address, i + 1, first, size, ...(file ? [file] : []));
    });
  }

  async #all(words, onProgress) {
    for (const swarm of this.swarms) swarm.onProgress = () => onProgress?.(together(this.swarms.map(({ last }) => last).filter((line) => line?.connects)));
    const lines = await Promise.all(this.swarms.map((swarm, i) => swarm.command(...(typeof words === "function" ? words(i) : words))));
    return together(lines);
  }

  /** The first of them, @p count, are connected; atOnce handshakes in progress over all processes. */
  connect(count, { atOnce = 64, onProgress } = {}) {
    const each = Math.max(1, Math.ceil(atOnce / this.swarms.length));
    return this.#all((i) => ["connect", Math.max(0, Math.min(this.share, count - i * this.share)), each], onProgress);
  }

  cut(onProgress) {
    return this.#all(["cut"], onProgress);
  }

  mark() {
    return this.#all(["mark"]);
  }

  /** All that lose their link after mark() are back. */
  async back(onProgress) {
    const wanted = this.swarms.map(({ last }) => last.wanted);
    return this.#all((i) => ["await", wanted[i]], onProgress);
  }

  ping() {
    return this.#all(["ping"]);
  }

  status() {
    return this.#all(["status"]);
  }

  resume(on) {
    return this.#all(["resume", on ? 1 : 0]);
  }

  /** How often they ping, in ms; 0: as the server says. */
  heartbeat(ms) {
    return this.#all(["heartbeat", ms]);
  }

  misbehave(kind, count) {
    return this.swarms[0].command("misbehave", MISBEHAVIOURS.indexOf(kind), count);
  }

  async stop() {
    await Promise.all(this.swarms.map((swarm) => swarm.stop()));
  }
}

/** Portals: one process. */
export class Portals {
  constructor({ protocol, address, atOnce, count, file }) {
    this.count = count;
    this.swarm = new Swarm("portals", protocol, address, atOnce, count, ...(file ? [file] : []));
  }

  open() {
    return this.swarm.command("open");
  }

  /** Ask total times, among the phones from .. from + count - 1; rate a second, 0: as fast as answers come. */
  logins({ from = 0, count = this.count, total, rate = 0, verify = true }) {
    return this.swarm.command("logins", from, count, total, rate, verify ? 1 : 0);
  }

  stop() {
    return this.swarm.stop();
  }
}

/** Make a fleet's file: keys for count phones of a portal, none of them enrolled. */
export function makeFleet({ file, count, organisation, credential, pin }) {
  const { status, stderr } = spawnSync(SWARM, ["fleet", file, count, organisation, credential, pin.toString("hex")].map(String), { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
}

/** Enrol a fleet's phones through the broker's API, by several processes side by side: {done, failed, ms}. */
export async function enrolFleet({ file, count, device, portal, processes = 2, atOnce = 16, onProgress }) {
  const share = Math.ceil(count / processes);
  const started = Date.now();
  const swarms = Array.from({ length: processes }, () => new Swarm("enrol", file, device, portal));
  try {
    for (const swarm of swarms) swarm.onProgress = () => onProgress?.(sum(swarms.map(({ last }) => last), "done"));
    const lines = await Promise.all(swarms.map((swarm, i) =>
      swarm.command("enrol", i * share, Math.max(0, Math.min(share, count - i * share)), atOnce)));
    return {
      done: sum(lines, "done"),
      failed: sum(lines, "failed"),
      ms: Date.now() - started,
      last_failure: lines.map((line) => line.last_failure).find((text) => text) ?? "",
    };
  } finally {
    await Promise.all(swarms.map((swarm) => swarm.stop()));
  }
}
