// What a process of the test saw, as lines of JSON; and chance that comes out alike for the same seed.
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";

import { sha256 } from "../vectors/inputs.mjs";

/** Microseconds of the machine's monotonic clock, which all its processes share. */
export const now = () => Number(process.hrtime.bigint() / 1000n);

export class Witness {
  constructor(file, who) {
    this.who = who;
    this.descriptor = openSync(file, "a");
  }

  /** @param t  when, where it was not now */
  saw(event, fields = {}, t = now()) {
    writeSync(this.descriptor, `${JSON.stringify({ t, who: this.who, event, ...fields })}\n`);
  }

  close() {
    closeSync(this.descriptor);
  }
}

/** All events of several such files. */
export const readHistory = (files) =>
  files.flatMap((file) => readFileSync(file, "utf8").split("\n").filter((line) => line !== "").map((line) => JSON.parse(line)));

/** A number from 0 to below 1 that the words alone decide. */
export const chance = (...words) => sha256(words.join(" ")).readUInt32BE(0) / 2 ** 32;

/** Numbers from 0 to below 1, one after the other, the same for the same seed. */
export function dice(seed) {
  let rolled = 0;
  return () => chance(seed, (rolled += 1));
}

/** What an answer is known by. */
export const digestOf = (jws) => sha256(jws).toString("base64url").slice(0, 16);
