// Keys of phones that can be sent to another process.
import { createPrivateKey, generateKeyPairSync } from "node:crypto";

import { pointOf, thumbprint } from "../vectors/inputs.mjs";

export function makeKey() {
  const { privateKey: pem, publicKey: jwk } = generateKeyPairSync("ec", {
    namedCurve: "P-256", publicKeyEncoding: { format: "jwk" }, privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
  return { pem, privateKey: createPrivateKey(pem), jwk, point: pointOf(jwk), thumbprint: thumbprint(jwk) };
}

/** What is sent of it. */
export const portable = ({ pem, jwk, point, thumbprint: name }) => ({ pem, jwk, point, thumbprint: name });
