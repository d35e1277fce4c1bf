// A portal on connect-web, over this process's own fetch: asks, watches, and says on standard output what it hears, a line
// of JSON each. Run by http2.test.mjs, since a fetch trusts only what NODE_EXTRA_CA_CERTS named when its process began.
//
// usage: web_portal.mjs BASE_URL CREDENTIAL USER json|proto
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";

import { ChallengeService } from "../../build/gen-js/nanopush/v1/challenge_pb.js";
import { ChallengeState } from "../../build/gen-js/nanopush/v1/common_pb.js";

const [, , baseUrl, credential, user, form] = process.argv;
const authorize = (next) => (request) => {
  request.header.set("Authorization", `Bearer ${credential}`);
  return next(request);
};
const say = (what) => console.log(JSON.stringify(what));

const client = createClient(ChallengeService, createConnectTransport({
  baseUrl, useBinaryFormat: form === "proto", interceptors: [authorize],
}));
const { id } = await client.createChallenge({ user, context: { application: "Payroll" } });
say({ id });
for await (const { challenge } of client.watchChallenge({ id })) say({ state: ChallengeState[challenge.state] });
await client.getChallenge({ id: "x" }).catch((error) => say({ code: error.code }));
