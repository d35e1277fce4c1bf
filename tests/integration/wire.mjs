// Messages taken apart into the fields that they are on the wire, so that one of them can be wrong in a way that no
// serialiser writes (protobuf.dev, "Encoding").
import { create, ScalarType, toBinary } from "@bufbuild/protobuf";

export const VARINT = 0;
export const FIXED64 = 1;
export const LENGTH = 2;
export const GROUP = 3;
export const FIXED32 = 5;

/** The number, in so many bytes at least. */
export function varint(value, bytes = 1) {
  const out = [];
  for (let rest = BigInt(value); rest > 0n || out.length < bytes; rest >>= 7n) out.push(Number(rest & 0x7fn) | 0x80);
  out[out.length - 1] &= 0x7f;
  return Buffer.from(out);
}

/** A field's tag; number may be one that there is not. */
export const tag = (number, type) => varint(BigInt(number) * 8n + BigInt(type));

/** One field as it stands on the wire; length: another than its payload has. */
export const lengthField = (number, payload, length = payload.length) =>
  Buffer.concat([tag(number, LENGTH), varint(length), payload]);
export const varintField = (number, value, bytes) => Buffer.concat([tag(number, VARINT), varint(value, bytes)]);

/** A field of that wire type that is well formed in itself. */
export function fieldOfType(number, type) {
  const payloads = { [VARINT]: [1], [FIXED64]: Array(8).fill(1), [LENGTH]: [1, 0x61], [FIXED32]: Array(4).fill(1) };
  const rest = type === GROUP ? tag(number, GROUP + 1) : Buffer.from(payloads[type]);
  return Buffer.concat([tag(number, type), rest]);
}

/** "string", "bytes", "number" or "enum", which decides what can be wrong about it; undefined: none that phones send. */
export function kindOf(field) {
  if (field.fieldKind === "enum") return "enum";
  return { [ScalarType.STRING]: "string", [ScalarType.BYTES]: "bytes", [ScalarType.UINT32]: "number" }[field.scalar];
}

export const typeOf = (field) => (["string", "bytes"].includes(kindOf(field)) ? LENGTH : VARINT);

/** The fields of a message in their order: Map of number to bytes, what is not set left out. */
export function takeApart(schema, value) {
  return new Map(schema.fields.map((field) => {
    const alone = { [field.localName]: value[field.localName] };
    return [field.number, Buffer.from(toBinary(schema, create(schema, alone)))];
  }));
}

export const putTogether = (parts) => Buffer.concat([...parts.values()]);
