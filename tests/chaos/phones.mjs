// A process of many phones. Its parent sends {seed, file, brokers: [port, ...], phones: [...]}, {cut: share} to have so
// many of them lose their link, and {count: true} to hear how many are connected; it ends when its parent hangs up.
import { dice, Witness } from "./history.mjs";
import { ChaosPhone, surroundings } from "./phone.mjs";

const TICK_MS = 250;

let roll;
const phones = [];

function begin({ seed, file, brokers, phones: all }) {
  roll = dice(`${seed} links ${all[0].deviceId}`);
  const shared = surroundings({ witness: new Witness(file, "phone"), seed, brokers, roll });
  for (const fields of all) phones.push(new ChaosPhone(shared, fields));
  setInterval(() => {
    for (const phone of phones) phone.tick(Date.now());
  }, TICK_MS);
}

process.on("message", (message) => {
  if (message.phones) begin(message);
  else if (message.cut) phones.filter(() => roll() < message.cut).forEach((phone) => phone.cut());
  else if (message.count) process.send({ connected: phones.filter(({ welcomed }) => welcomed).length });
});
process.on("disconnect", () => process.exit(0));
