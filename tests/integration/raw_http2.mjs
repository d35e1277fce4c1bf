// HTTP/2 made by hand, frame by frame, so that it can be as wrong as a test wants.
import http2 from "node:http2";
import tls from "node:tls";

import { eventually, within } from "./harness.mjs";

export const Frame = {
  DATA: 0, HEADERS: 1, PRIORITY: 2, RST_STREAM: 3, SETTINGS: 4, PUSH_PROMISE: 5, PING: 6, GOAWAY: 7, WINDOW_UPDATE: 8, CONTINUATION: 9,
};
export const END_STREAM = 1;
export const ACK = 1;
export const END_HEADERS = 4;
export const { NGHTTP2_PROTOCOL_ERROR: PROTOCOL_ERROR, NGHTTP2_ENHANCE_YOUR_CALM: ENHANCE_YOUR_CALM, NGHTTP2_REFUSED_STREAM: REFUSED_STREAM } = http2.constants;
const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const length = (value) => {
  const bytes = Buffer.from(value, "latin1");
  if (bytes.length < 127) return Buffer.concat([Buffer.of(bytes.length), bytes]);
  const parts = [127];
  let rest = bytes.length - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) parts.push((rest % 128) | 128);
  return Buffer.concat([Buffer.of(...parts, rest), bytes]);
};

/** Headers as HPACK's literals without indexing (RFC 7541, 6.2.2). */
export const block = (headers) =>
  Buffer.concat(headers.flatMap(([name, value]) => [Buffer.of(0), length(name), length(value)]));

export const uint32 = (value) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
};

export class RawHttp2 {
  /** Connect and say what a client says first; settings: its SETTINGS' payload; ack: of the broker's. */
  static async open(broker, { settings = Buffer.alloc(0), ack = true } = {}) {
    const socket = tls.connect({ host: "127.0.0.1", port: broker.ports.portal, servername: "localhost", ca: broker.ca, ALPNProtocols: ["h2"] });
    const connection = new RawHttp2(socket);
    broker.onStop(() => socket.destroy());
    await within(10_000, "the handshake", new Promise((resolve, reject) => socket.once("secureConnect", resolve).once("error", reject)));
    socket.write(PREFACE);
    connection.say(Frame.SETTINGS, 0, 0, settings);
    if (ack) connection.say(Frame.SETTINGS, ACK, 0);
    return connection;
  }

  constructor(socket) {
    this.socket = socket;
    this.frames = [];
    this.closed = false;
    let rest = Buffer.alloc(0);
    socket.on("data", (part) => {
      rest = Buffer.concat([rest, part]);
      for (let size; rest.length >= 9 && rest.length >= (size = 9 + rest.readUIntBE(0, 3)); rest = rest.subarray(size))
        this.frames.push({ type: rest[3], flags: rest[4], id: rest.readUInt32BE(5), payload: rest.subarray(9, size) });
    });
    socket.on("error", () => {});
    socket.on("close", () => (this.closed = true));
  }

  static frame(type, flags, id, payload = Buffer.alloc(0)) {
    const head = Buffer.alloc(9);
    head.writeUIntBE(payload.length, 0, 3);
    head[3] = type;
    head[4] = flags;
    head.writeUInt32BE(id, 5);
    return Buffer.concat([head, payload]);
  }

  say(...frame) {
    if (!this.closed) this.socket.write(RawHttp2.frame(...frame));
  }

  /** The same frame many times over, in a few writes. */
  flood(count, ...frame) {
    if (!this.closed) this.socket.write(Buffer.concat(Array(count).fill(RawHttp2.frame(...frame))));
  }

  request(id, { method = "POST", path = "/nanopush.v1.UserService/GetUser", headers = [], flags = END_STREAM | END_HEADERS } = {}) {
    this.say(Frame.HEADERS, flags, id, block([
      [":method", method], [":scheme", "https"], [":authority", "localhost"], [":path", path], ...headers,
    ]));
  }

  find(type, id) {
    return this.frames.find((frame) => frame.type === type && frame.id === id);
  }

  heard(type, id, ms = 15_000) {
    return eventually(ms, `frame ${type} on stream ${id}`, () => this.find(type, id));
  }

  /** The error code that the connection (id 0) or a stream ends with. */
  async endedWith(id = 0) {
    const { payload } = await this.heard(id ? Frame.RST_STREAM : Frame.GOAWAY, id);
    return payload.readUInt32BE(id ? 0 : 4);
  }

  untilClosed(ms = 15_000) {
    return eventually(ms, "the broker closes", () => this.closed);
  }

  hangUp() {
    this.socket.destroy();
  }
}
