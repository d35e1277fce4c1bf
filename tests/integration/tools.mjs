// Programs that the tests run and that are no part of nanopush: from the PATH, else from where deploy/deps.sh unpacked them
// (build/tools), since a package that is a service is not installed for a test.
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const TOOLS = fileURLToPath(new URL("../../build/tools", import.meta.url));
const FOLDERS = ["usr/bin", "usr/sbin"].map((folder) => path.join(TOOLS, folder));

/** Where a program is, and the environment to run it in. */
export function tool(name) {
  const program = [...process.env.PATH.split(":"), "/usr/sbin", ...FOLDERS].map((folder) => path.join(folder, name)).find((file) => existsSync(file));
  assert.ok(program, `${name} is there: deploy/deps.sh test`);
  if (!program.startsWith(TOOLS)) return { program, env: process.env };
  const lib = path.join(TOOLS, "usr/lib");
  const folders = existsSync(lib) ? [lib, ...readdirSync(lib).map((folder) => path.join(lib, folder))] : [];
  return { program, env: { ...process.env, LD_LIBRARY_PATH: folders.join(":") } };
}
