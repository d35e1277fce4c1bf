// One run of chaos: a deployment under load, faults one after the other, each as the seed says, and the verdict on it.
import { deadline, pause } from "../integration/harness.mjs";
import { judge, TOLERANCE } from "./checker.mjs";
import { FAULTS, mayLose } from "./faults.mjs";
import { dice, now } from "./history.mjs";
import { World } from "./world.mjs";

const BEFORE_MS = 2000;
const QUIET_MS = deadline(6000); // after each fault, so that what must happen when nothing is broken can be judged

/** Every kind once in a random order, then again. */
function* kindsFrom(names, roll) {
  for (;;) {
    const left = [...names];
    while (left.length > 0) yield left.splice(Math.floor(roll() * left.length), 1)[0];
  }
}

async function breakOnce(world, kind) {
  const fault = FAULTS[kind];
  world.witness.saw("fault", { kind, loses: mayLose(fault, world.durability) });
  await fault.run(world);
  const healed = now();
  const recovered = await world.recovers();
  if (recovered) world.witness.saw("recovered", { kind, healed });
  return recovered;
}

/**
 * @param t  what after() is called of, in reverse order at the end
 * @param kinds  names of faults, those of the deployment unless told; `rounds` of them, or as many as `ms` have room for
 * @param say  called with a line for whoever watches
 * @param late  TOLERANCE.late; Infinity: how soon somebody is told is not judged, as on a machine that does much else
 * @return {violations, figures, skipped: {kind: what is missing}, events}
 */
export async function runChaos(t, { deployment = "redis", durability = "fast", seed, phones = 200, rate = 20, ms = Infinity, rounds = Infinity,
  kinds, brokerOptions, late = deadline(TOLERANCE.late), say = () => {} }) {
  const roll = dice(`${seed} faults`);
  const world = await World.start(t, { deployment, durability, seed, roll, brokerOptions });
  const names = kinds ?? Object.keys(FAULTS).filter((kind) => FAULTS[kind].on.includes(deployment));
  const skipped = Object.fromEntries(names.filter((kind) => FAULTS[kind].needs?.(world) === false).map((kind) => [kind, FAULTS[kind].missing]));
  await world.enrol(phones);
  await world.load(rate);
  say(`${phones} phones of ${world.people.users.length} users are connected`);
  await pause(BEFORE_MS);
  const end = Date.now() + ms;
  let round = 0;
  for (const kind of kindsFrom(names.filter((name) => !skipped[name]), roll)) {
    if (round++ === rounds || Date.now() >= end) break;
    say(kind);
    if (!await breakOnce(world, kind)) break;
    await pause(QUIET_MS);
  }
  const events = await world.end();
  return { ...judge(events, { ...TOLERANCE, late }), skipped, events };
}
