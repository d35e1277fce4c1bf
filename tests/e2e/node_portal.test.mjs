// The example portal of clients/node as its own program: a visitor's browser, a phone and the real broker around it.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { chromium as playwright } from "playwright-core";

import { ChallengeState, Occasion } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { Broker, deadline, eventually, within } from "../integration/harness.mjs";
import { CAN_CHOOSE, CAN_CODE, makeKeys, Phone } from "../integration/phone.mjs";
import { Portal } from "../integration/portal.mjs";

const CLIENT = fileURLToPath(new URL("../../clients/node", import.meta.url));
const CHROMIUM = "/usr/bin/chromium";
const ABLE = { capabilities: CAN_CHOOSE | CAN_CODE };
const ALL_MODES = ["MODE_TAP", "MODE_CHOOSE", "MODE_CODE"];
const NUMBER = /<p class="number">(\d+)<\/p>/;
const broker = new Broker({ workers: 2 });

before(async () => {
  execFileSync(path.join(CLIENT, "generate.sh"), { stdio: ["ignore", "ignore", "inherit"] });
  await broker.start();
});
after(() => broker.stop());

/** The portal's program with its own organisation and its own user ada, as ada knows it: {url, user, password}. */
async function startPortal({ mode = "code" } = {}) {
  const { id, organisation, credential } = await Portal.create(broker, { modes: ALL_MODES });
  const directory = mkdtempSync(path.join(broker.root, "portal-"));
  const inDirectory = (name) => path.join(directory, name);
  writeFileSync(inDirectory("credential"), `${credential}\n`, { mode: 0o600 });
  const args = [
    path.join(CLIENT, "portal.mjs"),
    "--broker", `https://127.0.0.1:${broker.ports.portal}`,
    "--ca", path.join(broker.dataDir, "device-ca.pem"),
    "--credential", inDirectory("credential"),
    "--organisation", organisation,
    "--name", `Portal ${id}`,
    "--mode", mode,
    "--users", inDirectory("users.json"),
    "--listen", "127.0.0.1:0",
  ];
  const portal = { users: inDirectory("users.json"), ...(await launch(args)) };
  const { user, password } = /as (?<user>\S+), password (?<password>\S+)/.exec(portal.said.stdout).groups;
  const restart = async () => {
    portal.child.kill();
    Object.assign(portal, await launch(args));
  };
  return Object.assign(portal, { user, password, restart });
}

async function launch(args) {
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  broker.onStop(() => child.kill());
  const said = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) child[name].setEncoding("utf8").on("data", (text) => (said[name] += text));
  const [url] = await eventually(10_000, "the portal listens", () => {
    assert.equal(child.exitCode, null, said.stderr);
    return /http:\S+/.exec(said.stdout);
  });
  return { child, said, url };
}

/** A visitor without JavaScript. */
class Visitor {
  constructor({ url, user, password }) {
    Object.assign(this, { url, user, password, cookies: new Map() });
  }

  fetch(where, options = {}) {
    const cookie = [...this.cookies].map((pair) => pair.join("=")).join("; ");
    const { origin } = new URL(this.url);
    const headers = { cookie, origin, ...options.headers };
    return fetch(new URL(where, this.url), { redirect: "manual", ...options, headers });
  }

  async #follow(response) {
    for (const cookie of response.headers.getSetCookie()) {
      const [, name, value] = /^(\w+)=([^;]*);.*HttpOnly/.exec(cookie);
      this.cookies.set(name, value);
    }
    if (response.status === 303) return this.get(response.headers.get("location"));
    return { status: response.status, path: new URL(response.url).pathname, text: await response.text() };
  }

  async get(where) {
    return this.#follow(await this.fetch(where));
  }

  async post(where, fields = {}, headers = {}) {
    return this.#follow(await this.fetch(where, { method: "POST", body: new URLSearchParams(fields), headers }));
  }

  signIn({ user = this.user, password = this.password } = {}) {
    return this.post("/password", { user, password });
  }

  /** The events of a waiting page so far, as they come in; end(): all of them. */
  async watch(where) {
    const response = await this.fetch(where);
    assert.equal(response.headers.get("content-type"), "text/event-stream");
    const seen = [];
    const ended = (async () => {
      let rest = "";
      for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
        const whole = (rest + text).split("\n\n");
        rest = whole.pop();
        seen.push(...whole.map((event) => JSON.parse(event.slice("data: ".length))));
      }
      return seen;
    })();
    return { seen, end: () => within(10_000, `the events of ${where} end`, ended) };
  }

  /** Show the QR code: the URI that it says. */
  async showEnrolment() {
    const { text } = await this.post("/enrol");
    return /href="(nanopush:[^"]+)"/.exec(text)[1].replaceAll("&amp;", "&");
  }
}

async function enrolled(how) {
  const portal = await startPortal(how);
  const visitor = new Visitor(portal);
  await visitor.signIn();
  const phone = await Phone.enrol(await visitor.showEnrolment(), ABLE);
  broker.onStop(() => phone.hangUp());
  const page = await visitor.post("/enrol/finish");
  assert.equal(page.path, "/push");
  return { portal, visitor, phone, page };
}

/** The same, asked, with the push on the phone. */
async function asked(how) {
  const all = await enrolled(how);
  const connection = await all.phone.connect();
  const page = await all.visitor.post("/push");
  assert.equal(page.path, "/push");
  return { ...all, connection, page, push: await all.phone.nextPush(connection), number: NUMBER.exec(page.text)?.[1] };
}

function decode(svg) {
  const png = execFileSync("rsvg-convert", ["--zoom", "2"], { input: svg });
  const stdio = ["pipe", "pipe", "ignore"]; // it complains of the bus of a desktop
  return execFileSync("zbarimg", ["--quiet", "--raw", "-"], { input: png, encoding: "utf8", stdio }).trim();
}

const pinned = ({ users }) => JSON.parse(readFileSync(users, "utf8")).ada;

describe("the password", () => {
  test("is asked first, and nothing else is there before", async () => {
    const visitor = new Visitor(await startPortal());
    for (const where of ["/", "/push", "/enrol", "/push/progress", "/enrol/progress"]) {
      const page = await visitor.get(where);
      assert.equal(page.path, "/");
      assert.match(page.text, /type="password"/);
    }
    for (const where of ["/push", "/push/finish", "/enrol", "/enrol/finish"])
      assert.equal((await visitor.post(where)).path, "/");
    assert.equal((await visitor.get("/nothing")).status, 404);
  });

  test("must be the user's", async () => {
    const portal = await startPortal();
    for (const wrong of [{ password: "another" }, { user: "ben" }, { user: "__proto__" }, { password: "" }]) {
      const visitor = new Visitor(portal);
      const { status, text } = await visitor.signIn(wrong);
      assert.equal(status, 403);
      assert.match(text, /do not belong together/);
      assert.equal((await visitor.get("/push")).path, "/");
    }
    assert.equal((statSync(portal.users).mode & 0o777).toString(8), "600");
    assert.doesNotMatch(readFileSync(portal.users, "utf8"), new RegExp(portal.password));
  });

  test("is not taken from another site's page, nor from a form that is too long", async () => {
    const visitor = new Visitor(await startPortal());
    for (const origin of ["https://elsewhere.example", "null"]) {
      const { status } = await visitor.post("/password", { user: visitor.user, password: visitor.password }, { origin });
      assert.equal(status, 403);
    }
    assert.equal((await visitor.post("/password", { user: "a".repeat(5000) })).status, 502);
    assert.equal((await visitor.get("/push")).path, "/");
  });
});

describe("enrolling", () => {
  test("the QR code has a secret that the broker never saw, and the phone's keys are pinned", async () => {
    const portal = await startPortal();
    const visitor = new Visitor(portal);
    assert.equal((await visitor.signIn()).path, "/enrol");
    const uri = await visitor.showEnrolment();
    assert.match(uri, /#s=[\w-]{22}$/);
    const { text } = await visitor.get("/enrol");
    assert.equal(decode(/<svg.*<\/svg>/s.exec(text)[0]), uri);
    const events = await visitor.watch("/enrol/progress");
    assert.equal((await visitor.post("/enrol/finish")).path, "/enrol", "it is not done yet");

    const phone = await Phone.enrol(uri, ABLE);
    assert.equal((await events.end()).at(-1).over, true);
    assert.equal((await visitor.post("/enrol/finish")).path, "/push", "and now to sign in with it");
    const { hadPhone, pins } = pinned(portal);
    assert.equal(hadPhone, true);
    assert.equal(pins.length, 1);
    assert.equal(pins[0].deviceId, phone.deviceId);
    assert.deepEqual(pins[0].keys.map(({ kid }) => kid), [phone.possession.thumbprint, phone.verification.thumbprint]);
    assert.doesNotMatch(broker.log(), new RegExp(uri.split("#s=")[1]));
  });

  test("a phone that does not know the secret is not pinned", async () => {
    const portal = await startPortal();
    const visitor = new Visitor(portal);
    await visitor.signIn();
    await Phone.enrol((await visitor.showEnrolment()).replace(/#s=.*/, ""), ABLE);
    const { status, text } = await visitor.post("/enrol/finish");
    assert.equal(status, 403);
    assert.match(text, /does not hold/);
    assert.deepEqual(pinned(portal).pins, []);
    assert.match(portal.said.stderr, /refused, proof/);
  });

  test("who has a phone cannot enrol another on the password alone", async () => {
    const { portal } = await enrolled();
    const visitor = new Visitor(portal);
    assert.equal((await visitor.signIn()).path, "/push");
    for (const page of [await visitor.get("/enrol"), await visitor.post("/enrol"), await visitor.post("/enrol/finish")])
      assert.equal(page.path, "/push");
  });

  test("not even who began before there was one", async () => {
    const portal = await startPortal();
    const [first, second] = [new Visitor(portal), new Visitor(portal)];
    for (const visitor of [first, second]) await visitor.signIn();
    const uris = [await first.showEnrolment(), await second.showEnrolment()];
    await Phone.enrol(uris[0], ABLE);
    await first.post("/enrol/finish");
    assert.equal((await second.post("/enrol/finish")).path, "/push");
    assert.equal(pinned(portal).pins.length, 1);
  });

  test("a second phone, once signed in and once the first has approved it", async () => {
    const { portal, visitor, phone, connection, push, number } = await asked();
    await phone.decide(connection, push, "approve", { code: number });
    assert.equal((await visitor.post("/push/finish")).path, "/");
    const second = Phone.of(await visitor.showEnrolment(), { ...ABLE, name: "Ada's <old> phone" });
    broker.onStop(() => second.hangUp());
    const events = await visitor.watch("/enrol/progress");
    const enrolling = await second.open();
    const { waiting, number: typed } = await second.enrolOn(enrolling);
    assert.equal(waiting, true);
    const question = await phone.nextPush(connection);
    assert.equal(question.shown.occasion, Occasion.NEW_PHONE);
    await phone.decide(connection, question, "approve", { code: typed });
    await second.untilEnrolled(enrolling);
    assert.ok((await events.end()).some(({ text }) => /number that the new phone shows/i.test(text)));
    const { path: where, text } = await visitor.post("/enrol/finish");
    assert.equal(where, "/");
    assert.match(text, /Ada&#39;s &lt;old&gt; phone/);
    assert.equal(pinned(portal).pins.length, 2);
  });
});

describe("signing in", () => {
  for (const [mode, digits] of [["code", 3], ["choose", 2], ["tap", 0]])
    test(`${mode}: the page shows ${digits} digits and each step, and the approval signs in`, async () => {
      const { visitor, phone, connection, push, number } = await asked({ mode });
      assert.equal(number?.length ?? 0, digits);
      assert.equal(push.shown.application, "Example portal");
      assert.equal(push.shown.address, "127.0.0.1");
      const events = await visitor.watch("/push/progress");
      const saw = (text) => eventually(5000, text, () => events.seen.find((event) => event.text === text));
      await saw("Your phone has it.");
      connection.send("seen", { challengeId: push.challengeId, attempt: push.attempt });
      await saw("It is on your phone's screen.");
      assert.equal((await visitor.post("/push/finish")).path, "/push", "nobody answered yet");

      const before = visitor.cookies.get("session");
      assert.equal((await phone.decide(connection, push, "approve", { code: number })).state, ChallengeState.APPROVED);
      assert.equal((await events.end()).at(-1).over, true);
      const { path: where, text } = await visitor.post("/push/finish");
      assert.equal(where, "/");
      assert.match(text, /Welcome, ada/);
      assert.notEqual(visitor.cookies.get("session"), before);

      visitor.cookies.set("session", before);
      assert.match((await visitor.get("/")).text, /type="password"/, "the session of before is nobody's");
    });

  test("each browser waits for its own", async () => {
    const { portal, phone, connection, push, number } = await asked();
    const other = new Visitor(portal);
    await other.signIn();
    await phone.decide(connection, push, "approve", { code: number });
    assert.equal((await other.post("/push/finish")).path, "/push");
    assert.doesNotMatch((await other.get("/")).text, /Welcome/);
  });

  for (const [decision, text, where] of [
    ["deny", /You said no/, "/push"],
    ["not_me", /somebody else knows your password/, "/"],
  ])
    test(`${decision}: nobody is signed in`, async () => {
      const { visitor, phone, connection, push } = await asked();
      await phone.decide(connection, push, decision);
      const page = await visitor.post("/push/finish");
      assert.equal(page.status, 403);
      assert.match(page.text, text);
      assert.equal((await visitor.get("/")).path, where);
    });

  test("another number: nobody is signed in", async () => {
    const { visitor, phone, connection, push, number } = await asked();
    await phone.decide(connection, push, "approve", { code: number === "000" ? "001" : "000" });
    assert.match((await visitor.post("/push/finish")).text, /another number/);
    assert.equal((await visitor.get("/")).path, "/push");
  });

  test("what the broker says against asking again reaches the person", async () => {
    const { visitor, phone, connection, push } = await asked();
    await phone.decide(connection, push, "deny");
    await visitor.post("/push/finish");
    const { status, text } = await visitor.post("/push");
    assert.equal(status, 409);
    assert.match(text, /class="problem"/);
  });

  test("a phone with new keys is known by the rotation that its old ones signed", async () => {
    const { portal, visitor, phone } = await enrolled();
    const connection = await phone.connect();
    await phone.rotate(connection);
    const [, number] = NUMBER.exec((await visitor.post("/push")).text);
    const push = await phone.nextPush(connection);
    await phone.decide(connection, push, "approve", { code: number });
    assert.match((await visitor.post("/push/finish")).text, /Welcome, ada/);
    assert.equal(pinned(portal).pins[0].generation, 2);
  });

  test("what the portal pinned counts, not what the broker has: another key there signs nobody in", async () => {
    const { portal, phone } = await enrolled();
    const [mine, others] = [readFileSync(portal.users, "utf8"), makeKeys()];
    for (const [content, where] of [
      [mine.replaceAll(phone.verification.thumbprint, others.verification.thumbprint), "/push/finish"],
      [mine, "/"],
    ]) {
      writeFileSync(portal.users, content);
      await portal.restart();
      const visitor = new Visitor(portal);
      assert.equal((await visitor.signIn()).path, "/push", "the portal remembers that ada has a phone");
      const [, number] = NUMBER.exec((await visitor.post("/push")).text);
      const connection = await phone.connect();
      const push = await phone.nextPush(connection);
      assert.equal((await phone.decide(connection, push, "approve", { code: number })).state, ChallengeState.APPROVED);
      assert.equal((await visitor.post("/push/finish")).path, where);
      connection.close();
    }
  });
});

// Each page as it is on a phone's screen. SCREENSHOTS=DIRECTORY keeps pictures of them.
describe("in Chromium", { skip: !existsSync(CHROMIUM) && `there is no ${CHROMIUM}` }, () => {
  let chromium;

  before(async () => {
    chromium = await playwright.launch({ executablePath: CHROMIUM, chromiumSandbox: process.getuid() !== 0 });
  });
  after(() => chromium.close());

  for (const colorScheme of ["light", "dark"])
    test(`from the first password to the second sign-in, by itself as the phone answers: ${colorScheme}`, async () => {
      const portal = await startPortal();
      const page = await chromium.newPage({ viewport: { width: 360, height: 740 }, colorScheme });
      const complaints = [];
      page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
      page.on("pageerror", (error) => complaints.push(String(error)));
      const look = async (title) => {
        await page.getByRole("heading", { name: title, exact: true }).waitFor({ timeout: deadline(10_000) });
        const { scrollWidth } = await page.evaluate(() => ({ scrollWidth: document.documentElement.scrollWidth }));
        assert.ok(scrollWidth <= 360, `${title} fits: ${scrollWidth}`);
        if (process.env.SCREENSHOTS)
          await page.screenshot({ path: path.join(process.env.SCREENSHOTS, `${title}-${colorScheme}.png`), fullPage: true });
      };
      const signIn = async () => {
        await page.getByLabel("Name").fill(portal.user);
        await page.getByLabel("Password").fill(portal.password);
        await page.getByRole("button", { name: "Sign in" }).click();
      };

      await page.goto(portal.url);
      await look("Sign in");
      await signIn();
      await page.getByRole("button", { name: "Show the QR code" }).click();
      await look("Add your phone");
      const uri = await page.getByRole("link", { name: "The app is on this device" }).getAttribute("href");
      const phone = await Phone.enrol(uri, ABLE);
      await look("Is it you?");

      const connection = await phone.connect();
      await page.getByRole("button", { name: "Get a push notification" }).click();
      const push = await phone.nextPush(connection);
      await page.getByRole("status").getByText("Your phone has it.").waitFor({ timeout: deadline(10_000) });
      await look("Look at your phone");
      assert.equal(await page.getByRole("button", { name: "Continue" }).isVisible(), false, "it goes on by itself");
      const number = await page.locator(".number").textContent();
      await phone.decide(connection, push, "approve", { code: number });
      await look("Signed in");

      await page.getByRole("button", { name: "Sign out" }).click();
      await signIn();
      await page.getByRole("button", { name: "Get a push notification" }).click();
      await phone.decide(connection, await phone.nextPush(connection), "not_me");
      await page.getByRole("alert").getByText("somebody else knows your password").waitFor({ timeout: deadline(10_000) });
      assert.deepEqual(complaints.filter((text) => !/status of 40[34]/.test(text)), []);
      await page.close();
    });
});
