// Connections that keep to no protocol.
import net from "node:net";
import tls from "node:tls";

import { sha256 } from "../vectors/inputs.mjs";
import { within } from "./harness.mjs";

/** Bytes that look random and are the same on every run. */
export function noise(seed, length) {
  const parts = [];
  for (let at = 0; at * 32 < length; at++) parts.push(sha256(`noise ${seed} ${at}`));
  return Buffer.concat(parts).subarray(0, length);
}

/** Send the bytes, hang up where asked, and wait for the other side to close: what it said until then. */
export function sendRaw(where, bytes, { hangUp = false, ms = 15_000 } = {}) {
  const socket = net.connect(where);
  const received = [];
  const closed = new Promise((resolve) => {
    socket.on("data", (part) => received.push(part));
    socket.on("error", () => {}); // A reset is one way to close.
    socket.on("close", () => resolve(Buffer.concat(received)));
  });
  socket.on("connect", () => (hangUp ? socket.end(bytes) : socket.write(bytes)));
  return within(ms, "the broker closes", closed).finally(() => socket.destroy());
}

/** The same inside TLS. */
export function sendInTls(options, bytes, { hangUp = false, ms = 15_000 } = {}) {
  const socket = tls.connect({ host: "127.0.0.1", servername: "localhost", rejectUnauthorized: false, ...options });
  const received = [];
  const closed = new Promise((resolve) => {
    socket.on("data", (part) => received.push(part));
    socket.on("error", () => {});
    socket.on("close", () => resolve(Buffer.concat(received)));
  });
  socket.on("secureConnect", () => (hangUp ? socket.end(bytes) : socket.write(bytes)));
  return within(ms, "the broker closes", closed).finally(() => socket.destroy());
}

/** The code of the error that a TLS handshake with these options ends in, or "" where it succeeds. */
export async function handshakeError(options) {
  const socket = tls.connect({ host: "127.0.0.1", servername: "localhost", rejectUnauthorized: false, ...options });
  const outcome = new Promise((resolve) => {
    socket.on("secureConnect", () => resolve(""));
    socket.on("error", (error) => resolve(error.code));
  });
  return within(10_000, "the handshake's outcome", outcome).finally(() => socket.destroy());
}
