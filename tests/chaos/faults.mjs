// What is broken, one row each: on which deployments, what it may lose, and how. A row breaks something, waits, and heals it;
// whether logins work again is asked after that.
import { pause } from "../integration/harness.mjs";

const one = (list, roll) => list[Math.floor(roll() * list.length)];
const workersOf = async (broker) => JSON.parse((await broker.stats("/stats.json")).body).workers.map(({ pid }) => pid);

async function startAgain(broker) {
  for (let tries = 0; ; tries++) {
    try {
      await broker.start();
      return;
    } catch (error) {
      if (tries === 20) throw error;
      await pause(250); // what the one before has left behind still holds the ports
    }
  }
}

const runAgain = async (redis) => {
  if (redis.child.exitCode !== null || redis.child.signalCode !== null) await redis.run();
};

export const FAULTS = {
  "kill a worker": {
    on: ["redis", "sentinel"],
    async run({ brokers, roll }) {
      process.kill(one(await workersOf(one(brokers, roll)), roll), "SIGKILL");
    },
  },
  "pause a worker": {
    on: ["redis", "sentinel"],
    async run({ brokers, roll }) {
      const pid = one(await workersOf(one(brokers, roll)), roll);
      process.kill(pid, "SIGSTOP");
      await pause(3000);
      process.kill(pid, "SIGCONT");
    },
  },
  "kill a master": {
    on: ["redis", "sentinel"],
    async run({ brokers, roll }) {
      const broker = one(brokers, roll);
      broker.signal("SIGKILL");
      await broker.exited;
      await startAgain(broker);
    },
  },
  "restart the brokers one by one": {
    on: ["redis", "sentinel"],
    async run({ brokers }) {
      for (const broker of brokers) {
        await broker.stop({ keep: true });
        await startAgain(broker);
      }
    },
  },
  "cut half of the phones": {
    on: ["redis", "sentinel"],
    async run(world) {
      world.cutPhones(0.5);
    },
  },
  "cut a broker's links to phones": {
    on: ["redis", "sentinel"],
    async run({ brokers, roll }) {
      const { deviceLink } = one(brokers, roll);
      deviceLink.cut();
      await pause(2000);
      deviceLink.heal();
    },
  },
  "hold a broker's links to portals": {
    on: ["redis", "sentinel"],
    async run({ brokers, roll }) {
      const { portalLink } = one(brokers, roll);
      portalLink.hold();
      await pause(3000);
      portalLink.heal();
    },
  },
  "kill Redis": {
    on: ["redis"],
    loses: "fast",
    async run({ servers: [redis] }) {
      await redis.kill();
      await pause(500);
      await redis.run();
    },
  },
  "pause Redis": {
    on: ["redis"],
    async run({ servers: [redis] }) {
      redis.pause();
      await pause(4000); // longer than a command may take
      redis.resume();
    },
  },
  "cut a broker's link to Redis": {
    on: ["redis"],
    async run({ redisLinks, roll }) {
      const link = one(redisLinks, roll);
      link.cut();
      await pause(3000);
      link.heal();
    },
  },
  "hold a broker's link to Redis": {
    on: ["redis"],
    async run({ redisLinks, roll }) {
      const link = one(redisLinks, roll);
      link.hold();
      await pause(4000);
      link.heal();
    },
  },
  "slow the links to Redis": {
    on: ["redis"],
    async run({ redisLinks }) {
      for (const link of redisLinks) link.slow({ delayMs: 40, loss: 0.02 });
      await pause(4000);
      for (const link of redisLinks) link.heal();
    },
  },
  "cut the phones while a link to Redis loses": {
    on: ["redis"],
    async run(world) {
      const link = one(world.redisLinks, world.roll);
      link.slow({ loss: 0.3 });
      for (let times = 0; times < 4; times++) {
        world.cutPhones(0.5);
        await pause(1500);
      }
      link.heal();
    },
  },
  "reach maxmemory": {
    on: ["redis"],
    async run({ servers: [redis] }) {
      await redis.do("CONFIG", "SET", "maxmemory", "1mb");
      await pause(3000);
      await redis.do("CONFIG", "SET", "maxmemory", "0");
    },
  },
  "fill Redis' disk": {
    on: ["redis"],
    needs: ({ disk }) => disk !== null,
    missing: "a tmpfs, which root may mount",
    async run({ disk, servers: [redis] }) {
      disk.fill();
      await pause(3000);
      disk.free();
      await runAgain(redis); // with appendfsync always it rather ends than to say what is not on its disk
    },
  },
  "kill the master of the group": {
    on: ["sentinel"],
    loses: "always",
    async run(world) {
      const master = await world.whole();
      await master.kill();
      await world.elected(master);
      await master.run(); // not before: it would say that it is a master
      await world.whole();
    },
  },
  "pause the master of the group": {
    on: ["sentinel"],
    loses: "always",
    async run(world) {
      const master = await world.whole();
      master.pause();
      await world.elected(master);
      master.resume();
      await world.whole();
    },
  },
};

/** Whether a fault may lose what was accepted: only with durability "fast" where it says so, or whatever that is. */
export const mayLose = ({ loses }, durability) => loses === "always" || (loses === "fast" && durability === "fast");
