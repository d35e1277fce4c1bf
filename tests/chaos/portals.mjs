// A process that is a portal under load. Its parent sends {seed, file, ca, brokers, credential, users, pins, rate}, then
// {stop: true}: it begins no more logins, withdraws those that wait, sends {stopped: true} when every one has ended, and ends
// when its parent hangs up.
//
// Of three logins one waits by GetChallenge, one by WatchChallenge, and one does not wait but looks after the end: the
// broker's own second look, which whoever waits causes, must not be what a phone is asked by.
import { chance, dice, Witness } from "./history.mjs";
import { ChaosPortal } from "./portal.mjs";

const LOOK_AGAIN_MS = 5000;
const LOOK_LATE_MS = 3000;
const WITHDRAWN = 0.03;
const WITHDRAWN_MS = 500;
const REFUSED_MS = 10_000; // a user whose push is delayed or locked is left alone for a while
const WITHDRAW_AGAIN_MS = 1000;

let portal, config, roll, beginning, stopping;
const busy = new Set();
const waiting = new Map(); // by challenge id, what withdraws it
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Wait until then, or until it is withdrawn. */
function sleepUntil(id, ms) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, Math.max(0, ms - Date.now()));
    waiting.set(id, () => {
      portal.cancel(id);
      clearTimeout(timer);
      resolve();
    });
  });
}

async function login(user) {
  const asked = await portal.create(user);
  if (asked.refused === "resource_exhausted" && !stopping) await pause(REFUSED_MS);
  if (asked.refused) return;
  const kind = chance(config.seed, asked.id, "kind");
  const way = kind > 0.67 ? "getOnce" : kind > 0.33 ? "watch" : "getWaiting";
  waiting.set(asked.id, () => portal.cancel(asked.id));
  if (chance(config.seed, asked.id, "withdrawn") < WITHDRAWN) setTimeout(() => portal.cancel(asked.id), WITHDRAWN_MS);
  if (way === "getOnce") await sleepUntil(asked.id, asked.endMs + LOOK_LATE_MS);
  const state = await portal.learn(asked, way);
  waiting.delete(asked.id);
  if (state === null || state === "lost") return;
  if (!stopping) await pause(LOOK_AGAIN_MS);
  await portal.learn(asked, "getOnce"); // it has ended once and for all
}

function begin() {
  const free = config.users.filter((user) => !busy.has(user));
  if (free.length === 0) return;
  const user = free[Math.floor(roll() * free.length)];
  busy.add(user);
  login(user).finally(() => busy.delete(user));
}

async function stop() {
  stopping = true;
  clearInterval(beginning);
  while (busy.size > 0) {
    for (const withdraw of waiting.values()) withdraw();
    await pause(WITHDRAW_AGAIN_MS);
  }
  process.send({ stopped: true });
}

process.on("message", (message) => {
  if (message.stop) stop();
  if (!message.users) return;
  config = message;
  roll = dice(`${config.seed} portal`);
  portal = new ChaosPortal({ ...config, witness: new Witness(config.file, "portal"), roll });
  beginning = setInterval(begin, 1000 / config.rate);
});
process.on("disconnect", () => process.exit(0));
