// Just enough of a web server for the portal: routes, sessions in memory, forms, event streams.
//
// A route is a function of a visit that returns an answer, or promises one:
//
//   visit    {session, form, browser, address, agent, signal}: session as it was put, undefined where there is none;
//            browser: a name for this browser that stays when the session ends; signal: aborted when the visitor leaves
//   answer   one of page(), redirect(), events(), file(); `session` in its `more` takes the place of the visitor's session
//            under a new id, null ends it
import { randomBytes } from "node:crypto";
import http from "node:http";

const FORM_MAX_BYTES = 4096;
const SESSION_MS = 8 * 3600 * 1000;
const BROWSER_S = 365 * 24 * 3600;
const HEADERS = {
  "Cache-Control": "no-store",
  "Content-Security-Policy":
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; " +
    "base-uri 'none'; frame-ancestors 'none'",
  "Referrer-Policy": "same-origin",
  "X-Content-Type-Options": "nosniff",
};

export const page = (body, status = 200, more = {}) => ({ status, type: "text/html; charset=utf-8", body, ...more });
export const redirect = (location, more = {}) => ({ status: 303, headers: { Location: location }, body: "", ...more });
export const events = (stream) => ({ status: 200, type: "text/event-stream", stream });
export const file = ({ type, body }) => ({ status: 200, type, body });

/**
 * @param routes   {"GET /path": route}
 * @param onError  answer for what a route threw
 * @param origin   where browsers reach the portal, https://NAME, if a proxy with TLS stands before it
 */
export function webServer({ routes, onError, origin }) {
  const table = new Map(Object.entries(routes));
  const sessions = new Map();

  // Only its own pages send the portal forms: browsers name the page's origin with each.
  const isForeign = ({ method, headers }) => method !== "GET" && headers.origin !== (origin ?? `http://${headers.host}`);

  async function handle(request, signal, cookies) {
    try {
      const route = table.get(`${request.method} ${new URL(request.url, "http://portal").pathname}`);
      if (!route) return { status: 404, body: "" };
      if (isForeign(request)) return { status: 403, body: "" };
      const form = request.method === "POST" ? await readForm(request) : undefined;
      const kept = sessions.get(cookies.get("session"));
      return await route({
        session: kept && kept.ends > Date.now() ? kept.session : undefined,
        form,
        browser: cookies.get("browser"),
        address: request.socket.remoteAddress,
        agent: agentName(request.headers["user-agent"]),
        signal,
      });
    } catch (error) {
      return onError(error);
    }
  }

  const setCookie = (name, value, seconds) =>
    `${name}=${value}; Path=/; HttpOnly; SameSite=Lax; Max-Age=${seconds}${origin?.startsWith("https:") ? "; Secure" : ""}`;

  function replaceSession(session, cookies) {
    sessions.delete(cookies.get("session"));
    if (session === null) return setCookie("session", "", 0);
    const id = randomBytes(32).toString("base64url");
    sessions.set(id, { session, ends: Date.now() + SESSION_MS });
    setTimeout(() => sessions.delete(id), SESSION_MS).unref();
    return setCookie("session", id, SESSION_MS / 1000);
  }

  return http.createServer(async (request, response) => {
    const left = new AbortController();
    response.on("close", () => left.abort());
    const cookies = readCookies(request);
    const set = [];
    if (!cookies.has("browser")) {
      cookies.set("browser", randomBytes(16).toString("base64url"));
      set.push(setCookie("browser", cookies.get("browser"), BROWSER_S));
    }
    const { status, headers, type, body, stream, session } = await handle(request, left.signal, cookies);
    if (session !== undefined) set.push(replaceSession(session, cookies));
    response.writeHead(status, { ...HEADERS, ...headers, ...(type && { "Content-Type": type }), "Set-Cookie": set });
    if (!stream) response.end(body);
    else await sendEvents(response, stream, left.signal);
  });
}

// A stream that breaks just ends: the browser comes back for it.
async function sendEvents(response, stream, signal) {
  try {
    for await (const event of stream) response.write(`data: ${JSON.stringify(event)}\n\n`);
  } catch (error) {
    if (!signal.aborted) console.error(`an event stream ended: ${error.message}`);
  }
  response.end();
}

function readCookies({ headers }) {
  const pairs = (headers.cookie ?? "").split(/; */).map((pair) => pair.split("="));
  return new Map(pairs.filter(([, value]) => /^[\w-]+$/.test(value)));
}

async function readForm(request) {
  const parts = [];
  let bytes = 0;
  for await (const part of request) {
    parts.push(part);
    bytes += part.length;
    if (bytes > FORM_MAX_BYTES) throw new Error(`a form of more than ${FORM_MAX_BYTES} bytes`);
  }
  return new URLSearchParams(Buffer.concat(parts).toString());
}

const agentName = (agent = "") => {
  const [, name, version] = /(Firefox|Edg|OPR|Chrome|Safari)\/(\d+)/.exec(agent) ?? [];
  return name ? `${name} ${version}` : "";
};
