// Who may sign in: one JSON file of {name: {password: {salt, hash}, hadPhone, pins}}, mode 0600.
//
// hadPhone stays true for ever. It is what tells a user who has no phone yet, and may enrol one on the password alone,
// from one whose phones are gone, or are said to be: that one needs an administrator.
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { promisify } from "node:util";

const derive = promisify(scrypt);
const HASH_BYTES = 32;

async function hashOf(password, salt) {
  return derive(password.normalize("NFKC"), Buffer.from(salt, "base64url"), HASH_BYTES);
}

async function makePassword(password) {
  const salt = randomBytes(16).toString("base64url");
  return { salt, hash: (await hashOf(password, salt)).toString("base64url") };
}

export class Users {
  /** The users of that file; where there is none, one with a user "ada", whose password is said once. */
  static async open(path, say = console.log) {
    if (existsSync(path)) return new Users(path, JSON.parse(readFileSync(path, "utf8")));
    const password = randomBytes(9).toString("base64url");
    const users = new Users(path, { ada: { password: await makePassword(password), hadPhone: false, pins: [] } });
    users.save();
    say(`${path} is new. Sign in as ada, password ${password}`);
    return users;
  }

  constructor(path, records) {
    this.path = path;
    this.byName = new Map(Object.entries(records));
    // Somebody who does not exist takes as long as somebody with another password.
    this.nobody = { salt: randomBytes(16).toString("base64url"), hash: randomBytes(HASH_BYTES).toString("base64url") };
  }

  /** The user's record, if that is the password; else undefined. */
  async check(name, password) {
    const user = this.byName.get(name);
    const { salt, hash } = user?.password ?? this.nobody;
    return timingSafeEqual(await hashOf(password, salt), Buffer.from(hash, "base64url")) ? user : undefined;
  }

  pinsOf(name) {
    return this.byName.get(name).pins;
  }

  hadPhone(name) {
    return this.byName.get(name).hadPhone;
  }

  /** Pin a phone, or put another pin in the place of its last. */
  putPin(name, pin) {
    const user = this.byName.get(name);
    user.pins = [...user.pins.filter(({ deviceId }) => deviceId !== pin.deviceId), pin];
    user.hadPhone = true;
    this.save();
  }

  save() {
    const written = `${this.path}.new`;
    writeFileSync(written, `${JSON.stringify(Object.fromEntries(this.byName), null, 2)}\n`, { mode: 0o600 });
    renameSync(written, this.path);
  }
}
