// How much of a file goes into one request. It grows while requests are quick, and is halved where something on the way refuses or drops them.

const MIB = 2 ** 20;
/** The smallest piece, which only a proxy's limit demands; the smallest otherwise; the largest; the first. */
export const LEAST = 64 * 1024, SMALL = MIB, MOST = 64 * MIB, FIRST = 4 * MIB;
/** Seconds that a request should take. */
const QUICK = 10, SLOW = 20;
/** After so many milliseconds, or so many pieces, a size that failed is tried once more. */
const LIMIT_AGAIN = 300_000, OTHERS_AGAIN = 6;

/** What stands in the way: a size limit (413), a gateway (502, 504), a standstill, a connection that is cut. @typedef {'limit' | 'gateway' | 'stall' | 'cut'} Kind */

export class Pace {
  /** Bytes of the next piece. */
  size = FIRST;
  /** What stands in the way, and the size that did not pass it. @type {{kind: Kind, bytes: number, status: number, times: number} | null} */
  hurdle = null;
  #ceiling = Infinity;
  #again = { at: 0, pieces: 0 };
  #limitAgain = LIMIT_AGAIN;

  /** A whole piece arrived. @param {number} bytes @param {number} ms how long it took @param {number} [now] */
  arrived(bytes, ms, now = Date.now()) {
    if (this.hurdle && (bytes >= this.hurdle.bytes || (this.hurdle.kind !== 'limit' && this.#ceiling === Infinity))) this.hurdle = null;
    if (bytes < this.size) return; // the end of the file says nothing
    const seconds = ms / 1000;
    this.#again.pieces++;
    if (seconds > SLOW) this.size = Math.max(Math.min(SMALL, this.size), this.size / 2);
    if (seconds >= QUICK) return;
    const more = Math.min(this.size * 2, MOST);
    if (more >= this.#ceiling) {
      const due = this.hurdle?.kind === 'limit' ? now - this.#again.at >= this.#limitAgain : this.#again.pieces >= OTHERS_AGAIN;
      if (!due) return;
      if (this.hurdle?.kind === 'limit') this.#limitAgain = Math.min(this.#limitAgain * 2, 12 * LIMIT_AGAIN);
      this.#ceiling = Infinity;
    }
    this.size = more;
  }

  /** A piece did not pass. @param {Kind} kind @param {number} bytes @param {number} status @param {number} [now] */
  failed(kind, bytes, status, now = Date.now()) {
    const half = LEAST * 2 ** Math.max(0, Math.ceil(Math.log2(bytes / LEAST)) - 1);
    // Only a limit asks for pieces under 1 MiB: on a line that is merely bad they would cost more than they save.
    const least = kind === 'limit' || this.hurdle?.kind === 'limit' ? LEAST : Math.min(SMALL, this.size);
    this.size = Math.max(least, Math.min(half, this.size));
    this.#ceiling = Math.min(this.#ceiling, Math.max(bytes, this.size * 2));
    this.#again = { at: now, pieces: 0 };
    const times = this.hurdle?.kind === kind ? this.hurdle.times + 1 : 1;
    this.hurdle = { kind, bytes: kind === 'limit' ? Math.min(bytes, this.hurdle?.kind === kind ? this.hurdle.bytes : Infinity) : bytes, status, times };
  }
}
