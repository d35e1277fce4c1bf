// The broker as generated Connect clients: one HTTP/2 connection to its portal port, each call with the credential.
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";

import { ChallengeService } from "./gen/nanopush/v1/challenge_pb.js";
import { EnrolmentService } from "./gen/nanopush/v1/enrolment_pb.js";
import { UserService } from "./gen/nanopush/v1/user_pb.js";

/**
 * @param url         https://HOST:PORT, the portal port
 * @param ca          PEM, of the only CA that its certificate may come from
 * @param credential  <portal id>.<secret>
 */
export function connectBroker({ url, ca, credential }) {
  const transport = createConnectTransport({
    baseUrl: url,
    httpVersion: "2",
    nodeOptions: { ca },
    interceptors: [
      (next) => (request) => {
        request.header.set("Authorization", `Bearer ${credential}`);
        return next(request);
      },
    ],
  });
  return {
    challenges: createClient(ChallengeService, transport),
    enrolments: createClient(EnrolmentService, transport),
    users: createClient(UserService, transport),
  };
}
