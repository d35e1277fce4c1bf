// A small web portal that lets nobody in on a password alone: the broker asks the person's phone, and what the phone
// signed is checked here (approval.mjs) before anybody is signed in. README.md says how to run it.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

import { timestampMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { renderSVG } from "uqr";

import { followRotations, pinPhone, Refusal, verifyApproval } from "./approval.mjs";
import { connectBroker } from "./broker.mjs";
import { LocalizedMessageSchema } from "./gen/google/rpc/error_details_pb.js";
import { ChallengeState, Mode, UserVerification } from "./gen/nanopush/v1/common_pb.js";
import { EnrolmentState } from "./gen/nanopush/v1/enrolment_pb.js";
import * as pages from "./page.mjs";
import { Users } from "./users.mjs";
import { events, file, page, redirect, webServer } from "./web.mjs";

const { values: options } = parseArgs({
  options: {
    broker: { type: "string" }, // https://HOST:PORT
    ca: { type: "string" }, // file
    credential: { type: "string" }, // file
    organisation: { type: "string" }, // its id
    name: { type: "string" }, // of the portal, as it was given to the broker: then phones must have shown just that
    mode: { type: "string", default: "code" },
    users: { type: "string", default: "users.json" },
    listen: { type: "string", default: "127.0.0.1:8080" },
    origin: { type: "string" },
  },
});
const credential = readFileSync(options.credential, "utf8").trim();
const broker = connectBroker({ url: options.broker, ca: readFileSync(options.ca), credential });
const users = await Users.open(options.users);
const { organisation } = options;
const LIFE_MAX_MS = 300_000; // of a challenge; its approval does not outlive it
const [portal] = credential.split(".");
const mode = Mode[options.mode.toUpperCase()];

// ---- asking ----

async function push({ session, browser, address, agent }) {
  const question = {
    user: session.user,
    mode,
    userVerification: UserVerification.REQUIRED,
    nonce: randomBytes(32),
    context: { application: "Example portal", address, browser: agent },
  };
  const { id, number, expireTime } = await broker.challenges.createChallenge({ ...question, browserSession: browser });
  const expires = timestampMs(expireTime);
  session.asked = { ...question, portal, portalName: options.name, organisation, id, number, expires };
  return redirect("/push");
}

async function* pushProgress({ session, signal }) {
  for await (const { challenge } of broker.challenges.watchChallenge({ id: session.asked.id }, { signal }))
    yield { text: pages.progressText(challenge.progress), over: challenge.state !== ChallengeState.PENDING };
}

async function finishPush({ session }) {
  const { asked, user } = session;
  const { challenge } = await broker.challenges.getChallenge({ id: asked.id });
  if (challenge.state === ChallengeState.PENDING || session.asked !== asked) return redirect("/push");
  delete session.asked;
  const problem = pages.endText(challenge.state);
  if (challenge.state === ChallengeState.REPORTED) return page(pages.passwordPage(problem), 403, { session: null });
  if (challenge.state !== ChallengeState.APPROVED) return page(pages.askPage({ user, problem }), 403);
  await verify(challenge, asked);
  return redirect("/", { session: { user, signedIn: true } });
}

// In memory, for one process; several want one place, and an insert that fails where the nonce is there already.
const nonces = new Set();

function used(nonce) {
  if (nonces.has(nonce)) return true;
  nonces.add(nonce);
  setTimeout(() => nonces.delete(nonce), LIFE_MAX_MS).unref();
  return false;
}

async function verify(challenge, asked) {
  const check = () => verifyApproval({ challenge, asked, pins: users.pinsOf(asked.user), now: Date.now(), used });
  try {
    await check();
  } catch (error) {
    if (error.reason !== "key_unknown") throw error;
    await movePins(asked.user); // The phone may have taken new keys.
    await check();
  }
}

async function movePins(name) {
  const { user } = await broker.users.getUser({ user: name });
  for (const pin of users.pinsOf(name)) {
    const device = user.devices.find(({ id }) => id === pin.deviceId);
    if (device) await followRotations(pin, device).then((moved) => users.putPin(name, moved), report);
  }
}

// ---- enrolling ----

async function enrol({ session }) {
  const { user } = session;
  const secret = randomBytes(16); // which the broker never sees
  const { id, uri } = await broker.enrolments.createEnrolment({ user });
  session.enrolling = { id, user, organisation, secret, uri: `${uri}#s=${secret.toString("base64url")}` };
  return redirect("/enrol");
}

const { WAITING, SCANNED, TO_CONFIRM, TO_APPROVE } = EnrolmentState;
const OPEN = [WAITING, SCANNED, TO_CONFIRM, TO_APPROVE];

async function* enrolProgress({ session, signal }) {
  for await (const { enrolment } of broker.enrolments.watchEnrolment({ id: session.enrolling.id }, { signal }))
    yield { text: pages.enrolmentText(enrolment.state), over: !OPEN.includes(enrolment.state) };
}

async function finishEnrol({ session }) {
  const { enrolling: asked, user } = session;
  const { enrolment } = await broker.enrolments.getEnrolment({ id: asked.id });
  if (OPEN.includes(enrolment.state)) return redirect("/enrol");
  delete session.enrolling;
  const problem = pages.enrolmentText(enrolment.state);
  if (enrolment.state !== EnrolmentState.DONE) return page(pages.enrolStartPage({ user, problem }), 403);
  users.putPin(user, { ...(await pinPhone({ enrolment, asked })), name: enrolment.device.name });
  return redirect("/");
}

// ---- who may go where ----

async function checkPassword({ form }) {
  const user = form.get("user") ?? "";
  const right = await users.check(user, form.get("password") ?? "");
  if (!right) return page(pages.passwordPage("That name and that password do not belong together."), 403);
  return redirect("/", { session: { user, signedIn: false } });
}

function home({ session }) {
  if (!session) return page(pages.passwordPage());
  if (session.signedIn) return page(pages.homePage({ user: session.user, pins: users.pinsOf(session.user) }));
  return redirect(users.hadPhone(session.user) ? "/push" : "/enrol");
}

const only = (allowed, route) => (visit) => (visit.session && allowed(visit.session) ? route(visit) : redirect("/"));
const mayAsk = ({ user, signedIn }) => !signedIn && users.hadPhone(user);
const mayEnrol = ({ user, signedIn }) => signedIn || !users.hadPhone(user);
const hasAsked = ({ asked }) => asked;
const isEnrolling = (session) => mayEnrol(session) && session.enrolling;
const showPush = ({ session }) => page(session.asked ? pages.waitPage(session.asked) : pages.askPage(session));
const showEnrol = ({ session: { user, enrolling } }) =>
  page(enrolling ? pages.enrolPage({ uri: enrolling.uri, svg: renderSVG(enrolling.uri) }) : pages.enrolStartPage({ user }));

const routes = {
  "GET /": home,
  "POST /password": checkPassword,
  "GET /push": only(mayAsk, showPush),
  "POST /push": only(mayAsk, push),
  "GET /push/progress": only(hasAsked, (visit) => events(pushProgress(visit))),
  "POST /push/finish": only(hasAsked, finishPush),
  "GET /enrol": only(mayEnrol, showEnrol),
  "POST /enrol": only(mayEnrol, enrol),
  "GET /enrol/progress": only(isEnrolling, (visit) => events(enrolProgress(visit))),
  "POST /enrol/finish": only(isEnrolling, finishEnrol),
  "POST /sign-out": () => redirect("/", { session: null }),
};
for (const [path, content] of Object.entries(pages.files)) routes[`GET ${path}`] = () => file(content);

// ---- what went wrong ----

const report = (error) => console.error(error instanceof Refusal ? `refused, ${error.reason}: ${error.message}` : error);

// What the broker says of these is written for the person.
const FOR_PEOPLE = [Code.FailedPrecondition, Code.ResourceExhausted];
const helpOf = (error) => error.findDetails(LocalizedMessageSchema)[0]?.message; // how the organisation gives help

function onError(error) {
  report(error);
  if (error instanceof Refusal)
    return page(pages.problemPage("What your phone signed does not hold, so nothing was changed."), 403);
  if (error instanceof ConnectError && FOR_PEOPLE.includes(error.code))
    return page(pages.problemPage(error.rawMessage, helpOf(error)), 409);
  return page(pages.problemPage("Your phone cannot be asked just now. Please try again in a minute."), 502);
}

const [, host, port] = /^(.*):(\d+)$/.exec(options.listen);
const server = webServer({ routes, onError, origin: options.origin });
server.listen(Number(port), host, () => console.log(`http://${host}:${server.address().port}/`));
