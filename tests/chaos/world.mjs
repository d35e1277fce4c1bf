// A real deployment to break: two brokers of two workers each on one Redis, or on a group that Sentinels watch; phones and
// portals, processes of their own, reach each broker through a forwarder, and so do the brokers their one Redis.
//
//     phones  ──forwarder──> broker 1 ──forwarder──> Redis
//     portals ──forwarder──> broker 2 ──forwarder──> (Sentinels: no forwarder)
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { Broker, deadline, eventually, joinCluster, pause } from "../integration/harness.mjs";
import { Portal } from "../integration/portal.mjs";
import { freePorts, Redis } from "../integration/redis.mjs";
import { Forwarder } from "./forwarder.mjs";
import { readHistory, Witness } from "./history.mjs";
import { makeKey, portable } from "./keys.mjs";
import { memoryDisk } from "./memory_disk.mjs";

const BROKERS = 2;
const GROUP = "phones";
const ENROL_AT_ONCE = 8;
const PHONES_A_PROCESS = 1000;
const SECOND_PHONES = 0.3; // share of users that have two
const RECOVER_MS = 20_000;
const LOAD_MS = 60_000;

/** How a Redis is deployed: start() gives what a broker's configuration says, faults find servers by `servers`. */
const DEPLOYMENTS = {
  async redis(world, settings) {
    world.disk = memoryDisk(world.t);
    const redis = await Redis.start(world.t, { ...settings, ...(world.disk ? { dir: world.disk.path } : {}) });
    world.servers = [redis];
    const ports = await freePorts(BROKERS);
    world.redisLinks = await Promise.all(ports.map((port) => Forwarder.start(world.t, { port, to: redis.port, roll: world.roll })));
    return ports.map((port) => ({ redis: `127.0.0.1:${port}` }));
  },

  async sentinel(world, settings) {
    const first = await Redis.start(world.t, settings);
    const replica = { ...settings, replicaof: `127.0.0.1 ${first.port}` };
    world.servers = [first, await Redis.start(world.t, replica), await Redis.start(world.t, replica)];
    await eventually(30_000, "the replicas follow", async () => (await first.do("ROLE"))[2].length === 2);
    world.sentinels = await Promise.all((await freePorts(3)).map((port) => Redis.start(world.t, {
      sentinel: [`monitor ${GROUP} 127.0.0.1 ${first.port} 2`, `down-after-milliseconds ${GROUP} 1000`, `failover-timeout ${GROUP} 5000`],
    }, { arguments_: ["--sentinel"], port })));
    await world.whole();
    return Array(BROKERS).fill({ redis_sentinels: world.sentinels.map(({ address }) => address), redis_master: GROUP });
  },
};

const field = (fields, name) => fields[fields.indexOf(name) + 1];

export class World {
  static async start(t, { deployment, durability, seed, roll, brokerOptions = {} }) {
    const world = Object.assign(new World(), { t, deployment, durability, seed, roll, redisLinks: [], processes: [], files: [] });
    world.directory = mkdtempSync(path.join(tmpdir(), "nanopush-chaos-"));
    t.after(() => rmSync(world.directory, { recursive: true, force: true }));
    world.witness = new Witness(world.file("driver"), "driver");
    const fsync = durability === "always" ? "always" : "everysec";
    const settings = await DEPLOYMENTS[deployment](world, { appendonly: "yes", appendfsync: fsync, "maxmemory-policy": "noeviction" });
    await world.#startBrokers(settings, brokerOptions);
    return world;
  }

  file(name) {
    this.files.push(path.join(this.directory, `${name}.jsonl`));
    return this.files.at(-1);
  }

  async #startBrokers(settings, brokerOptions) {
    const ports = await freePorts(BROKERS * 4);
    this.brokers = [];
    for (const redis of settings) {
      const [device, portal] = [ports.pop(), ports.pop()];
      const broker = new Broker({
        workers: 2, log_level: "info", device_listen: `127.0.0.1:${device}`, portal_listen: `127.0.0.1:${portal}`,
        durability: this.durability, unauthenticated_max: 4000, strangers_max: 4000, ...redis, ...brokerOptions,
      });
      this.t.after(() => broker.stop());
      if (this.brokers.length > 0) joinCluster(broker, this.brokers[0]);
      await broker.start();
      broker.deviceLink = await Forwarder.start(this.t, { port: ports.pop(), to: device, roll: this.roll });
      broker.portalLink = await Forwarder.start(this.t, { port: ports.pop(), to: portal, roll: this.roll });
      this.brokers.push(broker);
    }
  }

  /** Users with their phones, as the two kinds of processes need them. */
  async enrol(count) {
    const portal = await Portal.create(this.brokers[0], { scopes: ["SCOPE_CHALLENGE", "SCOPE_ENROL", "SCOPE_ADMIN"] });
    const owners = Array.from({ length: count }, (_, i) => `person-${Math.floor(i / (1 + SECOND_PHONES))}`);
    const people = { credential: portal.credential, users: [...new Set(owners)], phones: [], pins: {} };
    const enrolOne = async (user) => {
      const { phone, pins } = await portal.enrol(user, { possession: makeKey(), verification: makeKey() });
      const { organisation, deviceId, generation, endpoint } = phone;
      people.phones.push({
        organisation, user, deviceId, generation, endpoint,
        possession: portable(phone.possession), verification: portable(phone.verification),
      });
      people.pins[deviceId] = Object.fromEntries([pins.possession, pins.verification].map(({ kid, jwk }) => [kid, jwk]));
    };
    await Promise.all(Array.from({ length: ENROL_AT_ONCE }, async () => {
      while (owners.length > 0) await enrolOne(owners.shift());
    }));
    this.people = people;
  }

  #fork(name, config) {
    const child = fork(fileURLToPath(new URL(`${name}.mjs`, import.meta.url)), { serialization: "advanced", execArgv: [] });
    child.exited = new Promise((resolve) => child.on("exit", resolve));
    this.t.after(async () => {
      if (child.connected) child.disconnect();
      await child.exited;
    });
    child.send({ seed: this.seed, file: this.file(`${name}-${this.files.length}`), ...config });
    return child;
  }

  /** Phones connect; once most are there portals begin. rate: logins a second. */
  async load(rate) {
    const { phones, credential, users, pins } = this.people;
    const brokers = this.brokers.map(({ deviceLink }) => deviceLink.port);
    for (let at = 0; at < phones.length; at += PHONES_A_PROCESS)
      this.processes.push(this.#fork("phones", { brokers, phones: phones.slice(at, at + PHONES_A_PROCESS) }));
    await eventually(LOAD_MS, "the phones are connected", async () => (await this.connected()) >= phones.length * 0.95);
    this.portal = this.#fork("portals", {
      brokers: this.brokers.map(({ portalLink }) => portalLink.port), ca: this.brokers[0].ca, credential, users, pins, rate,
    });
  }

  async connected() {
    const counts = await Promise.all(this.processes.map((child) => new Promise((resolve) => {
      child.once("message", ({ connected }) => resolve(connected));
      child.send({ count: true });
    })));
    return counts.reduce((sum, each) => sum + each, 0);
  }

  /** So many of the phones lose their link. */
  cutPhones(share) {
    for (const child of this.processes) child.send({ cut: share });
  }

  /** No further login is begun; once all have ended, all that was seen. */
  async end() {
    const stopped = new Promise((resolve, reject) => {
      this.portal.on("message", (message) => message.stopped && resolve());
      this.portal.on("exit", () => reject(new Error("the portals' process ended")));
    });
    this.portal.send({ stop: true });
    await stopped;
    for (const child of [...this.processes, this.portal]) {
      child.disconnect();
      assert.equal(await child.exited, 0, "a process of the load ended in order");
    }
    this.witness.close();
    return readHistory(this.files);
  }

  /** Every broker says that logins work. @return false when that does not come about in time */
  async recovers() {
    for (const end = Date.now() + deadline(RECOVER_MS); Date.now() < end; await pause(50)) {
      const ready = await Promise.all(this.brokers.map((broker) => broker.stats("/readyz").then(({ status }) => status === 200, () => false)));
      if (ready.every(Boolean)) return true;
    }
    return false;
  }

  /** Sentinels: the present master, once the group is as it should be. */
  async whole() {
    const master = await eventually(30_000, "the Sentinels know one another and both replicas", async () => {
      const said = await Promise.all(this.sentinels.map((one) => one.do("SENTINEL", "MASTER", GROUP)));
      const good = said.every((fields) => field(fields, "num-other-sentinels") === "2" && field(fields, "num-slaves") === "2"
        && field(fields, "flags") === "master" && field(fields, "port") === field(said[0], "port"));
      return good && this.servers.find(({ port }) => port === Number(field(said[0], "port")));
    });
    await eventually(30_000, "the replicas follow", async () => {
      const role = await master.do("ROLE");
      return role[0] === "master" && role[2].length === 2 && role[2].every(([, , offset]) => Number(offset) > 0);
    });
    return master;
  }

  /** Sentinels: once they name another master than this. */
  elected(old) {
    return eventually(30_000, "a new master", async () => {
      const said = await Promise.all(this.sentinels.map((one) => one.do("SENTINEL", "MASTER", GROUP)));
      return said.every((fields) => Number(field(fields, "port")) !== old.port);
    });
  }
}
