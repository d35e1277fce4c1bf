// A TCP forwarder: a link that can be delayed, slowed as one that loses packets, held up and cut. TCP hides a loss from
// those who use it, and shows a pause in its place: so it is simulated, by pauses of a retransmission's length.
import net from "node:net";

const RETRANSMISSION_MS = 200; // the least that Linux waits

export class Forwarder {
  #links = new Set();

  /** @param roll  chance, see history.mjs */
  static async start(t, { port, to, roll = Math.random }) {
    const forwarder = new Forwarder();
    Object.assign(forwarder, { port, to, roll });
    forwarder.heal();
    forwarder.server = net.createServer((socket) => forwarder.#accept(socket));
    t.after(() => forwarder.end());
    await new Promise((resolve, reject) => {
      forwarder.server.on("error", reject);
      forwarder.server.listen(port, "127.0.0.1", resolve);
    });
    return forwarder;
  }

  /** Each part takes so long, and that share of them a retransmission more. */
  slow({ delayMs = 0, loss = 0 }) {
    Object.assign(this, { delayMs, loss });
  }

  /** Nothing gets through, and nobody is told, as when a cable is out. */
  hold() {
    this.held = true;
    for (const [near, far] of this.#links) for (const side of [near, far]) side.pause();
  }

  /** Every connection is reset, and new ones too. */
  cut() {
    this.refuses = true;
    for (const [near, far] of this.#links) for (const side of [near, far]) side.resetAndDestroy();
  }

  heal() {
    Object.assign(this, { delayMs: 0, loss: 0, held: false, refuses: false });
    for (const [near, far] of this.#links) for (const side of [near, far]) side.resume();
  }

  #accept(near) {
    if (this.refuses) {
      near.resetAndDestroy();
      return;
    }
    const far = net.connect(this.to, "127.0.0.1");
    const link = [near, far];
    this.#links.add(link);
    for (const [from, into] of [link, [far, near]]) {
      this.#carry(from, into);
      from.setNoDelay(true);
      from.on("error", () => {});
      from.on("close", () => {
        this.#links.delete(link);
        into.destroy();
      });
      if (this.held) from.pause();
    }
  }

  // In order: a part that waits holds up those behind it.
  #carry(from, into) {
    let before = Promise.resolve();
    from.on("data", (part) => {
      const wait = this.delayMs + (this.roll() < this.loss ? RETRANSMISSION_MS : 0);
      if (wait > 0) before = before.then(() => new Promise((resolve) => setTimeout(resolve, wait)));
      before = before.then(() => into.destroyed || into.write(part));
    });
    from.on("end", () => before.then(() => into.end()));
  }

  async end() {
    for (const [near, far] of this.#links) for (const side of [near, far]) side.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
