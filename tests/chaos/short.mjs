// A short run of chaos as a test. CHAOS_SEED chooses other faults, or the same again. How soon somebody is told is not judged:
// that is `make chaos`'s, and a test does not fail by what else its machine does.
import assert from "node:assert/strict";
import { test } from "node:test";

import { runChaos } from "./run.mjs";

/** @param options  of runChaos() */
export function testChaos(name, options) {
  const seed = process.env.CHAOS_SEED ?? "1";
  test(name, async (t) => {
    const say = (line) => t.diagnostic(line);
    const cleanups = [];
    say(`CHAOS_SEED=${seed}`);
    try {
      const { violations, figures, skipped } = await runChaos({ after: (cleanup) => cleanups.unshift(cleanup) }, { seed, say, late: Infinity, ...options });
      for (const [kind, missing] of Object.entries(skipped)) say(`skipped: ${kind}, for want of ${missing}`);
      say(JSON.stringify(figures));
      assert.deepEqual(violations, []);
      assert.ok(figures.outcomes.APPROVED > 50, "there was a load");
    } finally {
      for (const cleanup of cleanups) await cleanup();
    }
  });
}
