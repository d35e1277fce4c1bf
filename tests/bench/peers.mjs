// The servers that are measured side by side, each with the same certificate: the broker, the floor, and what Debian
// ships that holds many TLS connections. All listen on loopback; none outlives stop().
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import net from "node:net";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { Broker, eventually, within } from "../integration/harness.mjs";
import { redisFigure, treeOf } from "./proc.mjs";
import { enrolFleet, makeFleet } from "./swarm.mjs";

const BUILD = path.resolve(process.env.BUILD ?? fileURLToPath(new URL("../../build", import.meta.url)));
/** Where deploy/deps.sh bench unpacks Debian's packages. */
const PACKAGES = path.join(BUILD, "bench", "packages");
const LIBRARIES = path.join(PACKAGES, "usr/lib", `${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`);
const START_MS = 20_000;
const [DEVICE_PORT, PORTAL_PORT, STATS_PORT, FLOOR_PORT, MQTT_PORT, NCHAN_PORT, NCHAN_REDIS_PORT] =
  [17440, 17441, 17442, 17443, 17444, 17445, 17446];

const accepts = (port) => new Promise((resolve) => {
  const socket = net.connect({ host: "127.0.0.1", port });
  socket.on("connect", () => socket.destroy() && resolve(true));
  socket.on("error", () => resolve(false));
});

/** A program in the foreground, with a port of its own. */
class Program {
  constructor(directory) {
    this.directory = directory;
    this.children = [];
    mkdirSync(directory, { recursive: true });
  }

  async run(port, program, ...args) {
    // It ends with the benchmark, however that ends.
    const child = spawn("setpriv", ["--pdeathsig", "TERM", program, ...args], { stdio: "ignore", cwd: this.directory, env: { ...process.env, LD_LIBRARY_PATH: LIBRARIES } });
    const exited = new Promise((resolve, reject) => child.on("exit", resolve).on("error", reject));
    this.children.push({ child, exited });
    exited.catch(() => {});
    await eventually(START_MS, `${program} listens`, () => accepts(port));
    return child.pid;
  }

  async stop() {
    for (const { child, exited } of this.children.splice(0).reverse()) {
      if (child.exitCode === null) child.kill("SIGTERM");
      await within(START_MS, `${child.spawnargs[3]} ends`, exited);
    }
  }

  /** Processes whose memory and time count. */
  get pids() {
    return this.children.flatMap(({ child }) => treeOf(child.pid)).filter((pid) => pid !== this.redis);
  }

  get redisPids() {
    return this.redis ? [this.redis] : [];
  }

  async redisBytes() {
    return 0;
  }
}

export class Floor extends Program {
  name = "floor";
  version = spawnSync("openssl", ["version"], { encoding: "utf8" }).stdout.trim().split(" ").slice(0, 2).join(" ");
  phones = { protocol: "floor", address: `127.0.0.1:${FLOOR_PORT}` };

  constructor(directory, certificate) {
    super(directory);
    this.certificate = certificate;
  }

  async start() {
    await this.run(FLOOR_PORT, path.join(BUILD, "floor"), String(FLOOR_PORT), this.certificate.chain, this.certificate.key);
  }
}

export class Mosquitto extends Program {
  name = "mosquitto";
  phones = { protocol: "mqtt", address: `127.0.0.1:${MQTT_PORT}` };
  portals = this.phones;
  static program = path.join(PACKAGES, "usr/sbin/mosquitto");

  constructor(directory, { chain, key }) {
    super(directory);
    this.file = path.join(directory, "mosquitto.conf");
    const passwords = path.join(directory, "passwords");
    writeFileSync(passwords, "swarm:swarm\n", { mode: 0o600 });
    const made = spawnSync(path.join(PACKAGES, "usr/bin/mosquitto_passwd"), ["-U", passwords], { env: { LD_LIBRARY_PATH: LIBRARIES }, encoding: "utf8" });
    if (made.status !== 0) throw new Error(`mosquitto_passwd: ${made.stderr}`);
    writeFileSync(this.file, [
      `listener ${MQTT_PORT} 127.0.0.1`, `certfile ${chain}`, `keyfile ${key}`, "tls_version tlsv1.3", "allow_anonymous false",
      `password_file ${passwords}`, "persistence false", "max_inflight_messages 1000", "max_queued_messages 10000", "log_type none",
      "log_dest none", "user root", "set_tcp_nodelay true", "",
    ].join("\n"));
    this.version = /version ([\d.]+)/.exec(spawnSync(Mosquitto.program, ["-h"], { env: { LD_LIBRARY_PATH: LIBRARIES }, encoding: "utf8" }).stdout)?.[1];
  }

  async start() {
    await this.run(MQTT_PORT, Mosquitto.program, "-c", this.file);
  }
}

export class Nchan extends Program {
  name = "nchan";
  phones = { protocol: "nchan", address: `127.0.0.1:${NCHAN_PORT}` };
  portals = this.phones;
  static program = path.join(PACKAGES, "usr/sbin/nginx");

  constructor(directory, { chain, key }) {
    super(directory);
    this.file = path.join(directory, "nginx.conf");
    writeFileSync(this.file, `
load_module ${PACKAGES}/usr/lib/nginx/modules/ngx_nchan_module.so;
user root; daemon off; worker_processes 1; worker_rlimit_nofile 20000; pid ${directory}/nginx.pid; error_log ${directory}/error.log crit;
events { worker_connections 19000; }
http {
  access_log off; keepalive_requests 100000000; keepalive_timeout 3600s; client_body_buffer_size 4k; tcp_nodelay on;
  ${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${directory}/${name};`).join(" ")}
  nchan_max_reserved_memory 512M;
  upstream redis { nchan_redis_server redis://127.0.0.1:${NCHAN_REDIS_PORT}; }
  server {
    listen 127.0.0.1:${NCHAN_PORT} ssl backlog=4096; ssl_certificate ${chain}; ssl_certificate_key ${key}; ssl_protocols TLSv1.3; ssl_session_cache off; ssl_session_tickets on;
    nchan_message_buffer_length 4; nchan_message_timeout 60s; nchan_subscriber_first_message newest;
    location ~ ^/phone/(\\d+)$ { nchan_redis_pass redis; nchan_pubsub websocket; nchan_subscriber_channel_id d$1; nchan_publisher_channel_id replies; nchan_message_buffer_length 10000; }
    location ~ ^/publish/(\\d+)$ { nchan_redis_pass redis; nchan_publisher; nchan_channel_id d$1; }
    location = /replies { nchan_redis_pass redis; nchan_message_buffer_length 10000; nchan_subscriber websocket; nchan_channel_id replies; }
  }
}
`);
    this.version = `${/nginx\/([\d.]+)/.exec(spawnSync(Nchan.program, ["-v"], { encoding: "utf8" }).stderr)?.[1]}, nchan 1.3.6`;
  }

  async start() {
    const redis = ["redis-server", "redis-check-rdb"].map((name) => spawnSync("which", [name], { encoding: "utf8" }).stdout.trim()).find(Boolean);
    const link = path.join(this.directory, "redis-server"); // one program, which goes by its name
    if (!existsSync(link)) spawnSync("ln", ["-s", redis, link]);
    this.redis = await this.run(NCHAN_REDIS_PORT, link, "--port", String(NCHAN_REDIS_PORT), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", this.directory);
    // With Redis, nchan wants the package's own directory for nginx's temporary files: it gets one of its own there.
    await this.run(NCHAN_PORT, "unshare", "--map-root-user", "--mount", "sh", "-c",
      'mount -t tmpfs none /var/lib && mkdir /var/lib/nginx && exec setpriv --pdeathsig TERM "$0" "$@"', Nchan.program, "-c", this.file, "-p", this.directory);
  }

  redisBytes() {
    return redisFigure({ port: NCHAN_REDIS_PORT }, "used_memory");
  }
}

/** The broker with a fleet: what both need to be used again lies in one directory. */
export class Nanopush {
  name = "nanopush";
  phones = { protocol: "nanopush", address: `127.0.0.1:${DEVICE_PORT}` };
  portals = { protocol: "nanopush", address: `127.0.0.1:${PORTAL_PORT}` };

  constructor(directory, { workers = 1, options = {} } = {}) {
    this.directory = directory;
    this.dataDir = path.join(directory, "state");
    mkdirSync(directory, { recursive: true });
    this.broker = new Broker({
      data_dir: this.dataDir,
      workers,
      device_listen: this.phones.address,
      portal_listen: this.portals.address,
      stats_listen: `127.0.0.1:${STATS_PORT}`,
      connections_max: 19_000,
      log_level: "warn",
      ...options,
    }, "nanopush-bench-");
    this.broker.dataDir = this.dataDir;
  }

  get certificate() {
    return { chain: path.join(this.dataDir, "server.pem"), key: path.join(this.dataDir, "server.key") };
  }

  async start() {
    await this.broker.start();
    this.redisPids = [await redisFigure(this.#redis, "process_id")]; // which may be older than its master
    this.version = /[\d.]+/.exec(spawnSync(path.join(BUILD, "nanopushd"), ["--version"], { encoding: "utf8" }).stdout)?.[0];
  }

  async stop() {
    await this.broker.stop();
  }

  /** kill -9 of every process but Redis; done when they are gone, and their ports free. */
  async kill() {
    const { pids } = this;
    for (const pid of pids) process.kill(pid, "SIGKILL");
    await this.broker.exited;
    await eventually(START_MS, "the broker is gone", () => !pids.some((pid) => existsSync(`/proc/${pid}/exe`)));
    await eventually(START_MS, "its ports are free", async () => !(await accepts(DEVICE_PORT)));
  }

  get pids() {
    return treeOf(this.broker.child.pid).filter((pid) => !this.redisPids.includes(pid));
  }

  get #redis() {
    return path.join(this.dataDir, "redis", "redis.sock");
  }

  redisBytes() {
    return redisFigure(this.#redis, "used_memory");
  }

  /** Make the fleet, or what it lacks: how many phones a second were enrolled, and what each costs in Redis. */
  async enrol(count, onProgress) {
    const before = await this.redisBytes();
    const file = path.join(this.directory, `fleet-${count}`);
    this.fleet = { file, count };
    this.phones.file = this.portals.file = file;
    if (!existsSync(file)) {
      const id = `fleet-${count}`;
      await this.broker.admin("AdminService/CreateOrganisation", { organisation: { id } });
      const { credential } = await this.broker.admin("AdminService/CreatePortal", {
        portal: { id: `portal-${count}`, organisation: id, modes: ["MODE_TAP"], scopes: ["SCOPE_CHALLENGE", "SCOPE_ENROL"] },
      });
      makeFleet({ file, count, organisation: id, credential, pin: this.broker.pin });
    }
    const { done, failed, ms, last_failure: why } = await enrolFleet({ file, count, device: this.phones.address, portal: this.portals.address, onProgress });
    if (failed || done !== count) throw new Error(`${done} of ${count} phones enrolled: ${why}`);
    return { seconds: ms / 1000, per_s: Math.round(count / (ms / 1000)), redis_bytes: Math.round((await this.redisBytes() - before) / count) };
  }
}

export const havePackages = () => existsSync(Mosquitto.program) && existsSync(Nchan.program);
