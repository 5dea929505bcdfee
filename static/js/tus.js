// What is said to the service about an upload: tus 1.0.0 on /uploads, and what this service adds to it. Nothing here throws; without an
// answer the status is 0.

/**
 * @typedef {object} Answer
 * @property {number} status 0: there was none
 * @property {number | null} offset bytes that the service has
 * @property {number | null} length bytes of the whole file
 * @property {number} expires when the part is dropped, in milliseconds; 0 where not said
 * @property {boolean} ours it comes from the service, not from a proxy before it
 * @property {string} code of a refusal
 * @property {string} sentence of a refusal
 * @property {number | null} differsAt where the chosen file differs from what was sent
 * @property {number} retryAfter seconds; 0 where not said
 * @property {boolean} stalled given up because nothing moved
 * @property {any} body
 */

/** How long a small request may take, reading a part from a storage to compare it, a piece may stand still on its way out, its answer may take, and the check of a whole file. */
const SHORT = 15_000, PROOF = 300_000, STALL = 30_000, ANSWER = 120_000, CHECK = 600_000;

/** @type {Answer} */
const NONE = { status: 0, offset: null, length: null, expires: 0, ours: false, code: '', sentence: '', differsAt: null, retryAfter: 0, stalled: false, body: null };

const HEADERS = { 'Tus-Resumable': '1.0.0', 'X-Requested-With': 'vmimg', Accept: 'application/json' };

/** @param {string} id */
export const address = (id) => `/uploads/${id}`;

/** @param {number} status @param {(name: string) => string | null} header @param {string} text @returns {Answer} */
function read(status, header, text) {
  const number = (name) => { const value = header(name); return value === null || !/^\d+$/.test(value) ? null : Number(value); };
  let body = null;
  if ((header('content-type') ?? '').includes('json')) try { body = JSON.parse(text); } catch { /* cut off: only its status counts */ }
  const fault = body?.errors?.[0];
  return {
    ...NONE, status, body, offset: number('upload-offset'), length: number('upload-length'), expires: Date.parse(header('upload-expires') ?? '') || 0,
    ours: header('tus-resumable') !== null || Boolean(body?.code ?? fault), code: body?.code ?? fault?.code ?? '',
    sentence: body?.detail ?? fault?.message ?? '', differsAt: typeof body?.differs_at === 'number' ? body.differs_at : null,
    retryAfter: number('retry-after') ?? 0,
  };
}

/** @param {string} url @param {RequestInit & {headers?: Record<string, string>, background?: boolean, within?: number}} options @returns {Promise<Answer>} */
async function ask(url, { headers = {}, signal, background = false, within = SHORT, ...options }) {
  const stop = new AbortController(), timer = setTimeout(() => stop.abort(), within), end = () => stop.abort();
  signal?.addEventListener('abort', end);
  try {
    const response = await fetch(url, { ...options, cache: 'no-store', redirect: 'manual', signal: stop.signal,
      headers: { ...HEADERS, ...(background && { 'X-Background': '1' }), ...headers } });
    // A redirect leads to the sign-in page.
    const status = response.type === 'opaqueredirect' ? 401 : response.status;
    return read(status, (name) => response.headers.get(name), await response.text());
  } catch { return NONE; } finally { clearTimeout(timer); signal?.removeEventListener('abort', end); }
}

/** @param {string} text */
const base64 = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));

/** Begins the upload of an image that waits for its file. @param {string} id @param {File} file @param {AbortSignal} [signal] */
export const create = (id, file, signal) => ask('/uploads', { method: 'POST', signal,
  headers: { 'Upload-Length': String(file.size), 'Upload-Metadata': `image ${base64(id)},filename ${base64(file.name)}` } });

/** How much of it is there. @param {string} id @param {AbortSignal} [signal] */
export const offset = (id, signal) => ask(address(id), { method: 'HEAD', signal });

/** Ends an upload; what was sent is dropped. @param {string} id */
export const end = (id) => ask(address(id), { method: 'DELETE' });

/** Nothing more comes for now: it is Pending at once, not when its lease has run out. @param {string} id @param {boolean} [leaving] the page is being left */
export const pause = (id, leaving = false) => ask(`${address(id)}/pause`, { method: 'POST', keepalive: leaving });

/** What everybody may know of it, in `body`. @param {string} id @param {AbortSignal} [signal] */
export const state = (id, signal) => ask(address(id), { method: 'GET', signal, background: true });

/** Shows that the chosen file begins with what was sent. @param {string} id @param {object} proof @param {AbortSignal} [signal] */
export const prove = (id, proof, signal) => ask(`${address(id)}/proof`, { method: 'POST', signal, within: PROOF, body: JSON.stringify(proof), headers: { 'Content-Type': 'application/json' } });

/** A command with which another machine goes on. @param {string} id */
export const handOver = (id) => ask(`${address(id)}/handover`, { method: 'POST' });

/**
 * Sends a piece of the file. XMLHttpRequest, because fetch does not tell how much has gone out.
 * @param {string} id @param {number} at @param {Blob} piece
 * @param {{signal: AbortSignal, last: boolean, onbytes: (sent: number) => void, onsent: () => void}} options
 * @returns {Promise<Answer>}
 */
export function send(id, at, piece, { signal, last, onbytes, onsent }) {
  return new Promise((resolve) => {
    const xhr = new XMLHttpRequest();
    let moved = performance.now(), out = piece.size === 0, stalled = false;
    const watch = setInterval(() => {
      if (performance.now() - moved < (out ? (last ? CHECK : ANSWER) : STALL)) return;
      stalled = true;
      xhr.abort();
    }, 1000);
    const abort = () => xhr.abort();
    /** @param {Answer} answer */
    const answer = (answer) => { clearInterval(watch); signal.removeEventListener('abort', abort); resolve(answer); };
    xhr.open('PATCH', address(id));
    for (const [name, value] of Object.entries(HEADERS)) xhr.setRequestHeader(name, value);
    xhr.setRequestHeader('Content-Type', 'application/offset+octet-stream');
    xhr.setRequestHeader('Upload-Offset', String(at));
    xhr.upload.onprogress = ({ loaded }) => { moved = performance.now(); onbytes(Math.min(loaded, piece.size)); };
    xhr.upload.onload = () => { moved = performance.now(); out = true; onsent(); };
    xhr.onload = () => answer(read(xhr.status, (name) => xhr.getResponseHeader(name), xhr.responseText));
    xhr.onerror = xhr.onabort = () => answer({ ...NONE, stalled });
    signal.addEventListener('abort', abort);
    if (signal.aborted) answer(NONE); else xhr.send(piece);
  });
}
