// A portal shows a client certificate (README, "Portals' credentials"), by clients that others wrote; and every certificate
// that is nobody's gets its own answer, in the form of the protocol.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { X509Certificate } from "node:crypto";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

import { UserService } from "../../build/gen-js/nanopush/v1/user_pb.js";
import { Broker, deadline, eventually } from "./harness.mjs";
import { Portal, refuses } from "./portal.mjs";

const NOTICED_MS = 5000;
const room = mkdtempSync(path.join(tmpdir(), "nanopush-certificates-"));
const file = (name) => path.join(room, name);
const broker = new Broker({ portal_client_ca: file("ca.pem") });
const admin = (method, request) => broker.admin(`AdminService/${method}`, request);
let portal;
let user;

function openssl(...args) {
  const { status, stderr } = spawnSync("openssl", args, { encoding: "utf8", cwd: room });
  assert.equal(status, 0, `openssl ${args.join(" ")}: ${stderr}`);
}

/** A certificate with its key: name.pem, name.key. by: the CA; none: self-signed. */
function certificate(name, { by, subject = `/CN=${name}`, sans, days = 10, ca = false } = {}) {
  const extensions = [`basicConstraints=critical,CA:${ca ? "TRUE" : "FALSE"}`, ...(sans ? [`subjectAltName=${sans.join(",")}`] : [])];
  openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", subject);
  writeFileSync(file(`${name}.ext`), extensions.join("\n"));
  const signer = by ? ["-CA", `${by}.pem`, "-CAkey", `${by}.key`, "-CAcreateserial"] : ["-signkey", `${name}.key`];
  openssl("x509", "-req", "-in", `${name}.csr`, ...signer, "-out", `${name}.pem`, "-days", String(days), "-extfile", `${name}.ext`);
  return name;
}

const uri = (id = portal.id, organisation = portal.organisation) => `URI:nanopush://${organisation}/${id}`;
const fingerprint = (name) => new X509Certificate(readFileSync(file(`${name}.pem`))).fingerprint256.replaceAll(":", "").toLowerCase();

/** curl, once by each version of HTTP: [code, answer], the same for both. */
function curl(name, { credential, method = "nanopush.v1.UserService/GetUser" } = {}) {
  const answers = ["--http1.1", "--http2"].map((version) => {
    const shown = [...(name ? ["--cert", file(`${name}.pem`), "--key", file(`${name}.key`)] : []), ...(credential ? ["-H", `Authorization: Bearer ${credential}`] : [])];
    const { status, stdout, stderr } = spawnSync("curl", [
      "-sS", version, "--cacert", path.join(broker.dataDir, "device-ca.pem"), ...shown, "-H", "Content-Type: application/json",
      "-d", JSON.stringify({ user }), "-w", "\n%{http_code}", `https://localhost:${broker.ports.portal}/${method}`,
    ], { encoding: "utf8", timeout: deadline(10_000) });
    assert.equal(status, 0, stderr);
    const [body, code] = stdout.split("\n");
    return [Number(code), JSON.parse(body)];
  });
  assert.deepEqual(answers[0], answers[1]);
  return answers[0];
}

/** By both versions, once the broker has noticed. */
const settles = (wanted, what, ...how) => eventually(NOTICED_MS, what, () => {
  try {
    return curl(...how)[0] === wanted;
  } catch (error) {
    if (error.code !== "ERR_ASSERTION") throw error;
    return false;
  }
});
const accepts = (...how) => assert.deepEqual(curl(...how)[1].user?.name, user, JSON.stringify(curl(...how)));
function denies(text, ...how) {
  const [code, { code: name, message }] = curl(...how);
  assert.deepEqual([code, name], [401, "unauthenticated"]);
  assert.match(message, text);
}

before(async () => {
  certificate("ca", { ca: true });
  certificate("other-ca", { ca: true });
  await broker.start();
  portal = await Portal.create(broker);
  ({ user } = await portal.enrol());
  certificate("named", { by: "ca", sans: [uri(), "DNS:portal.example.com"] });
  certificate("own");
});
after(async () => {
  await broker.stop();
  rmSync(room, { recursive: true, force: true });
});

describe("named by its URI, from the CA of portals", () => {
  test("curl, by HTTP/1.1 and HTTP/2; alone and with the secret", () => {
    accepts("named");
    accepts("named", { credential: portal.credential });
  });

  test("connect-node and gRPC over one HTTP/2 connection; grpc-js", async () => {
    const tls = { ca: broker.ca, cert: readFileSync(file("named.pem")), key: readFileSync(file("named.key")) };
    const baseUrl = `https://localhost:${broker.ports.portal}`;
    for (const create of [createConnectTransport, createGrpcTransport]) {
      const sessionManager = new Http2SessionManager(baseUrl, {}, tls);
      broker.onStop(() => sessionManager.abort());
      const users = createClient(UserService, create({ baseUrl, httpVersion: "2", sessionManager }));
      assert.equal((await users.getUser({ user })).user.name, user);
    }
    const definition = loader.loadSync("nanopush/v1/user.proto", { includeDirs: [fileURLToPath(new URL("../../proto", import.meta.url))] });
    const { nanopush } = grpc.loadPackageDefinition(definition);
    const client = new nanopush.v1.UserService(`localhost:${broker.ports.portal}`, grpc.credentials.createSsl(Buffer.from(broker.ca), tls.key, tls.cert));
    broker.onStop(() => client.close());
    const answer = await new Promise((resolve, reject) => client.getUser({ user }, (error, value) => (error ? reject(error) : resolve(value))));
    assert.equal(answer.user.name, user);
  });

  test("each that names nobody, in words", async () => {
    const sibling = await Portal.create(broker, { organisation: portal.organisation });
    for (const [name, how, text] of [
      ["cn-only", { by: "ca", subject: `/CN=nanopush:\\/\\/${portal.organisation}\\/${portal.id}` }, /one URI/],
      ["two-uris", { by: "ca", sans: [uri(), uri(sibling.id)] }, /one URI/],
      ["same-twice", { by: "ca", sans: [uri(), uri()] }, /one URI/],
      ["other-scheme", { by: "ca", sans: [`URI:https://${portal.organisation}/${portal.id}`] }, /one URI/],
      ["more-path", { by: "ca", sans: [`${uri()}/x`] }, /one URI/],
      ["dns-only", { by: "ca", sans: [`DNS:${portal.id}`] }, /one URI/],
      ["other-organisation", { by: "ca", sans: [uri(portal.id, "nobody")] }, /unknown credential/],
      ["other-portal", { by: "ca", sans: [uri("nobody")] }, /unknown credential/],
      ["expired", { by: "ca", sans: [uri()], days: -1 }, /not valid at this time/],
      ["from-other-ca", { by: "other-ca", sans: [uri()] }, /no CA of portals/],
      ["self-signed", { sans: [uri()] }, /no CA of portals/],
      ["by-a-leaf", { by: "named", sans: [uri()] }, /no CA of portals/],
    ]) {
      denies(text, certificate(name, how));
    }
    const { id } = sibling;
    denies(/not of this portal/, certificate("siblings", { by: "ca", sans: [uri(id)] }), { credential: portal.credential });
    accepts("siblings");
    denies(/unknown credential/, "siblings", { credential: `${portal.id}.${"A".repeat(43)}` });
    await admin("RemovePortal", { id });
    await settles(401, "a removed portal's certificate is nobody's", "siblings");
    denies(/unknown credential/, "siblings");
    denies(/send Authorization/, undefined);
  });
});

describe("pinned by its fingerprint", () => {
  test("self-signed, from when it is pinned until it is not", async () => {
    denies(/pinned to none/, "own");
    denies(/not of this portal/, "own", { credential: portal.credential });
    await admin("SetCertificates", { portal: portal.id, add: fingerprint("own") });
    await settles(200, "it is accepted", "own");
    accepts("own", { credential: portal.credential });
    const other = await Portal.create(broker, { organisation: portal.organisation });
    await refuses(admin("SetCertificates", { portal: other.id, add: fingerprint("own") }), "already_exists", /another portal/);
    denies(/not of this portal/, "own", { credential: other.credential });
    await admin("SetCertificates", { portal: portal.id, drop: fingerprint("own") });
    await settles(401, "it is not any more", "own");
    await admin("SetCertificates", { portal: other.id, add: fingerprint("own") });
    await settles(200, "it is another's now", "own");
    await admin("RemovePortal", { id: other.id });
    const third = await admin("CreatePortal", { portal: { id: `${other.id}-again`, organisation: portal.organisation, certificates: [fingerprint("own")] } });
    assert.deepEqual(third.portal.certificates, [fingerprint("own")], "a removed portal gives it back");
  });

  test("an open HTTP/2 connection of a portal that lost its certificate", async () => {
    certificate("taken");
    await admin("SetCertificates", { portal: portal.id, add: fingerprint("taken") });
    const baseUrl = `https://localhost:${broker.ports.portal}`;
    const sessionManager = new Http2SessionManager(baseUrl, {}, { ca: broker.ca, cert: readFileSync(file("taken.pem")), key: readFileSync(file("taken.key")) });
    broker.onStop(() => sessionManager.abort());
    const users = createClient(UserService, createConnectTransport({ baseUrl, httpVersion: "2", sessionManager }));
    assert.equal((await users.getUser({ user })).user.name, user);
    await admin("SetCertificates", { portal: portal.id, drop: fingerprint("taken") });
    await eventually(NOTICED_MS, "its next call is refused", () => users.getUser({ user }).then(() => false, ({ code }) => code === 16));
    assert.equal(sessionManager.state(), "open", "on the same connection");
  });

  test("required: the secret alone is not enough, with the certificate it is", async () => {
    const strict = await Portal.create(broker, { organisation: portal.organisation });
    certificate("strict");
    await admin("SetCertificates", { portal: strict.id, add: fingerprint("strict"), secret: "SECRET_NOT_ENOUGH" });
    await settles(401, "the secret alone is not enough", undefined, { credential: strict.credential });
    denies(/client certificate, too/, undefined, { credential: strict.credential });
    denies(/unknown credential/, undefined, { credential: `${strict.id}.${"A".repeat(43)}` });
    accepts("strict");
    accepts("strict", { credential: strict.credential });
    await admin("SetCertificates", { portal: strict.id, secret: "SECRET_ENOUGH" });
    accepts(undefined, { credential: strict.credential });
  });

  test("what an administrator gets wrong", async () => {
    await refuses(admin("SetCertificates", { portal: portal.id, add: "xyz" }), "invalid_argument", /64 hex/);
    await refuses(admin("SetCertificates", { portal: "nobody", add: "0".repeat(64) }), "not_found");
    const full = await Portal.create(broker, { organisation: portal.organisation });
    for (let count = 1; count <= 4; count++) await admin("SetCertificates", { portal: full.id, add: String(count).repeat(64) });
    await refuses(admin("SetCertificates", { portal: full.id, add: "5".repeat(64) }), "failed_precondition", /drop one/);
    await admin("SetCertificates", { portal: full.id, add: "5".repeat(64), drop: "1".repeat(64) });
  });
});

test("grpc.health.v1 is open with any certificate, or none", () => {
  for (const name of ["own", "expired", "from-other-ca", undefined]) assert.equal(curl(name, { method: "grpc.health.v1.Health/Check" })[0], 200);
});

test("a CA that cannot be read stops the start, and says so", async () => {
  const wrong = new Broker({ portal_client_ca: file("nothing.pem") });
  await assert.rejects(wrong.start(), /portals' CA .*nothing\.pem/);
  await wrong.stop();
});
