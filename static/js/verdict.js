// What an answer of the service, or of a proxy before it, means for an upload.

/**
 * ok        it is so
 * offset    the service has another number of bytes, and says it
 * prove     the chosen file must be compared with what was sent first
 * lost      no answer, or one that says only that it did not work: again, later
 * stall     nothing moved
 * limit     a proxy lets no request of this size through
 * gateway   a proxy gave up on the service
 * wait      the service says that it cannot at the moment
 * signed-out, elsewhere (another device sends it), gone (deleted or expired)
 * stopped   refused for a reason that may pass: a person decides
 * refused   refused for good
 * @typedef {'ok' | 'offset' | 'prove' | 'lost' | 'stall' | 'limit' | 'gateway' | 'wait' | 'signed-out' | 'elsewhere' | 'gone' | 'stopped' | 'refused'} Verdict
 */

/** Conflicts that no waiting ends. */
const REFUSED = ['upload.other_file', 'upload.has_bytes', 'image.complete'];

/** @param {Pick<import('./tus.js').Answer, 'status' | 'offset' | 'ours' | 'code' | 'stalled'>} answer @returns {Verdict} */
export function judge({ status, offset, ours, code, stalled }) {
  if (status === 0) return stalled ? 'stall' : 'lost';
  if (status < 300) return 'ok';
  if (status === 401) return 'signed-out';
  if (status === 413) return ours && code ? 'refused' : 'limit';
  if (status === 502 || status === 504) return 'gateway';
  if (!ours) return status === 503 || status === 404 ? 'gateway' : status < 500 && status !== 408 && status !== 429 ? 'refused' : 'lost';
  switch (status) {
    case 404: case 410: return 'gone';
    case 409: return code === 'upload.proof_needed' ? 'prove' : REFUSED.includes(code) ? 'refused' : offset !== null ? 'offset' : 'wait';
    // Locked: an earlier request from here is still ending.
    case 423: return code === 'upload.locked' ? 'wait' : 'elsewhere';
    case 403: case 507: return 'stopped';
    case 408: case 460: return 'lost';
    default: return status === 429 || status >= 500 ? 'wait' : 'refused';
  }
}

const DELAYS = [0, 1, 3, 5, 10, 20, 30];
/** Seconds until try number `tries`: longer each time, and not the same for everybody. @param {number} tries from 1 @param {number} [chance] 0 to 1 */
export const delay = (tries, chance = Math.random()) => {
  const seconds = DELAYS[Math.min(tries, DELAYS.length) - 1];
  return seconds <= 1 ? seconds : Math.max(1, Math.round(seconds * (.8 + .4 * chance)));
};
