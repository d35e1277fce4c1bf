// What people see: plain HTML. It works without JavaScript too; then a button asks how far things are.
import { readFileSync } from "node:fs";

import { ChallengeState, Mode, Progress } from "./gen/nanopush/v1/common_pb.js";
import { EnrolmentState } from "./gen/nanopush/v1/enrolment_pb.js";

const readPublic = (name) => readFileSync(new URL(`./public/${name}`, import.meta.url), "utf8");
const STYLE = readPublic("portal.css");
const SCRIPT = readPublic("progress.js");

const SAFE = Symbol("HTML already");
const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** What is HTML already; all else that stands in html`...` is escaped. */
export const trusted = (text) => ({ [SAFE]: text });

export function html(strings, ...values) {
  const write = (value) =>
    Array.isArray(value) ? value.map(write).join("")
    : (value?.[SAFE] ?? String(value ?? "").replace(/[&<>"']/g, (character) => ESCAPES[character]));
  return trusted(String.raw({ raw: strings }, ...values.map(write)));
}

const document = (title, body) => html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="stylesheet" href="/portal.css">
<script src="/progress.js" defer></script>
<main>
<h1>${title}</h1>
${body}
</main>
</html>
`[SAFE];

const button = (action, text, kind = "") =>
  html`<form method="post" action="${action}"><button class="${kind}">${text}</button></form>`;

const SIGN_OUT = button("/sign-out", "Sign out", "quiet");

export const passwordPage = (problem) => document("Sign in", html`
${problem && html`<p class="problem" role="alert">${problem}</p>`}
<form method="post" action="/password">
<label>Name <input name="user" autocomplete="username" autocapitalize="none" required autofocus></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required></label>
<button>Sign in</button>
</form>`);

export const askPage = ({ user, problem }) => document("Is it you?", html`
${problem && html`<p class="problem" role="alert">${problem}</p>`}
<p>The password is right, ${user}. Now confirm on your phone that it is you.</p>
${button("/push", "Get a push notification")}
${SIGN_OUT}`);

const HOW = {
  [Mode.TAP]: () => html`<p>Look at your phone, and answer there.</p>`,
  [Mode.CHOOSE]: (number) => html`<p>Choose this number on your phone:</p><p class="number">${number}</p>`,
  [Mode.CODE]: (number) => html`<p>Type this number into your phone:</p><p class="number">${number}</p>`,
};

export const progressText = (progress) => ({
  [Progress.QUEUED]: "Your phone was not reached yet. Please open the app.",
  [Progress.SENT]: "Sent to your phone.",
  [Progress.DELIVERED]: "Your phone has it.",
  [Progress.SEEN]: "It is on your phone's screen.",
})[progress] ?? "Asking your phone.";

/** What waits: its text follows the stream of events, and the form is sent once that says that it is over. */
const waiting = (events, finish, text, more) => html`
<form method="post" action="${finish}" data-events="${events}">
<p class="progress" role="status">${text}</p>
${more}
<button class="quiet">Continue</button>
</form>`;

export const waitPage = ({ mode, number, expires }) => document("Look at your phone", html`
${HOW[mode](number)}
${waiting("/push/progress", "/push/finish", progressText(), html`<progress data-expires="${expires}"></progress>`)}
${SIGN_OUT}`);

const ENDS = {
  [ChallengeState.DENIED]: "You said no, so nobody was signed in.",
  [ChallengeState.REPORTED]: "You said that it was not you: somebody else knows your password. Please change it.",
  [ChallengeState.FAILED]: "That was another number than the one on this page.",
  [ChallengeState.EXPIRED]: "Nobody answered in time.",
  [ChallengeState.CANCELLED]: "The question was taken back.",
  [ChallengeState.SUPERSEDED]: "A newer sign-in took the place of this one.",
};
export const endText = (state) => ENDS[state] ?? "Your phone could not be asked.";

export const enrolmentText = (state) => ({
  [EnrolmentState.WAITING]: "Waiting for your phone.",
  [EnrolmentState.SCANNED]: "Scanned. Go on on your phone.",
  [EnrolmentState.TO_APPROVE]: "Now type the number that the new phone shows into your old one.",
  [EnrolmentState.EXPIRED]: "The code was not scanned in time.",
  [EnrolmentState.VOID]: "It is void: somebody else scanned the code too, or your old phone did not approve. Keep the code to yourself.",
  [EnrolmentState.CANCELLED]: "It was not approved.",
})[state] ?? "Your phone is being added.";

export const enrolPage = ({ uri, svg }) => document("Add your phone", html`
<p>Scan this with the app.</p>
<div class="qr" role="img" aria-label="QR code of the enrolment">${trusted(svg)}</div>
<p><a href="${uri}">The app is on this device</a></p>
${waiting("/enrol/progress", "/enrol/finish", enrolmentText(EnrolmentState.WAITING))}
${SIGN_OUT}`);

export const enrolStartPage = ({ user, problem }) => document("Add your phone", html`
${problem && html`<p class="problem" role="alert">${problem}</p>`}
<p>${user}, from now on your phone confirms that it is you.</p>
${button("/enrol", "Show the QR code")}
${SIGN_OUT}`);

export const homePage = ({ user, pins }) => document("Signed in", html`
<p>Welcome, ${user}. It was you.</p>
<ul>${pins.map(({ name }) => html`<li>${name || "A phone"}</li>`)}</ul>
${button("/enrol", "Add another phone", "quiet")}
${SIGN_OUT}`);

export const problemPage = (problem, help) => document("That did not work", html`
<p class="problem" role="alert">${problem}</p>
${help && html`<p class="help">${help}</p>`}
<p><a href="/">Back</a></p>`);

export const files = {
  "/portal.css": { type: "text/css; charset=utf-8", body: STYLE },
  "/progress.js": { type: "text/javascript; charset=utf-8", body: SCRIPT },
};
