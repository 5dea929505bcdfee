// SHA-256 of the blocks of a file, to show that it begins with what was sent. The browser's own digests need a secure context (https, or
// this machine); a console that is reached by plain http has to compute them here, some ten times slower.

/** Whether the browser computes digests itself. */
export const native = () => Boolean(globalThis.crypto?.subtle);

/**
 * @param {Blob} file @param {number} length bytes from its start @param {number} block
 * @param {{signal?: AbortSignal, onbytes?: (done: number) => void, slow?: boolean}} [options] slow: computed here in any case
 * @returns {Promise<string[]>} one digest for each block, in hexadecimal digits; rejects where the file cannot be read
 */
export async function blocks(file, length, block, { signal, onbytes, slow = !native() } = {}) {
  const found = [];
  for (let at = 0; at < length; at += block) {
    signal?.throwIfAborted();
    const bytes = new Uint8Array(await file.slice(at, Math.min(at + block, length)).arrayBuffer());
    found.push(hex(slow ? await patient(bytes) : new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))));
    onbytes?.(Math.min(at + block, length));
  }
  return found;
}

/** @param {Uint8Array} bytes */
const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');

// The constants of FIPS 180-4: the first 32 bits of the fractional parts of roots of primes.
const PRIMES = [];
for (let n = 2; PRIMES.length < 64; n++) if (PRIMES.every((prime) => n % prime)) PRIMES.push(n);
const fraction = (root) => ((root - Math.floor(root)) * 2 ** 32) | 0;
const K = Int32Array.from(PRIMES, (prime) => fraction(Math.cbrt(prime)));
const H = Int32Array.from(PRIMES.slice(0, 8), (prime) => fraction(Math.sqrt(prime)));

/** In steps, so that the page stays alive. @param {Uint8Array} bytes */
async function patient(bytes) {
  const sum = H.slice(), STEP = 512 * 1024, whole = bytes.length - bytes.length % 64;
  for (let at = 0; at < whole; at += STEP) {
    rounds(sum, bytes.subarray(at, Math.min(at + STEP, whole)));
    await new Promise((resolve) => { setTimeout(resolve); });
  }
  const rest = bytes.length - whole, tail = new Uint8Array(rest < 56 ? 64 : 128), view = new DataView(tail.buffer);
  tail.set(bytes.subarray(whole));
  tail[rest] = 0x80;
  view.setUint32(tail.length - 8, Math.floor(bytes.length / 2 ** 29));
  view.setUint32(tail.length - 4, bytes.length * 8);
  rounds(sum, tail);
  const out = new DataView(new ArrayBuffer(32));
  sum.forEach((word, i) => out.setInt32(i * 4, word));
  return new Uint8Array(out.buffer);
}

const W = new Int32Array(64);
/** @param {Int32Array} sum @param {Uint8Array} bytes a multiple of 64 */
function rounds(sum, bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length; at += 64) {
    for (let i = 0; i < 16; i++) W[i] = view.getInt32(at + i * 4);
    for (let i = 16; i < 64; i++) {
      const x = W[i - 15], y = W[i - 2];
      const s0 = (x >>> 7 | x << 25) ^ (x >>> 18 | x << 14) ^ x >>> 3, s1 = (y >>> 17 | y << 15) ^ (y >>> 19 | y << 13) ^ y >>> 10;
      W[i] = W[i - 16] + s0 + W[i - 7] + s1 | 0;
    }
    let a = sum[0], b = sum[1], c = sum[2], d = sum[3], e = sum[4], f = sum[5], g = sum[6], h = sum[7];
    for (let i = 0; i < 64; i++) {
      const s1 = (e >>> 6 | e << 26) ^ (e >>> 11 | e << 21) ^ (e >>> 25 | e << 7);
      const t1 = h + s1 + (e & f ^ ~e & g) + K[i] + W[i] | 0;
      const s0 = (a >>> 2 | a << 30) ^ (a >>> 13 | a << 19) ^ (a >>> 22 | a << 10);
      const t2 = s0 + (a & b ^ a & c ^ b & c) | 0;
      h = g; g = f; f = e; e = d + t1 | 0; d = c; c = b; b = a; a = t1 + t2 | 0;
    }
    sum[0] = sum[0] + a | 0; sum[1] = sum[1] + b | 0; sum[2] = sum[2] + c | 0; sum[3] = sum[3] + d | 0;
    sum[4] = sum[4] + e | 0; sum[5] = sum[5] + f | 0; sum[6] = sum[6] + g | 0; sum[7] = sum[7] + h | 0;
  }
}
