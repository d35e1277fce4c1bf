// The portal port in every way that a portal's own client may call it: Connect and gRPC, HTTP/2 and HTTP/1.1, from
// clients that others wrote. How it should not be spoken: portal_abuse.test.mjs.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import http2 from "node:http2";
import https from "node:https";
import path from "node:path";
import readline from "node:readline";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

import { ChallengeService } from "../../build/gen-js/nanopush/v1/challenge_pb.js";
import { ChallengeState } from "../../build/gen-js/nanopush/v1/common_pb.js";
import { EnrolmentService } from "../../build/gen-js/nanopush/v1/enrolment_pb.js";
import { UserService } from "../../build/gen-js/nanopush/v1/user_pb.js";
import { Broker, deadline, eventually, within } from "./harness.mjs";
import { login, loopback, Portal, refuses, unique } from "./portal.mjs";

const { status: Status } = grpc;
const here = (file) => fileURLToPath(new URL(file, import.meta.url));
const broker = new Broker();
let portal;
let baseUrl;

before(async () => {
  await broker.start();
  portal = await Portal.create(broker);
  baseUrl = `https://localhost:${broker.ports.portal}`;
});
after(() => broker.stop());

/** What connects: one HTTP/2 connection, or HTTP/1.1's agent; verbs gets the methods of HTTP that pass. */
function connecting(httpVersion, by, url, verbs) {
  if (httpVersion === "2") {
    const sessionManager = new Http2SessionManager(url, {}, { ca: by.ca });
    by.onStop(() => sessionManager.abort());
    watched(sessionManager, "request", (verb) => verbs.add(verb));
    return { sessionManager };
  }
  const agent = new https.Agent({ keepAlive: true, ca: by.ca });
  by.onStop(() => agent.destroy());
  watched(agent, "addRequest", ({ method }) => verbs.add(method));
  return { nodeOptions: { agent, lookup: loopback } };
}

function watched(object, name, note) {
  const own = object[name].bind(object);
  object[name] = (...args) => {
    note(...args);
    return own(...args);
  };
}

/** The same portal by another transport of connect-node's; verbs: the methods of HTTP that it used. */
function over(createTransport, { httpVersion = "2", ...options }, from = portal, by = broker) {
  const url = `https://localhost:${by.ports.portal}`;
  const verbs = new Set();
  const transport = createTransport({
    baseUrl: url,
    httpVersion,
    ...connecting(httpVersion, by, url, verbs),
    defaultTimeoutMs: deadline(90_000),
    interceptors: [
      (next) => (request) => {
        request.header.set("Authorization", `Bearer ${from.credential}`);
        return next(request);
      },
    ],
    ...options,
  });
  return Object.assign(Object.create(Portal.prototype), from, {
    verbs,
    challenges: createClient(ChallengeService, transport),
    enrolments: createClient(EnrolmentService, transport),
    users: createClient(UserService, transport),
  });
}

async function asked(by = portal, request) {
  const enrolled = await portal.enrol();
  const connection = await enrolled.phone.connect();
  const question = await by.ask(enrolled.user, request);
  return { ...enrolled, connection, question, push: await enrolled.phone.nextPush(connection) };
}

describe("Connect's own clients", () => {
  const transports = [
    ...["1.1", "2"].flatMap((httpVersion) => [false, true].flatMap((useBinaryFormat) => [false, true].map((useHttpGet) => [
      `Connect, HTTP/${httpVersion}, ${useBinaryFormat ? "protobuf" : "JSON"}${useHttpGet ? ", reading by GET" : ""}`,
      createConnectTransport, { httpVersion, useBinaryFormat, useHttpGet },
    ]))),
    ["gRPC", createGrpcTransport, {}],
  ];
  for (const [name, create, options] of transports) {
    test(`${name}: a login, watched to its end`, async () => {
      const by = over(create, options);
      await login(by);
      const { phone, connection, question, push, pins } = await asked(by);
      const watch = by.follow(question.id);
      await watch.until("the pending challenge", ({ state }) => state === ChallengeState.PENDING);
      await phone.decide(connection, push, "approve");
      const snapshots = await watch.end();
      assert.equal(snapshots.at(-1).state, ChallengeState.APPROVED);
      await by.verify(snapshots.at(-1), question, pins);
      assert.deepEqual([...by.verbs].sort(), options.useHttpGet ? ["GET", "POST"] : ["POST"]);
    });

    test(`${name}: errors, of a call and of a stream`, async () => {
      const by = over(create, options);
      await refuses(by.users.getUser({ user: "nobody" }), "not_found");
      await refuses(by.challenges.createChallenge({ user: "" }), "invalid_argument", /user/);
      await refuses(by.challenges.createChallenge({ user: "x".repeat(70_000) }), "resource_exhausted");
      await refuses(by.follow("0".repeat(32)).end(), "not_found");
      const unknown = over(create, options, { ...portal, credential: "nobody.secret" });
      await refuses(unknown.users.getUser({ user: "nobody" }), "unauthenticated");
    });

    test(`${name}: a deadline, and a caller that goes away`, async () => {
      const by = over(create, options);
      const { phone, connection, question, push } = await asked(by);
      await refuses(by.challenges.getChallenge({ id: question.id, waitMs: 60_000, afterRevision: 1000n }, { timeoutMs: 300 }), "deadline_exceeded");
      const leaving = new AbortController();
      const watch = by.challenges.watchChallenge({ id: question.id }, { signal: leaving.signal });
      await refuses(async () => {
        for await (const { challenge } of watch) {
          assert.equal(challenge.state, ChallengeState.PENDING);
          leaving.abort();
        }
      }, "canceled");
      assert.equal((await phone.decide(connection, push, "approve")).state, ChallengeState.APPROVED, "the challenge goes on");
    });
  }

  for (const form of ["json", "proto"])
    test(`connect-web over fetch, ${form}: asked, watched, and an error`, async () => {
      const { user, phone } = await portal.enrol();
      const connection = await phone.connect();
      const child = spawn(process.execPath, [here("web_portal.mjs"), baseUrl, portal.credential, user, form], {
        env: { ...process.env, NODE_EXTRA_CA_CERTS: path.join(broker.dataDir, "device-ca.pem") },
        stdio: ["ignore", "pipe", "inherit"],
      });
      broker.onStop(() => child.kill());
      const lines = [];
      readline.createInterface(child.stdout).on("line", (line) => lines.push(JSON.parse(line)));
      await phone.decide(connection, await phone.nextPush(connection), "approve");
      await within(20_000, "connect-web ends", new Promise((resolve) => child.on("exit", resolve)));
      assert.ok(lines[0].id);
      assert.ok(lines.some(({ state }) => state === "APPROVED"), JSON.stringify(lines));
      assert.equal(lines.at(-1).code, 5);
    });
});

describe("grpc-js, from the .proto files", () => {
  const definition = loader.loadSync(
    ["nanopush/v1/challenge.proto", "nanopush/v1/user.proto", "grpc/health/v1/health.proto"],
    { includeDirs: [here("../../proto")], longs: String, enums: String },
  );
  const { nanopush, grpc: own } = grpc.loadPackageDefinition(definition);

  function client(Service, { credential = portal.credential, ...options } = {}) {
    const bearer = grpc.credentials.createFromMetadataGenerator((_, done) => {
      const metadata = new grpc.Metadata();
      metadata.set("authorization", `Bearer ${credential}`);
      done(null, metadata);
    });
    const tls = grpc.credentials.createSsl(Buffer.from(broker.ca));
    const made = new Service(
      `localhost:${broker.ports.portal}`,
      credential ? grpc.credentials.combineChannelCredentials(tls, bearer) : tls,
      options,
    );
    broker.onStop(() => made.close());
    return made;
  }

  const call = (made, method, request, options = {}) => new Promise((resolve, reject) =>
    made[method](request, new grpc.Metadata(), options, (error, response) => (error ? reject(error) : resolve(response))));

  const fails = (promise, code, text = /./) => assert.rejects(promise, (error) => {
    assert.equal(Status[error.code], Status[code], error.message);
    assert.match(error.details, text);
    return true;
  });

  test("unary calls and a stream to its end", async () => {
    const { user, phone, pins } = await portal.enrol();
    const connection = await phone.connect();
    const challenges = client(nanopush.v1.ChallengeService);
    const { user: known } = await call(client(nanopush.v1.UserService), "GetUser", { user });
    assert.equal(known.devices.length, 1);
    const { id } = await call(challenges, "CreateChallenge", { user, context: { application: "Payroll \u00fc" } });
    const states = [];
    const watch = challenges.WatchChallenge({ id });
    watch.on("data", ({ challenge }) => states.push(challenge.state));
    const ended = new Promise((resolve, reject) => watch.on("status", resolve).on("error", reject));
    await phone.decide(connection, await phone.nextPush(connection), "approve");
    assert.equal((await within(10_000, "the stream ends", ended)).code, Status.OK);
    assert.equal(states.at(-1), "CHALLENGE_STATE_APPROVED");
    const { challenge } = await call(challenges, "GetChallenge", { id });
    assert.ok(challenge.answer.jws.split(".").length === 3 && pins);
  });

  test("every kind of error has gRPC's number, and says what to do", async () => {
    const users = client(nanopush.v1.UserService);
    await fails(call(users, "GetUser", { user: "nobody" }), Status.NOT_FOUND);
    await fails(call(client(nanopush.v1.UserService, { credential: "" }), "GetUser", { user: "a" }), Status.UNAUTHENTICATED, /Bearer/);
    await fails(call(client(nanopush.v1.UserService, { credential: "a.b" }), "GetUser", { user: "a" }), Status.UNAUTHENTICATED);
    const enrols = await Portal.create(broker, { scopes: ["SCOPE_ENROL"] });
    const challenges = client(nanopush.v1.ChallengeService, { credential: enrols.credential });
    await fails(call(challenges, "CreateChallenge", { user: "a" }), Status.PERMISSION_DENIED, /challenge/);
    await fails(call(client(nanopush.v1.ChallengeService), "CreateChallenge", { user: "\n" }), Status.INVALID_ARGUMENT, /user/);
    await fails(call(client(nanopush.v1.ChallengeService), "CreateChallenge", { user: "x".repeat(70_000) }), Status.RESOURCE_EXHAUSTED);
    const zipped = client(nanopush.v1.UserService, { "grpc.default_compression_algorithm": 2 });
    await fails(call(zipped, "GetUser", { user: "a" }), Status.UNIMPLEMENTED, /identity/);
    const elsewhere = client(grpc.makeGenericClientConstructor({
      Call: { ...nanopush.v1.UserService.service.GetUser, path: "/nanopush.v1.UserService/Nothing" },
    }));
    await fails(call(elsewhere, "Call", { user: "a" }), Status.UNIMPLEMENTED, /no such method/);
  });

  test("a deadline ends a call that waits", async () => {
    const { question } = await asked();
    const waiting = { id: question.id, waitMs: 60_000, afterRevision: 1000 };
    await fails(call(client(nanopush.v1.ChallengeService), "GetChallenge", waiting, { deadline: Date.now() + 300 }), Status.DEADLINE_EXCEEDED);
  });

  test("a call that is cancelled is released at once, a stream and one that waits", async () => {
    const { question } = await asked();
    const challenges = client(nanopush.v1.ChallengeService);
    const held = async () => (await broker.metrics()).nanopush_watches_held;
    await eventually(10_000, "nothing is held", async () => (await held()) === 0);
    const watch = challenges.WatchChallenge({ id: question.id });
    const ended = new Promise((resolve) => watch.on("error", resolve));
    await within(5000, "the first snapshot", new Promise((resolve) => watch.once("data", resolve)));
    let unary;
    const failed = new Promise((resolve) => {
      unary = challenges.GetChallenge({ id: question.id, waitMs: 60_000, afterRevision: 1000 }, new grpc.Metadata(), resolve);
    });
    await eventually(10_000, "both are held", async () => (await held()) === 2);
    watch.cancel();
    unary.cancel();
    for (const error of await Promise.all([ended, failed])) assert.equal(error.code, Status.CANCELLED);
    await eventually(10_000, "both are released", async () => (await held()) === 0);
  });

  test("health is told without a credential", async () => {
    const health = client(own.health.v1.Health, { credential: "" });
    for (const service of ["", "nanopush.v1.ChallengeService", "grpc.health.v1.Health"])
      assert.deepEqual(await call(health, "Check", { service }), { status: "SERVING" });
    await fails(call(health, "Check", { service: "nothing" }), Status.NOT_FOUND);
    for (const [service, expected] of [["", "SERVING"], ["nothing", "SERVICE_UNKNOWN"]]) {
      const watch = health.Watch({ service });
      watch.on("error", () => {});
      const first = await within(5000, "the first status", new Promise((resolve) => watch.once("data", resolve)));
      assert.equal(first.status, expected);
      watch.cancel();
    }
  });

  test("a thousand watches on one connection all hear the end", async () => {
    const { phone, connection, question, push } = await asked();
    const challenges = client(nanopush.v1.ChallengeService);
    let begun = 0;
    const ends = Array.from({ length: 1000 }, () => new Promise((resolve, reject) => {
      let last;
      challenges.WatchChallenge({ id: question.id })
        .once("data", () => (begun += 1))
        .on("data", ({ challenge }) => (last = challenge.state))
        .on("error", reject)
        .on("end", () => resolve(last));
    }));
    await eventually(20_000, "all are held", () => begun === 1000);
    await phone.decide(connection, push, "approve");
    const states = new Set(await within(20_000, "all end", Promise.all(ends)));
    assert.deepEqual([...states], ["CHALLENGE_STATE_APPROVED"]);
  });
});

describe("curl, h2load, wrk", () => {
  const installed = (program) => spawnSync(program, ["--version"]).error === undefined;
  const curl = (...args) => {
    const { stdout, stderr, status } = spawnSync("curl", [
      "-sS", "--cacert", path.join(broker.dataDir, "device-ca.pem"), "-w", "\n%{http_code} %{http_version}", ...args,
    ], { encoding: "utf8", timeout: deadline(20_000) });
    assert.equal(status, 0, stderr);
    const lines = stdout.split("\n");
    const [code, version] = lines.pop().split(" ");
    return { code: Number(code), version, body: lines.join("\n") };
  };
  const health = "grpc.health.v1.Health/Check?connect=v1&encoding=json&message=%7B%7D";

  for (const [option, version] of [["--http1.1", "1.1"], ["--http2", "2"]])
    test(`curl ${option}`, async () => {
      const { user } = await portal.enrol();
      const posted = curl(option, "-H", `Authorization: Bearer ${portal.credential}`, "-H", "Content-Type: application/json",
        "-d", JSON.stringify({ user }), `${baseUrl}/nanopush.v1.UserService/GetUser`);
      assert.deepEqual([posted.code, posted.version], [200, version]);
      assert.equal(JSON.parse(posted.body).user.name, user);
      const got = curl(option, `${baseUrl}/${health}`);
      assert.deepEqual([got.code, JSON.parse(got.body)], [200, { status: "SERVING" }]);
      for (const [code, ...args] of [
        [404, `${baseUrl}/nothing`],
        [405, "-X", "DELETE", `${baseUrl}/grpc.health.v1.Health/Check`],
        [405, `${baseUrl}/grpc.health.v1.Health/Watch?encoding=json`],
        [415, `${baseUrl}/grpc.health.v1.Health/Check`],
        [415, "-H", "Content-Type: application/grpc+json", "-d", "{}", `${baseUrl}/grpc.health.v1.Health/Check`],
        [400, `${baseUrl}/${health.replace("v1&", "v2&")}`],
        [400, `${baseUrl}/${health.replace("%7B", "%7")}`],
        [501, `${baseUrl}/${health}&compression=gzip`],
      ]) {
        const refused = curl(option, ...args);
        assert.equal(refused.code, code, args.at(-1));
        assert.ok(JSON.parse(refused.body).code, refused.body);
      }
    });

  test("gRPC over HTTP/1.1 is refused in words", () => {
    const { code, body } = curl("--http1.1", "-H", "Content-Type: application/grpc", "-d", "", `${baseUrl}/grpc.health.v1.Health/Check`);
    assert.equal(code, 505);
    assert.match(JSON.parse(body).message, /HTTP\/2/);
  });

  test("h2load", { skip: !installed("h2load") }, () => {
    const { stdout } = spawnSync("h2load", ["-n", "5000", "-c", "2", "-m", "100", `${baseUrl}/${health}`], { encoding: "utf8", timeout: deadline(30_000) });
    assert.match(stdout, /5000 succeeded, 0 failed, 0 errored/);
  });

  test("wrk", { skip: !installed("wrk") }, () => {
    const { stdout } = spawnSync("wrk", ["-t", "1", "-c", "4", "-d", "1", `${baseUrl}/${health}`], { encoding: "utf8", timeout: deadline(30_000) });
    assert.match(stdout, /[1-9]\d* requests in/);
    assert.doesNotMatch(stdout, /Non-2xx|Socket errors/);
  });
});

describe("deadlines and drains", () => {
  const head = { ":method": "POST", ":path": "/grpc.health.v1.Health/Watch", "content-type": "application/grpc" };

  async function session(options = {}) {
    const opened = http2.connect(baseUrl, { ca: broker.ca, ...options });
    opened.on("error", () => {});
    broker.onStop(() => opened.destroy());
    await new Promise((resolve) => opened.once("remoteSettings", resolve));
    return opened;
  }

  test("grpc-timeout is kept by the broker itself, whatever the caller does", async () => {
    const { question } = await asked();
    const opened = await session();
    const stream = opened.request({
      ...head, ":path": "/nanopush.v1.ChallengeService/WatchChallenge",
      authorization: `Bearer ${portal.credential}`, "grpc-timeout": "300000u",
    });
    const message = Buffer.from(`\n${String.fromCharCode(question.id.length)}${question.id}`);
    stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]));
    stream.resume();
    const trailers = await within(10_000, "trailers", new Promise((resolve) => stream.on("trailers", resolve)));
    assert.equal(trailers["grpc-status"], "4");
  });

  test("a draining broker answers what waits, and says that it goes", async () => {
    const leaving = await new Broker().start();
    const there = await Portal.create(leaving);
    const by = over(createGrpcTransport, {}, there, leaving);
    const { user } = await there.enrol(unique("user"));
    const { id } = await by.ask(user);
    const watch = by.follow(id);
    await watch.until("the pending challenge", ({ state }) => state === ChallengeState.PENDING);
    leaving.signal("SIGTERM");
    await refuses(watch.end(), "unavailable", /again/);
    await leaving.stop();
  });
});
