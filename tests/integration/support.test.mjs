// An organisation's support text: with each error that a person will see, and with no other; as it is now.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { fromBinary } from "@bufbuild/protobuf";

import { LocalizedMessageSchema } from "../../build/gen-js/google/rpc/error_details_pb.js";
import { Broker } from "./harness.mjs";
import { Portal, unique } from "./portal.mjs";

const HELP = "Hilfe: 4711 \u2013 auch nachts";
const broker = new Broker();
let portal;

const setText = (supportText) => broker.admin("AdminService/SetSupportText", { organisation: portal.organisation, supportText });

before(async () => {
  await broker.start();
  portal = await Portal.create(broker, { scopes: ["SCOPE_CHALLENGE", "SCOPE_ENROL", "SCOPE_ADMIN"] });
  await setText(HELP);
});
after(() => broker.stop());

/** The code of the error that a call ends with, and what it says to the person. */
async function refusal(method, request) {
  const { body } = await portal.post(method, request);
  const { code, details = [] } = JSON.parse(body);
  const help = details.filter(({ type }) => type === "google.rpc.LocalizedMessage")
    .map(({ value }) => fromBinary(LocalizedMessageSchema, Buffer.from(value, "base64")).message);
  return { code, help };
}

describe("an error that a person will see says how to get help", () => {
  test("unknown user", async () => {
    for (const method of ["ChallengeService/CreateChallenge", "UserService/GetUser"])
      assert.deepEqual(await refusal(method, { user: "nobody" }), { code: "not_found", help: [HELP] }, method);
  });

  test("no phone", async () => {
    const { user, phone } = await portal.enrol();
    await portal.users.revokeDevice({ deviceId: phone.deviceId });
    assert.deepEqual(await refusal("ChallengeService/CreateChallenge", { user }), { code: "failed_precondition", help: [HELP] });
  });

  test("delayed, and locked", async () => {
    for (const [answer, times] of [["deny", 1], ["not_me", 1]]) {
      const { user, phone, connection } = await portal.connected();
      for (let i = 0; i < times; i++) {
        const question = await portal.ask(user);
        await phone.decide(connection, await phone.pushOf(connection, question.id), answer);
      }
      assert.deepEqual(await refusal("ChallengeService/CreateChallenge", { user }), { code: "resource_exhausted", help: [HELP] }, answer);
    }
  });

  test("the developer's own mistakes do not", async () => {
    assert.deepEqual(await refusal("ChallengeService/CreateChallenge", { user: "" }), { code: "invalid_argument", help: [] });
    assert.deepEqual(await refusal("ChallengeService/GetChallenge", { id: unique("no-id") }), { code: "not_found", help: [] });
  });

  test("it is the text of now; without one there is no detail", async () => {
    await setText("later");
    assert.deepEqual((await refusal("UserService/GetUser", { user: "nobody" })).help, ["later"]);
    await setText("");
    assert.deepEqual((await refusal("UserService/GetUser", { user: "nobody" })).help, []);
    await setText(HELP);
  });

  test("what is no text, or of no organisation, is refused", async () => {
    await assert.rejects(setText("a\u202eb"), /supportText/);
    await assert.rejects(setText("x".repeat(1025)), /supportText/);
    await assert.rejects(broker.admin("AdminService/SetSupportText", { organisation: "nowhere", supportText: "a" }), /no such organisation/);
  });
});
