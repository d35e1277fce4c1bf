// What the log says, and what it never does: no credential, no token, no signed answer, no text of a challenge, at the
// finest level, whatever the person does. (run.sh looks for such things in the logs of every other test.)
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { ChallengeState, Mode } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { Broker, eventually } from "./harness.mjs";
import { CAN_CHOOSE, CAN_CODE } from "./phone.mjs";
import { Portal } from "./portal.mjs";

const ABLE = { capabilities: CAN_CHOOSE | CAN_CODE };

/** Ways of text that a log could have it in. */
const forms = (secret) => [secret, Buffer.from(secret).toString("base64"), Buffer.from(secret).toString("base64url"), Buffer.from(secret).toString("hex")];

describe("secrets and what people are shown", () => {
  const broker = new Broker({ workers: 2 });
  before(() => broker.start());
  after(() => broker.stop());

  test("none is in the log of a life from enrolment to removal, with each answer and each mistake", async () => {
    const portal = await Portal.create(broker, { modes: ["MODE_TAP", "MODE_CODE"], scopes: ["SCOPE_CHALLENGE", "SCOPE_ENROL", "SCOPE_ADMIN"] });
    const shown = ["Canary-Application", "Canary-Address", "Canary-Place", "Canary-Browser", "Canary-System", "Canary-Message"];
    const [application, address, place, browser, os, message] = shown;
    const context = { application, address, place, browser, os, message };
    const secrets = [portal.credential, portal.credential.split(".")[1]];
    const { phone, user } = await portal.begin({}, ABLE);
    secrets.push(phone.uri.token.toString("base64url"), phone.uri.token.toString("hex"), phone.uri.secret.toString("base64url"));
    const enrolling = await phone.open();
    await phone.enrolOn(enrolling);
    enrolling.close();

    for (const decision of ["approve", "deny", "not_me"]) {
      const person = await portal.connected(ABLE);
      const question = await portal.ask(person.user, { context, mode: Mode.TAP, browserSession: `Canary-Session-${decision}` });
      const push = await person.phone.pushOf(person.connection, question.id);
      const jws = person.phone.answer(push, decision);
      secrets.push(`Canary-Session-${decision}`, question.nonce.toString("base64"), jws, ...jws.split(".").slice(1));
      person.connection.send("answer", { challengeId: push.challengeId, jws: `${jws.slice(0, -4)}AAAA` });
      person.connection.send("answer", { challengeId: push.challengeId, jws });
      await eventually(5000, "it is settled", async () => (await portal.challengeState(question.id)) !== ChallengeState.PENDING);
      person.connection.destroy();
    }
    await portal.post("UserService/GetUser", { user }, { headers: { Authorization: "Bearer nobody.Canary-Wrong-Credential" } });
    await portal.post("ChallengeService/CreateChallenge", '{"user": "x", "context": {"application": "Canary-Broken');
    secrets.push("Canary-Wrong-Credential", "Canary-Broken");
    await broker.logged(/event=session-closed/);

    const log = broker.log();
    for (const secret of [...secrets, ...shown].flatMap(forms))
      assert.ok(!log.includes(secret), `the log has ${secret}`);
    assert.match(log, /event=challenge-settled challenge=[0-9a-f-]+ state=approved/, "but it does say what happened");
  });
});

describe("log_format json", () => {
  const broker = new Broker({ log_format: "json" });
  before(() => broker.start());
  after(() => broker.stop());

  test("each line is one object of strings, with the pairs of the line", async () => {
    const portal = await Portal.create(broker);
    const { connection } = await portal.connected();
    connection.destroy();
    await broker.logged(/"event":"session-closed"/);
    await broker.stats("/", { headers: { Host: "evil.example" } });
    await broker.logged(/stats-host-refused/);
    const rows = broker.log().trim().split("\n").map((line) => JSON.parse(line));
    for (const row of rows) {
      assert.deepEqual(Object.keys(row).slice(0, 5), ["time", "level", "process", "area", "event"]);
      assert.ok(Object.values(row).every((value) => typeof value === "string"));
    }
    const closed = rows.find(({ event }) => event === "session-closed");
    assert.match(closed.conn, /^\d+$/);
    assert.ok(closed.reason);
    assert.equal(rows.find(({ event }) => event === "stats-host-refused").host, "evil.example");
  });
});
