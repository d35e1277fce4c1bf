// The dashboard in a real browser: it renders, it moves, an outage shows in red in time, and nothing complains.
// Screenshots are kept beside the build, in screenshots/.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";

import { chromium as playwright } from "playwright-core";

import { Broker, deadline, eventually, NANOPUSHD, pause } from "../integration/harness.mjs";
import { login, Portal } from "../integration/portal.mjs";

const CHROMIUM = "/usr/bin/chromium";
const RED_MS = 5000;
const SHOTS = path.join(path.dirname(NANOPUSHD), "screenshots");
const broker = new Broker({ workers: 2, store_timeout_ms: 10_000 }); // whatever commands may take, an outage is seen in time
let portal, chromium;

before(async () => {
  mkdirSync(SHOTS, { recursive: true });
  await broker.start();
  portal = await Portal.create(broker);
  chromium = await playwright.launch({ executablePath: CHROMIUM, chromiumSandbox: process.getuid() !== 0 });
});
after(async () => {
  await chromium?.close();
  await broker.stop();
});

/** The page, shown; whatever it or the browser complains of, and whatever it asks of others, fails the test. */
async function open(t, { width = 1280, height = 1000, colorScheme = "light" } = {}) {
  const page = await chromium.newPage({ viewport: { width, height }, colorScheme });
  const complaints = [];
  const origin = `http://127.0.0.1:${broker.ports.stats}`;
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => request.url().startsWith(`${origin}/`) || request.url() === "data:," || complaints.push(`asks ${request.url()}`));
  t.after(async () => {
    await page.close();
    assert.deepEqual(complaints, []);
  });
  await page.goto(`${origin}/`);
  const text = (id) => page.locator(`#${id}`).textContent();
  await eventually(5000, "figures", async () => /^\d/.test(await text("phones")));
  const status = async () => `${await page.locator("#status").getAttribute("class")}: ${await text("headline")}`;
  const shoot = (name) => page.screenshot({ path: path.join(SHOTS, `dashboard-${name}.png`), fullPage: true });
  return { page, text, status, shoot };
}

/** Within RED_MS of the trouble the page is red and says what it is; when it is over, green again. */
async function turnsRed({ page, status, shoot }, name, headline, detail, begin, end) {
  assert.equal(await status(), "good: Logins work");
  await begin();
  try {
    await eventually(RED_MS, "red", async () => headline.test(await status()));
    assert.match(await page.locator("#faults").textContent(), detail);
    assert.match(await page.title(), /^✖/);
    await shoot(name);
  } finally {
    await end();
  }
  await eventually(15_000, "green again", async () => (await status()) === "good: Logins work");
}

for (const [name, options] of Object.entries({
  light: {}, dark: { colorScheme: "dark" }, "phone-light": { width: 360, height: 740 }, "phone-dark": { width: 360, height: 740, colorScheme: "dark" },
}))
  test(`it renders, without a scroll bar at the side: ${name}`, async (t) => {
    const { connection } = await portal.connected();
    await login(portal);
    const { page, status, text, shoot } = await open(t, options);
    await eventually(5000, "the phone", async () => Number(await text("phones")) >= 1);
    await pause(2100); // two more looks, for curves and latencies in the picture
    assert.equal(await status(), "good: Logins work");
    assert.equal(await page.locator("#workers tr").count(), 3);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "fits the width");
    const [back, fore] = await page.evaluate(() => {
      const { backgroundColor, color } = getComputedStyle(document.body);
      return [backgroundColor, color].map((value) => value.match(/\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0));
    });
    assert.equal(back < fore, name.includes("dark"), "dark where it is wanted");
    await shoot(name);
    connection.destroy();
  });

test("it moves: phones, logins, outcomes, latency, events", async (t) => {
  const { page, text } = await open(t);
  const approved = () => page.locator("#outcomes > span").nth(1).textContent().then((shown) => Number(shown.replaceAll(",", "")));
  const had = { phones: Number(await text("phones")), approved: await approved() };
  const { connection } = await portal.connected();
  await login(portal);
  await eventually(5000, "one phone more", async () => Number(await text("phones")) === had.phones + 1);
  await eventually(5000, "one login more", async () => (await approved()) === had.approved + 1);
  await eventually(5000, "a rate", async () => Number(await text("logins")) > 0);
  assert.match(await text("latency"), /Portal asks, is accepted[\d.]+ (µs|ms)/);
  const { user, phone, connection: reporting } = await portal.connected();
  const question = await portal.ask(user);
  await phone.decide(reporting, await phone.nextPush(reporting), "not_me");
  assert.ok(question.id);
  await eventually(5000, "the lock among the events", async () => /push locked/.test(await text("recent")));
  assert.match(await text("recent"), /challenge reported/);
  connection.destroy();
  reporting.destroy();
});

describe("an outage shows in red within 5 s", () => {
  test("a worker is stopped", async (t) => {
    const view = await open(t);
    const { workers } = JSON.parse((await broker.stats("/stats.json")).body);
    await turnsRed(view, "worker-stopped", /^bad: Some logins fail$/, /^Worker 2: stopped or saturated, since/,
      () => process.kill(workers[1].pid, "SIGSTOP"), () => process.kill(workers[1].pid, "SIGCONT"));
  });

  test("Redis is stopped", async (t) => {
    const view = await open(t, { width: 360, height: 740, colorScheme: "dark" });
    const redis = broker.redisPid();
    let stoppedMs;
    await turnsRed(view, "redis-stopped", /^bad: Logins fail: Redis does not answer$/, /redis/,
      () => { stoppedMs = Date.now(); process.kill(redis, "SIGSTOP"); },
      async () => {
        try {
          const row = () => view.page.locator("#workers tr").last().textContent();
          await eventually(RED_MS - (Date.now() - stoppedMs), "its row is red", async () => /Redisdoes not answer/.test(await row()));
        } finally {
          process.kill(redis, "SIGCONT");
        }
      });
  });
});

test("its policy lets nothing in", async () => {
  const { headers, body } = await broker.stats("/");
  assert.match(headers["content-security-policy"], /^default-src 'none'; style-src 'sha256-[^']+'; script-src 'sha256-[^']+'; connect-src 'self'/);
  assert.ok(!/https?:\/\//.test(body), "names no other address");
  assert.equal(headers["x-content-type-options"], "nosniff");
});
