// One login with nothing but the project's own programs: nanopushd, and nanopush as administrator, portal and phone.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";

import { Broker, eventually, NANOPUSHD, within } from "../integration/harness.mjs";
import { login, Portal, unique } from "../integration/portal.mjs";

const NANOPUSH = path.join(path.dirname(NANOPUSHD), "nanopush");
const SANITIZER = /ERROR: AddressSanitizer|runtime error|LeakSanitizer/;
const broker = new Broker({ workers: 2 });
const inRoot = (name) => path.join(broker.root, name);
const PORTAL = ["--credential", inRoot("credential"), "--pins", inRoot("pins")];

before(async () => {
  await broker.start();
  writeFileSync(inRoot("passcode"), "1234\n", { mode: 0o600 });
  await run("org", "add", "acme", "--name", "ACME GmbH");
  await run("portal", "add", "nano", "--org", "acme", "--mode", "tap", "--scope", "challenge,enrol", "--credential", inRoot("credential"));
});
after(() => broker.stop());

/** Start nanopush: its lines so far, its outcome as {status, stdout, stderr}. */
function start(args, { input } = {}) {
  const child = spawn(NANOPUSH, [...args, "--data", broker.dataDir], { stdio: ["pipe", "pipe", "pipe"] });
  broker.onStop(() => child.kill("SIGKILL"));
  const said = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) child[name].setEncoding("utf8").on("data", (text) => (said[name] += text));
  child.stdin.on("error", () => {}); // it may end before it has read what it was given
  if (input !== undefined) child.stdin.end(input);
  const ended = new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      assert.doesNotMatch(said.stderr, SANITIZER);
      resolve({ status: code ?? signal, ...said });
    });
  });
  ended.catch(() => {});
  return {
    child,
    end: (ms = 20_000) => within(ms, `nanopush ${args.join(" ")} ends; it said ${JSON.stringify(said)}`, ended),
    until: (pattern) => eventually(15_000, `${pattern} from nanopush ${args.join(" ")}: ${JSON.stringify(said)}`, () => pattern.exec(said.stdout)),
    events: () => said.stdout.split("\n").filter(Boolean).map((line) => JSON.parse(line)),
  };
}

/** Run it to its end; it is to succeed. */
async function run(...args) {
  const { status, stdout, stderr } = await start(args, { input: "" }).end();
  assert.equal(status, 0, `nanopush ${args.join(" ")}: ${stderr}`);
  return stdout;
}

const phoneArgs = (state, ...more) => ["phone", "run", "--state", state, "--passcode-file", inRoot("passcode"), "--json", ...more];

/** A user with a soft phone, whose keys the portal has pinned. */
async function enrol() {
  const user = unique("user");
  const state = inRoot(`phone-${user}`);
  const { id, uri } = JSON.parse(await run("enrol", "create", user, ...PORTAL, "--json"));
  assert.match(uri, /#s=[A-Za-z0-9_-]{22}$/);
  const watching = start(["enrol", "watch", id, ...PORTAL]);
  await run("phone", "enrol", uri, "--state", state, "--passcode-file", inRoot("passcode"), "--name", "Soft");
  assert.equal((await watching.end()).status, 0);
  return { user, state };
}

async function ask(user, ...more) {
  const asking = start(["challenge", "create", user, ...PORTAL, "--mode", "tap", "--application", "Payroll", "--address", "192.0.2.7", "--watch", ...more]);
  return asking.end();
}

describe("the login of the user guide", () => {
  test("every file that holds a secret is the owner's alone", async () => {
    const { state } = await enrol();
    for (const file of [inRoot("credential"), inRoot("pins"), path.join(state, "possession.pem"), path.join(state, "user-verification.pem")])
      assert.equal((statSync(file).mode & 0o777).toString(8), "600", file);
    assert.match(readFileSync(path.join(state, "user-verification.pem"), "utf8"), /ENCRYPTED/);
  });

  for (const [answer, status, word] of [["approve", 0, /approved/i], ["deny", 10, /denied|no/i], ["not-me", 11, /not me|reported/i]])
    test(`${answer}: the portal's command ends with ${status}`, async () => {
      const { user, state } = await enrol();
      const phone = start(phoneArgs(state, "--answer", answer, "--once"));
      await phone.until(/"welcome"/);
      const outcome = await ask(user);
      assert.equal(outcome.status, status, outcome.stdout + outcome.stderr);
      assert.match(outcome.stdout, word);
      assert.equal((await phone.end()).status, 0);
      const events = phone.events();
      assert.deepEqual(
        events.map(({ event }) => event).filter((event) => ["welcome", "challenge", "answered", "resolved"].includes(event)),
        ["welcome", "challenge", "answered", "resolved"],
      );
    });

  test("a soft phone that comes back resumes its TLS session, once by each, and a ticket authenticates nobody", async () => {
    const { state } = await enrol();
    const session = path.join(state, "session");
    const resumed = async () => (await broker.metrics()).nanopush_tls_resumed_total;
    const visit = () => start(phoneArgs(state, "--max-seconds", "1"), { input: "" }).end();
    const before = await resumed();
    assert.equal((await visit()).status, 0);
    assert.equal(await resumed(), before, "enrolling keeps nothing: the first time the handshake is a full one");
    assert.equal((statSync(session).mode & 0o777).toString(8), "600");
    const first = readFileSync(session, "utf8");
    assert.equal((await visit()).status, 0);
    assert.equal(await resumed(), before + 1);
    assert.notEqual(readFileSync(session, "utf8"), first);

    writeFileSync(session, "AAAA", { mode: 0o600 });
    assert.equal((await visit()).status, 0, "with one that is broken the handshake is a full one");
    assert.equal(await resumed(), before + 1);

    const [, deviceId] = /^device_id (.*)$/m.exec(readFileSync(path.join(state, "account"), "utf8"));
    await broker.admin("UserService/RevokeDevice", { deviceId });
    const refused = await visit();
    assert.notEqual(refused.status, 0);
    assert.match(refused.stdout, /DENIED/i);
    assert.equal(await resumed(), before + 2);
    assert.ok(!existsSync(session), "who is not welcome keeps nothing");
  });

  test("asked by a person: the phone waits for a line", async () => {
    const { user, state } = await enrol();
    const phone = start(phoneArgs(state, "--answer", "ask", "--once"));
    await phone.until(/"welcome"/);
    const asking = ask(user);
    await phone.until(/"challenge"/);
    phone.child.stdin.write("approve\n");
    assert.equal((await asking).status, 0);
    assert.equal((await phone.end()).status, 0);
  });

  test("a phone that is started after the question finds it", async () => {
    const { user, state } = await enrol();
    const asking = ask(user);
    const phone = start(phoneArgs(state, "--answer", "approve", "--once"));
    assert.equal((await asking).status, 0);
    await phone.end();
  });

  test("a phone that is killed and started again alerts once", async () => {
    const { user, state } = await enrol();
    const first = start(phoneArgs(state, "--answer", "ignore"));
    await first.until(/"welcome"/);
    const asking = ask(user);
    await first.until(/"challenge"/);
    first.child.kill("SIGKILL");
    await first.end();
    const second = start(phoneArgs(state, "--answer", "approve", "--once"));
    assert.equal((await asking).status, 0);
    await second.end();
    const alerts = [first, second].map((phone) => phone.events().find(({ event }) => event === "challenge").alert);
    assert.deepEqual(alerts, [true, false]);
  });

  test("cancelled by the portal: both are told", async () => {
    const { user, state } = await enrol();
    const phone = start(phoneArgs(state, "--answer", "ignore", "--once"));
    await phone.until(/"welcome"/);
    const { id } = JSON.parse(await run("challenge", "create", user, ...PORTAL, "--mode", "tap", "--json"));
    await phone.until(/"challenge"/);
    const watching = start(["challenge", "watch", id, ...PORTAL]);
    await watching.until(/./);
    await run("challenge", "cancel", id, "--credential", inRoot("credential"));
    assert.equal((await watching.end()).status, 13);
    await phone.end();
  });
});

describe("what does not hold", () => {
  test("an approval by a phone whose keys are not pinned: 20", async () => {
    const { user, state } = await enrol();
    const pins = JSON.parse(readFileSync(inRoot("pins"), "utf8"));
    const { user: other } = await enrol();
    const swapped = JSON.parse(readFileSync(inRoot("pins"), "utf8"));
    swapped.users[user].devices = swapped.users[other].devices;
    writeFileSync(inRoot("pins"), JSON.stringify(swapped), { mode: 0o600 });
    const phone = start(phoneArgs(state, "--answer", "approve", "--once"));
    const outcome = await ask(user);
    assert.equal(outcome.status, 20, outcome.stdout + outcome.stderr);
    await phone.end();
    const restored = JSON.parse(readFileSync(inRoot("pins"), "utf8"));
    restored.users[user] = pins.users[user];
    writeFileSync(inRoot("pins"), JSON.stringify(restored), { mode: 0o600 });
  });

  test("a wrong passcode does not approve", async () => {
    const { state } = await enrol();
    writeFileSync(inRoot("wrong"), "4321\n", { mode: 0o600 });
    const phone = start(["phone", "run", "--state", state, "--passcode-file", inRoot("wrong"), "--json", "--max-seconds", "5"]);
    assert.equal((await phone.end()).status, 1);
  });

  test("a wrong credential, an unknown user, a wrong command line", async () => {
    writeFileSync(inRoot("bad"), `nano.${"A".repeat(43)}\n`, { mode: 0o600 });
    const wrong = await start(["challenge", "create", "ada", "--credential", inRoot("bad")], { input: "" }).end();
    assert.equal(wrong.status, 1);
    assert.match(wrong.stderr, /unauthenticated/);
    const unknown = await start(["challenge", "create", "nobody", ...PORTAL, "--mode", "tap"], { input: "" }).end();
    assert.equal(unknown.status, 1);
    assert.match(unknown.stderr, /not_found/);
    const usage = await start(["challenge", "crate", "ada"], { input: "" }).end();
    assert.equal(usage.status, 2);
    assert.match(usage.stderr, /challenge create/);
  });

  test("who needs help is told how: the organisation's support text goes with the error, as it is now", async () => {
    const refused = async () => (await start(["challenge", "create", "nobody", ...PORTAL, "--mode", "tap"], { input: "" }).end()).stderr;
    assert.doesNotMatch(await refused(), /help/);
    await run("org", "set", "acme", "--support", "Ask the help desk: 4711");
    assert.match(await refused(), /not_found[^]*help: Ask the help desk: 4711/);
    assert.match(await run("org", "list"), /4711/);
    await run("org", "set", "acme");
    assert.doesNotMatch(await refused(), /4711/);
    const bad = await start(["org", "set", "acme", "--support", "a\nb"], { input: "" }).end();
    assert.match(bad.stderr, /invalid_argument: supportText/);
    const unknown = await start(["org", "set", "nowhere", "--support", "a"], { input: "" }).end();
    assert.match(unknown.stderr, /not_found/);
  });

  test("a question that is to be verified names its mode; one that was remembered without is not verified", async () => {
    const { user, state } = await enrol();
    const unnamed = await start(["challenge", "create", user, ...PORTAL], { input: "" }).end();
    assert.equal(unnamed.status, 2);
    assert.match(unnamed.stderr, /--mode/);
    const { id } = JSON.parse(await run("challenge", "create", user, ...PORTAL, "--mode", "tap", "--json"));
    const pins = readFileSync(inRoot("pins"), "utf8");
    assert.match(pins, /"mode":\s*"MODE_TAP"/);
    writeFileSync(inRoot("pins"), pins.replace(/,?\s*"mode":\s*"MODE_TAP"/, ""), { mode: 0o600 });
    const phone = start(phoneArgs(state, "--answer", "approve", "--once"));
    const outcome = await start(["challenge", "watch", id, ...PORTAL]).end();
    assert.equal(outcome.status, 20, outcome.stdout + outcome.stderr);
    assert.match(outcome.stdout + outcome.stderr, /mode/);
    await phone.end();
  });
});

test("what is printed for a person: the QR code, the figures", async () => {
  const shown = await run("enrol", "create", unique("user"), ...PORTAL, "--svg", inRoot("qr.svg"));
  assert.match(shown, /[▀▄█]/);
  assert.match(shown, /nanopush:\/\/enrol\?v=1&/);
  assert.match(readFileSync(inRoot("qr.svg"), "utf8"), /<svg/);
  assert.match(await run("stats"), /challenges/);
});

test("beside it, the phone and portal of the integration tests work with the same broker", async () => {
  assert.ok(existsSync(inRoot("credential")));
  await login(await Portal.create(broker));
});

describe("the audit", () => {
  const verify = async (...args) => start(["audit", "verify", ...args], { input: "" }).end();

  test("is shown, and holds; against a head that was kept elsewhere, too", async () => {
    const shown = (await run("audit", "show")).trim().split("\n").map((line) => JSON.parse(line));
    assert.ok(shown.some(({ kind }) => kind === "organisation_added"));
    const text = await run("audit", "verify");
    assert.match(text, / lines, 0 findings/);
    const files = readdirSync(path.join(broker.dataDir, "audit")).map((name) => path.join(broker.dataDir, "audit", name));
    const last = JSON.parse(readFileSync(files[0], "utf8").trim().split("\n").at(-1));
    assert.match(await run("audit", "verify", "--head", `${last.chain}:${last.seq}:${last.mac}`), /whole up to it/);
    const cut = await verify("--head", `${last.chain}:999999:${last.mac}`);
    assert.equal(cut.status, 20);
    assert.match(cut.stderr, /cut, or taken away/);
    assert.equal((await verify("--head", "x")).status, 2);
  });

  test("is followed as it happens, from a time on, and through a start of the broker anew", async (t) => {
    const past = start(["audit", "follow", "--since", "2020-01-01T00:00:00Z"]);
    const live = start(["audit", "follow", "--json"]);
    await past.until(/ organisation_added +acme by=/);
    const since = new Date(Math.ceil((Date.now() + 1) / 1000) * 1000);
    await eventually(5000, "the next second", () => new Date() > since);
    const fresh = start(["audit", "follow", "--json", "--since", since.toISOString().replace(".000", "")]);
    await run("org", "add", "followed", "--name", "Followed");
    for (const follower of [live, fresh]) await follower.until(/"organisation":"followed"/);
    const { workers } = JSON.parse((await broker.stats("/stats.json")).body);
    const ops = broker.processes().find(({ pid, parent, command }) => parent === broker.child.pid && !/redis/.test(command) && !workers.some((worker) => worker.pid === pid));
    process.kill(ops.pid, "SIGKILL");
    await eventually(15_000, "another ops process", async () => (await start(["org", "add", "anew", "--name", "Anew"], { input: "" }).end()).status === 0);
    await fresh.until(/"organisation":"anew"/);
    assert.ok(!fresh.events().some(({ organisation }) => organisation === "acme"), "nothing of before");
    for (const follower of [past, live, fresh]) {
      follower.child.kill("SIGTERM");
      assert.equal((await follower.end()).stderr, "");
    }
    assert.equal((await start(["audit", "follow", "--since", "yesterday"], { input: "" }).end()).status, 2);
  });

  test("does not hold where a line was taken out", async () => {
    const directory = path.join(broker.dataDir, "audit");
    const file = readdirSync(directory).map((name) => path.join(directory, name)).find((name) => readFileSync(name, "utf8").split("\n").length > 3);
    const text = readFileSync(file, "utf8");
    writeFileSync(file, text.slice(text.indexOf("\n") + 1));
    const outcome = await verify();
    writeFileSync(file, text);
    assert.equal(outcome.status, 20, outcome.stdout);
    assert.match(outcome.stderr, /:1: it does not follow the line before it/);
  });
});

describe("an administrator looks after portals", () => {
  const rows = async (...args) => (await run(...args, "--json")).trim().split("\n").filter(Boolean).map((line) => JSON.parse(line));
  const secrets = async () => (await rows("portal", "list", "--org", "kept")).find(({ id }) => id === "looked-after")?.secrets?.length;

  test("lists, rotates, undoes, finishes, removes", async () => {
    await run("org", "add", "kept", "--name", "Kept");
    await run("portal", "add", "looked-after", "--org", "kept", "--credential", inRoot("kept-credential"));
    assert.ok((await rows("org", "list")).some(({ id, name }) => id === "kept" && name === "Kept"));
    assert.match(await run("portal", "list"), /looked-after/);
    await run("portal", "rotate", "looked-after", "--overlap", "600", "--credential", inRoot("rotated"));
    assert.match(readFileSync(inRoot("rotated"), "utf8"), /^looked-after\.\S{43}\n$/);
    assert.equal(statSync(inRoot("rotated")).mode & 0o777, 0o600);
    assert.equal(await secrets(), 2);
    const third = await start(["portal", "rotate", "looked-after", "--credential", inRoot("third")]).end();
    assert.equal(third.status, 1);
    assert.ok(!existsSync(inRoot("third")), "no file without a credential");
    await run("portal", "rotate", "looked-after", "--undo");
    assert.match(await run("portal", "rotate", "looked-after"), /credential +looked-after\./);
    await run("portal", "rotate", "looked-after", "--finish");
    assert.equal(await secrets(), 1);
    assert.equal((await start(["portal", "rotate", "looked-after", "--finish", "--undo"]).end()).status, 2);
    await run("portal", "remove", "looked-after");
    assert.equal(await secrets(), undefined);
  });
});

test("bash completes commands, their second words, and their options", () => {
  const complete = (...words) => {
    const script = `source <('${NANOPUSH}' completion bash); COMP_WORDS=(nanopush ${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length}; _nanopush; echo "\${COMPREPLY[*]}"`;
    return execFileSync("bash", ["-euc", script], { encoding: "utf8" }).trim().split(" ");
  };
  assert.deepEqual(complete("cha"), ["challenge"]);
  assert.ok(complete("").filter((word) => word === "portal").length === 1, "each once");
  assert.deepEqual(complete("org", ""), ["add", "set", "list"]);
  assert.deepEqual(complete("challenge", "ca"), ["cancel"]);
  assert.deepEqual(complete("portal", "rotate", "shop", "--o"), ["--overlap"]);
  assert.deepEqual(complete("stats", "--js"), ["--json"]);
});
