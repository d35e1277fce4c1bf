// The model of a challenge's life (challenge.pml): spin finds nothing in it, finds each mistake that is built into it, and
// what it takes for granted is held by a test that exists.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { setPriority, tmpdir } from "node:os";
import path from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const start = promisify(execFile);
const AT_ONCE = { concurrency: 2 };
const MODEL = fileURLToPath(new URL("challenge.pml", import.meta.url));
const TESTS = fileURLToPath(new URL("..", import.meta.url));
const STATES_MAX = 4_000_000; // of a world: some seconds
const CALM = { PHONES: 1, CRASHES: 0, FAILOVERS: 0, FLAPS: 0, REPLICATED: 0 };
const REPLICATED = { FAILOVERS: 1, REPLICATED: 1 };

setPriority(10); // it computes, while the tests beside it want their answers in time

const PROMISES = {
  gets: /attached\[n\]&&has\[n\]/,
  told: /outcome!=/,
  one: /announced==/,
  ends: /clock<2/,
  answered: /says\[0\]==/,
};

/** Run the model: its output, and the steps to what is wrong with it, null where nothing is. */
async function run(t, world, mistake = []) {
  const directory = mkdtempSync(path.join(tmpdir(), "nanopush-model-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const at = { cwd: directory, maxBuffer: 1 << 26 };
  const defines = [...Object.entries({ ...CALM, ...world }), ...mistake.map((name) => [name, 1])].map(([name, value]) => `-D${name}=${value}`);
  await start("spin", ["-a", ...defines, MODEL], at);
  await start("gcc", [mistake.length ? "-O0" : "-O1", "-w", "-DSAFETY", "-o", "pan", "pan.c"], at); // a mistake is found soon
  const { stdout } = await start("./pan", ["-m1000"], at);
  assert.doesNotMatch(stdout, /max search depth too small|search was not completed/i, "it was run through to the end");
  const found = /errors: (\d+)/.exec(stdout)[1] !== "0";
  const trail = readdirSync(directory).find((file) => file.endsWith(".trail"));
  assert.equal(trail !== undefined, found);
  return { stdout, trail: found ? (await start("spin", ["-k", path.join(directory, trail), "-p", ...defines, MODEL], at)).stdout : null };
}

describe("what is promised holds", AT_ONCE, () => {
  for (const [title, world] of Object.entries({
    "two phones, nothing dies": { PHONES: 2 },
    "a phone loses its connection": { FLAPS: 1 },
    "a worker is killed": { CRASHES: 1 },
    "a fail-over, durability fast: what it loses is told": { FAILOVERS: 1 },
    "a fail-over, durability replicated: nothing is lost": REPLICATED,
  }))
    test(title, async (t) => {
      const { stdout, trail } = await run(t, world);
      assert.equal(trail, null, `${stdout}\n${trail}`);
      const states = Number(/(\d+) states, stored/.exec(stdout)[1]);
      assert.ok(states < STATES_MAX, `${states} states`);
    });
});

describe("a mistake is found", AT_ONCE, () => {
  for (const [mistake, promise, world] of [
    ["HINT_DROPPED_WHILE_ATTACHING", "gets"],
    ["ATTACH_READS_FIRST", "gets"],
    ["CREATE_READS_FIRST", "gets"],
    ["DETACH_WITHOUT_FENCE", "gets", { FLAPS: 1 }],
    ["INBOX_KEPT_AFTER_FAILOVER", "gets", REPLICATED],
    ["PHONES_NOT_ATTACHED_AGAIN", "gets", REPLICATED],
    ["WAITERS_NOT_REGISTERED_AGAIN", "told", REPLICATED],
    ["WAITER_REGISTERED_AFTER_READ", "told"],
    ["CHANGE_DURING_A_READ_FORGOTTEN", "told"],
    ["NO_REREAD", "told", { CRASHES: 1 }],
    ["SETTLE_WITHOUT_COMPARE", "one", { PHONES: 2 }],
    ["READ_NOT_HELD", "one", REPLICATED],
    ["EXPIRED_BY_A_TIMER", "ends"],
    ["APPROVED_UNANSWERED", "answered"],
  ])
    test(mistake, async (t) => {
      const { stdout, trail } = await run(t, world, [mistake]);
      assert.ok(trail, stdout);
      assert.match(trail.split("\n").find((line) => line.startsWith("spin: text of failed assertion")), PROMISES[promise]);
    });

  test("each that can be built in is in this list", () => {
    const built = new Set([...readFileSync(MODEL, "utf8").matchAll(/^#ifn?def (\w+)/gm)].map(([, name]) => name));
    const tried = new Set([...readFileSync(fileURLToPath(import.meta.url), "utf8").matchAll(/^ {4}\["([A-Z_]+)"/gm)].map(([, name]) => name));
    assert.deepEqual([...tried].sort(), [...built].sort());
  });
});

test("each assumption names a test that there is", () => {
  const held = [...readFileSync(MODEL, "utf8").matchAll(/holds: (\w+) "([^"]+)"/g)];
  assert.ok(held.length >= 15, `${held.length} are named`);
  for (const [, file, title] of held) {
    const unit = file.startsWith("test_");
    const source = readFileSync(path.join(TESTS, unit ? `unit/${file}.c` : `integration/${file}.test.mjs`), "utf8");
    const there = unit ? new RegExp(`\\b(TEST|cmocka_unit_test\\w*)\\(${title}\\b`).test(source) : source.includes(`test("${title}`);
    assert.ok(there, `${file} has a test "${title}"`);
  }
});
