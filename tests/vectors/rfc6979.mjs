// Deterministic ECDSA on P-256 with SHA-256 (RFC 6979), so that making the vectors anew gives the same files.
// Not constant-time, hence for published test keys only.
import { createECDH, createHmac } from "node:crypto";

import { sha256 } from "./inputs.mjs";

const N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

const toNumber = (bytes) => BigInt(`0x${bytes.toString("hex")}`);
const toBytes = (number) => Buffer.from(number.toString(16).padStart(64, "0"), "hex");
const mod = (number) => ((number % N) + N) % N;

function inverse(number) {
  let [r0, r1, t0, t1] = [N, mod(number), 0n, 1n];
  while (r1 !== 0n) {
    const quotient = r0 / r1;
    [r0, r1] = [r1, r0 - quotient * r1];
    [t0, t1] = [t1, t0 - quotient * t1];
  }
  return mod(t0);
}

// RFC 6979, 3.2: HMAC_DRBG seeded with the key and the digest.
function* nonces(privateKey, digest) {
  const seed = Buffer.concat([privateKey, toBytes(mod(toNumber(digest)))]);
  let k = Buffer.alloc(32);
  let v = Buffer.alloc(32, 1);
  const mac = (...parts) => createHmac("sha256", k).update(Buffer.concat(parts)).digest();

  k = mac(v, Buffer.of(0), seed);
  v = mac(v);
  k = mac(v, Buffer.of(1), seed);
  v = mac(v);
  for (;;) {
    v = mac(v);
    yield toNumber(v);
    k = mac(v, Buffer.of(0));
    v = mac(v);
  }
}

const multipleOfG = (k) => {
  const ecdh = createECDH("prime256v1");
  ecdh.setPrivateKey(toBytes(k));
  return ecdh.getPublicKey();
};

/** The 65-byte public point of a 32-byte private key. */
export const publicPoint = (privateKey) => multipleOfG(toNumber(privateKey));

/** Raw r || s over SHA-256 of the message. */
export function signDeterministically(privateKey, message) {
  const digest = sha256(message);
  for (const k of nonces(privateKey, digest)) {
    if (k === 0n || k >= N) continue;
    const r = mod(toNumber(multipleOfG(k).subarray(1, 33)));
    const s = mod(inverse(k) * (toNumber(digest) + r * toNumber(privateKey)));
    if (r !== 0n && s !== 0n) return Buffer.concat([toBytes(r), toBytes(s)]);
  }
}
