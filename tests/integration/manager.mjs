// A service manager, as far as a broker tells it how it is: sd_notify(3).
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";

import { eventually } from "./harness.mjs";

/** Listens on a socket below the broker's directory, which the broker is told of: heard() is every line so far. */
export async function startManager(broker) {
  const name = path.join(broker.root, "notify");
  const script = `use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die $!;
    $| = 1; while (defined $s->recv(my $said, 4096)) { print "$said\\n"; }`;
  const manager = spawn("perl", ["-e", script, name], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => manager.on("exit", resolve));
  let heard = "";
  manager.stdout.on("data", (part) => (heard += part));
  broker.environment.NOTIFY_SOCKET = name;
  await eventually(5000, "the manager listens", () => existsSync(name));
  return {
    heard: () => heard.split("\n"),
    stop: () => manager.kill() && ended,
  };
}
