// A portal's credentials (README, "Portals' credentials"): rotated while the portal works, taken away while it waits.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { ChallengeState } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { Broker, eventually, within } from "./harness.mjs";
import { Portal, refuses, unique } from "./portal.mjs";

const broker = new Broker({ workers: 2 });
const NOTICED_MS = 5000; // 2 s are promised; these tests do not time things
let portal;

before(async () => {
  await broker.start();
  portal = await Portal.create(broker);
});
after(() => broker.stop());

const sibling = () => Portal.create(broker, { organisation: portal.organisation });
const admin = (method, request) => broker.admin(`AdminService/${method}`, request);
const works = (credential) => new Portal(broker, { ...portal, credential }).users.getUser({ user: "nobody" }).catch(({ code, rawMessage }) => {
  if (code === 5) return true;
  assert.equal(code, 16, rawMessage);
  return false;
});
const listed = async (id) => (await admin("ListPortals", {})).portals.find((row) => row.id === id);

describe("rotation", () => {
  test("both secrets count until the rotation is finished, and a third is refused", async () => {
    const { id, credential: old } = await sibling();
    const { credential, portal: row } = await admin("RotateCredential", { portal: id });
    assert.equal(row.secrets.length, 2);
    assert.ok(row.secrets[1].expireTime);
    assert.deepEqual([await works(old), await works(credential)], [true, true]);
    await refuses(admin("RotateCredential", { portal: id }), "failed_precondition", /two/);
    await admin("FinishRotation", { portal: id });
    await eventually(NOTICED_MS, "the old secret counts no more", async () => !(await works(old)));
    assert.equal(await works(credential), true);
    assert.equal((await listed(id)).secrets.length, 1);
    await refuses(admin("FinishRotation", { portal: id }), "failed_precondition", /one secret/);
  });

  test("undone, the new secret goes and the old one stays", async () => {
    const { id, credential: old } = await sibling();
    const { credential } = await admin("RotateCredential", { portal: id, overlap: "3600s" });
    assert.equal(await works(credential), true);
    await admin("FinishRotation", { portal: id, undo: true });
    await eventually(NOTICED_MS, "the new secret counts no more", async () => !(await works(credential)));
    assert.equal(await works(old), true);
    assert.equal((await listed(id)).secrets[0].expireTime, undefined);
  });

  test("the old secret ends by itself, and what is held by it", async () => {
    const rotating = await sibling();
    const { id, credential: old } = rotating;
    const { user } = await rotating.enrol();
    const { id: challenge } = await rotating.ask(user);
    const watch = rotating.follow(challenge);
    await watch.until("the pending challenge", ({ state }) => state === ChallengeState.PENDING);
    const { credential } = await admin("RotateCredential", { portal: id, overlap: "2s" });
    await refuses(within(20_000, "the watch ends", watch.end()), "unauthenticated", /withdrawn/);
    assert.deepEqual([await works(old), await works(credential)], [false, true]);
    await admin("RotateCredential", { portal: id, overlap: "0s" });
    await eventually(NOTICED_MS, "at once, without an overlap", async () => !(await works(credential)));
  });

  test("overlaps out of bounds, and portals that there are not", async () => {
    for (const overlap of ["-1s", "7776001s"]) await refuses(admin("RotateCredential", { portal: portal.id, overlap }), "invalid_argument", /overlap/);
    for (const name of ["nobody", "", "No Name"]) {
      await refuses(admin("RotateCredential", { portal: name }), "not_found");
      await refuses(admin("FinishRotation", { portal: name }), "not_found");
      await refuses(admin("RemovePortal", { id: name }), "not_found");
    }
  });
});

describe("a portal is removed", () => {
  test("what it waits for ends, it is nobody, and its name is taken for good", async () => {
    const gone = await sibling();
    const { user } = await gone.enrol();
    const { id } = await gone.ask(user);
    const held = gone.challenges.getChallenge({ id, waitMs: 60_000, afterRevision: 1000n });
    const watch = gone.follow(id);
    await watch.until("the pending challenge", ({ state }) => state === ChallengeState.PENDING);
    await admin("RemovePortal", { id: gone.id });
    await refuses(within(20_000, "the wait ends", held), "unauthenticated", /withdrawn/);
    await refuses(within(20_000, "the watch ends", watch.end()), "unauthenticated", /withdrawn/);
    await refuses(gone.users.getUser({ user }), "unauthenticated", /unknown credential/);
    await admin("RemovePortal", { id: gone.id });
    await refuses(admin("RotateCredential", { portal: gone.id }), "not_found");
    await refuses(admin("CreatePortal", { portal: { id: gone.id, organisation: gone.organisation } }), "already_exists", /was/);
    assert.equal(await listed(gone.id), undefined);
    const { user: there } = await portal.users.getUser({ user });
    assert.equal(there.devices.length, 1, "the phone is the organisation's");
  });

  test("its enrolment enrols nobody", async () => {
    const gone = await sibling();
    const { phone } = await gone.begin();
    await admin("RemovePortal", { id: gone.id });
    const connection = await phone.open();
    await assert.rejects(phone.enrolOn(connection), /EXPIRED|expired|time is over/);
  });
});

describe("lists", () => {
  test("organisations and portals, page by page", async () => {
    const made = [];
    for (let count = 0; count < 5; count++) made.push((await sibling()).id);
    const paged = async (method, field, request) => {
      const rows = [];
      let pageToken = "";
      do {
        const page = await admin(method, { ...request, pageSize: 2, pageToken });
        rows.push(...(page[field] ?? []).map(({ id }) => id));
        pageToken = page.nextPageToken ?? "";
      } while (pageToken);
      return rows;
    };
    const portals = await paged("ListPortals", "portals", { organisation: portal.organisation });
    assert.ok(made.every((id) => portals.includes(id)), portals.join());
    assert.deepEqual(portals, [...new Set(portals)].sort());
    const other = await Portal.create(broker);
    assert.deepEqual(await paged("ListPortals", "portals", { organisation: other.organisation }), [other.id]);
    assert.ok((await paged("ListOrganisations", "organisations", {})).includes(other.organisation));
    assert.deepEqual(await paged("ListPortals", "portals", { organisation: unique("none") }), []);
  });
});

test("an unknown portal, a wrong secret and what is no credential get the same answer", async () => {
  const [id, secret] = portal.credential.split(".");
  const answers = [];
  for (const credential of [`nobody.${secret}`, `${id}.${secret.replace(/^./, (first) => (first === "A" ? "B" : "A"))}`, `${id}.`, `${id}.${secret}x`, id, "."])
    answers.push(await portal.post("UserService/GetUser", {}, { headers: { Authorization: `Bearer ${credential}` } }));
  for (const { status, body } of answers) assert.deepEqual([status, body], [401, answers[0].body]);
});
