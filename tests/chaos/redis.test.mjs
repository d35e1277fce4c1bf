// Nothing is lost and nothing ends twice, whatever is broken, with a Redis that writes to its disk before it answers.
import { testChaos } from "./short.mjs";

testChaos("brokers, their links and their one Redis are killed, paused, held and full", {
  deployment: "redis",
  durability: "always",
  kinds: ["kill a worker", "kill a master", "kill Redis", "pause Redis", "hold a broker's link to Redis", "reach maxmemory"],
  rounds: 6,
  rate: 15,
  phones: 120,
});
