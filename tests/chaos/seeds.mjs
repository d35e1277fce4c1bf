// Holds the checker to its word: brokers that are wrong on purpose, each in one line, must be rejected by the rule that is
// there for it. `make chaos-seeds`, or one of them by its name. A seed is a line of the product's source, and what stands in
// its place; the part is compiled for itself and linked before the library that has the right one.
import assert from "node:assert/strict";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import path from "node:path";

const BUILD = process.env.BUILD ?? "build";

const SEEDS = {
  "hint-dropped-while-attaching": {
    file: "broker/device/server.c",
    line: "        account->awake->again = true; /* attaching: what it reads may be from before this */\n",
    instead: "",
    rejects: ["reaches each phone that is there"],
    kinds: ["cut the phones while a link to Redis loses"],
  },
  "settled-without-compare": {
    file: "broker/store/lua/challenge_settle.lua",
    line: "if not (MOVES[c.state] and MOVES[c.state][wanted]) then\n",
    instead: "if not MOVES.pending[wanted] then\n",
    rejects: ["has one outcome", "ends alike for portal and phones"],
  },
  "pushed-to-another-user": {
    file: "broker/device/server.c",
    line: "    struct account *account = account_find(server, device_id, connection);\n    if (!account)\n        return;\n    if (!account->attached) {\n",
    instead: "    struct session *other = server->sessions[0];\n    struct account *account = other && other->accounts ? other->accounts : account_find(server, device_id, connection);\n"
      + "    if (!account)\n        return;\n    if (!account->attached) {\n",
    rejects: ["is seen by its user's phones only"],
  },
  "waiter-dropped": {
    file: "broker/domain/router.c",
    line: "        if (!is_here(router, route.presence.inbox))\n            send_hint(router, &route, &hint);\n        else if (here)\n",
    instead: "        if (!is_here(router, route.presence.inbox))\n            (void)hint;\n        else if (here)\n",
    rejects: ["is told to who waits for it"],
  },
};

/** Build it: the path of the program. */
function plant(name, { file, line, instead }) {
  const directory = path.join(BUILD, "seeds", name);
  const right = readFileSync(file, "utf8");
  assert.equal(right.split(line).length, 2, `${name}: its line stands once in ${file}`);
  const wrong = right.replace(line, () => instead);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  if (file.endsWith(".lua")) {
    cpSync("broker/store", path.join(directory, "store"), { recursive: true });
    writeFileSync(path.join(directory, path.relative("broker", file)), wrong);
    const scripts = execFileSync("broker/store/embed.sh", [directory, path.join(BUILD, "gen/store/moves.lua"), "broker/store/lua/time.lua"]);
    writeFileSync(path.join(directory, "part.c"), scripts);
  } else {
    writeFileSync(path.join(directory, "part.c"), wrong);
  }
  const program = path.join(directory, "nanopushd");
  execFileSync("make", ["-s", `BUILD=${BUILD}`, program], { stdio: "inherit" });
  return program;
}

/** The rules by which the checker rejects it; a process of its own, since the harness knows one program. */
function rejectedBy(program, { kinds = ["cut half of the phones"], rounds = 4 }) {
  const code = `
    const { runChaos } = await import("./tests/chaos/run.mjs");
    const cleanups = [];
    try {
      const { violations } = await runChaos({ after: (cleanup) => cleanups.unshift(cleanup) },
        { seed: "seeds", kinds: ${JSON.stringify(kinds)}, rounds: ${rounds}, phones: 120, rate: 20 });
      console.log(JSON.stringify(violations));
    } finally {
      for (const cleanup of cleanups) await cleanup();
    }`;
  const said = execFileSync("node", ["--input-type=module", "-e", code, "seeds"], { env: { ...process.env, NANOPUSHD: path.resolve(program) } });
  return JSON.parse(said).map(({ rule }) => rule);
}

const wanted = process.argv.slice(2);
let missed = 0;
for (const [name, seed] of Object.entries(SEEDS).filter(([each]) => wanted.length === 0 || wanted.includes(each))) {
  const rules = rejectedBy(plant(name, seed), seed);
  const rejected = seed.rejects.some((rule) => rules.includes(rule));
  missed += rejected ? 0 : 1;
  console.log(`${rejected ? "rejected" : "MISSED  "} ${name}: ${rules.length} violations, ${[...new Set(rules)].join("; ")}`);
}
process.exitCode = missed === 0 ? 0 : 1;
