// Real Redis servers for tests: each in a directory of its own, on a port of its own on loopback.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import tls from "node:tls";

import { eventually } from "./harness.mjs";

const START_MS = 10_000;

/** Debian's redis-tools has the server's program under another name. */
const program = ["redis-server", "redis-check-rdb"]
  .flatMap((name) => process.env.PATH.split(":").map((folder) => path.join(folder, name)))
  .find((file) => existsSync(file));

/** Ports that nobody listens on; below 32768, where no connection begins, and so that port + 10000 is one too. */
export async function freePorts(count) {
  const ports = new Set();
  const free = (port) => new Promise((resolve) => {
    const server = net.createServer();
    server.on("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
  while (ports.size < count) {
    const port = 11_000 + Math.floor(Math.random() * 11_000);
    if (!ports.has(port) && await free(port) && await free(port + 10_000)) ports.add(port);
  }
  return [...ports];
}

/** One reply of RESP from the front of the bytes: {value, end}, or null while it is not whole. Errors are Errors. */
function parseReply(bytes, at = 0) {
  const eol = bytes.indexOf("\r\n", at);
  if (eol < 0) return null;
  const [kind, line, next] = [String.fromCharCode(bytes[at]), bytes.toString("latin1", at + 1, eol), eol + 2];
  if (kind === "+") return { value: line, end: next };
  if (kind === "-") return { value: new Error(line), end: next };
  if (kind === ":") return { value: Number(line), end: next };
  const count = Number(line);
  if (count < 0) return { value: null, end: next };
  if (kind === "$")
    return bytes.length < next + count + 2 ? null : { value: bytes.toString("latin1", next, next + count), end: next + count + 2 };
  const value = [];
  for (let end = next; ; ) {
    if (value.length === count) return { value, end };
    const element = parseReply(bytes, end);
    if (!element) return null;
    value.push(element.value);
    end = element.end;
  }
}

export class Redis {
  /**
   * @param settings  lines of redis.conf, an object; the directory, the port and the log are its own
   * @param arguments_  further arguments, as --sentinel
   */
  static async start(t, settings = {}, { arguments_ = [], port } = {}) {
    const redis = new Redis();
    redis.root = mkdtempSync(path.join(tmpdir(), "nanopush-redis-"));
    redis.port = port ?? (await freePorts(1))[0];
    redis.config = path.join(redis.root, "redis.conf");
    redis.arguments = arguments_;
    redis.tls = settings["tls-port"] !== undefined;
    const all = { port: redis.port, bind: "127.0.0.1", dir: redis.root, logfile: path.join(redis.root, "redis.log"), save: '""', ...settings };
    if (redis.tls) Object.assign(all, { port: 0, "tls-port": redis.port });
    const lines = Object.entries(all).flatMap(([key, value]) => [value].flat().map((one) => `${key} ${one}\n`));
    writeFileSync(redis.config, lines.join(""));
    t.after(() => redis.end());
    await redis.run();
    return redis;
  }

  get address() {
    return `127.0.0.1:${this.port}`;
  }

  log() {
    return readFileSync(path.join(this.root, "redis.log"), "utf8");
  }

  async run() {
    this.child = spawn(program, [this.config, ...this.arguments], { argv0: "redis-server", cwd: this.root, stdio: "ignore" });
    this.exited = new Promise((resolve) => this.child.on("exit", resolve));
    await eventually(START_MS, `a Redis in ${this.root}`, async () => {
      assert.equal(this.child.exitCode, null, `it runs: ${existsSync(path.join(this.root, "redis.log")) ? this.log().slice(-500) : ""}`);
      return new Promise((resolve) => {
        const socket = net.connect(this.port, "127.0.0.1", () => resolve(true));
        socket.on("error", () => resolve(false));
        socket.on("connect", () => socket.destroy());
      });
    });
  }

  /** As a crash: without an append-only file it comes back empty, also where it followed another once. */
  async kill() {
    this.child.kill("SIGKILL");
    await this.exited;
    rmSync(path.join(this.root, "dump.rdb"), { force: true });
  }

  pause() {
    this.child.kill("SIGSTOP");
  }

  resume() {
    this.child.kill("SIGCONT");
  }

  async end() {
    this.child.kill("SIGKILL");
    await this.exited;
    rmSync(this.root, { recursive: true, force: true });
  }

  /** One command on a connection of its own, after those of `first`; its reply, or an error thrown. */
  command(args, { first = [], secure } = {}) {
    const encode = (command) => Buffer.concat([
      Buffer.from(`*${command.length}\r\n`),
      ...command.map(String).flatMap((arg) => [Buffer.from(`$${Buffer.byteLength(arg)}\r\n${arg}\r\n`)]),
    ]);
    return new Promise((resolve, reject) => {
      const socket = this.tls ? tls.connect({ port: this.port, host: "127.0.0.1", ...secure }) : net.connect(this.port, "127.0.0.1");
      let bytes = Buffer.alloc(0);
      let left = first.length + 1;
      socket.on("error", reject);
      socket.on("close", () => reject(new Error("closed")));
      socket.on("data", (part) => {
        bytes = Buffer.concat([bytes, part]);
        for (let reply; left > 0 && (reply = parseReply(bytes)); bytes = bytes.subarray(reply.end)) {
          left -= 1;
          if (reply.value instanceof Error) reject(reply.value);
          else if (left === 0) resolve(reply.value);
        }
        if (left === 0) socket.destroy();
      });
      socket.write(Buffer.concat([...first, args].map(encode)));
    });
  }

  do(...args) {
    return this.command(args);
  }
}

/** A CA, and certificates of it: {ca, certificate(name, subjectAltName)} as paths. */
export function makeAuthority(t, name = "test CA") {
  const root = mkdtempSync(path.join(tmpdir(), "nanopush-ca-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const openssl = (...args) => execFileSync("openssl", args, { cwd: root, stdio: "pipe" });
  openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", `/CN=${name}`,
    "-keyout", "ca.key", "-out", "ca.pem");
  return {
    ca: path.join(root, "ca.pem"),
    certificate(subject, san) {
      const file = (ending) => path.join(root, `${subject}.${ending}`);
      writeFileSync(file("ext"), `subjectAltName=${san}\n`);
      openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", `/CN=${subject}`, "-keyout", file("key"),
        "-out", file("csr"));
      openssl("x509", "-req", "-in", file("csr"), "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
        "-extfile", file("ext"), "-out", file("pem"));
      return { certificate: file("pem"), key: file("key") };
    },
  };
}
