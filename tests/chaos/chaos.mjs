// `make chaos`: a run of chaos by hand, with its report.
//
//     node tests/chaos/chaos.mjs --minutes 5 --deployment redis|sentinel --durability fast|always --phones 1000 --rate 30
//                                --seed SEED --fault "kill Redis" --out DIRECTORY
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";

import { FAULTS } from "./faults.mjs";
import { runChaos } from "./run.mjs";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "5" },
    deployment: { type: "string", default: "redis" },
    durability: { type: "string", default: "fast" },
    phones: { type: "string", default: "2000" },
    rate: { type: "string", default: "40" },
    seed: { type: "string", default: String(Date.now()) },
    fault: { type: "string", multiple: true },
    out: { type: "string", default: path.join(process.env.BUILD ?? "build", "chaos") },
  },
});
for (const kind of values.fault ?? [])
  if (!FAULTS[kind]) throw new Error(`no such fault; there are: ${Object.keys(FAULTS).join(", ")}`);

const started = Date.now();
const say = (line) => console.log(`${((Date.now() - started) / 1000).toFixed(1).padStart(7)} s  ${line}`);
const cleanups = [];
const t = { after: (cleanup) => cleanups.unshift(cleanup) };
console.log(`seed ${values.seed}: --seed ${values.seed} chooses the same faults again`);
try {
  const { violations, figures, skipped, events } = await runChaos(t, {
    deployment: values.deployment, durability: values.durability, seed: values.seed, phones: Number(values.phones), rate: Number(values.rate),
    ms: Number(values.minutes) * 60_000, kinds: values.fault, say,
  });
  mkdirSync(values.out, { recursive: true });
  writeFileSync(path.join(values.out, "history.jsonl"), events.map((event) => `${JSON.stringify(event)}\n`).join(""));
  writeFileSync(path.join(values.out, "report.json"), `${JSON.stringify({ ...values, figures, skipped, violations }, null, 2)}\n`);
  for (const [kind, missing] of Object.entries(skipped)) console.log(`skipped: ${kind}, for want of ${missing}`);
  console.log(JSON.stringify(figures, null, 2));
  for (const { rule, id, text } of violations.slice(0, 20)) console.log(`VIOLATED: ${rule}: ${id} ${text}`);
  console.log(`${violations.length} violations; ${path.join(values.out, "report.json")} and history.jsonl`);
  process.exitCode = violations.length === 0 ? 0 : 1;
} finally {
  for (const cleanup of cleanups) await cleanup();
}
