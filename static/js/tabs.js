// The tabs of this browser tell each other what they send, and only one of them sends the same upload.

/** @typedef {{id: string, image: string, name: string, percent: number, text: string, state: string, at: number}} Elsewhere an upload of another tab */

const me = Math.random().toString(36).slice(2);
const channel = 'BroadcastChannel' in globalThis ? new BroadcastChannel('vmimg-uploads') : null;
/** After so many milliseconds without a word another tab is taken for closed. */
const SILENT = 5_000;

/** @type {Map<string, Elsewhere>} */
const others = new Map();
/** @type {Set<string>} */
const mine = new Set();
let onchange = () => {}, report = () => {};

/** What other tabs of this browser are sending. */
export const elsewhere = () => [...others.values()].filter(({ at }) => Date.now() - at < SILENT);

/** @param {() => void} fn called when something of another tab is new @param {() => void} tell called when another tab asks */
export function listen(fn, tell) {
  onchange = fn; report = tell;
  channel?.postMessage({ ask: true });
  setInterval(() => {
    for (const [id, { at }] of others) if (Date.now() - at >= SILENT) { others.delete(id); onchange(); }
  }, 1000);
}

if (channel) {
  channel.onmessage = ({ data }) => {
    if (data.from === me) return;
    if (data.ask) report();
    if (data.claim && mine.has(data.claim)) channel.postMessage({ from: me, taken: data.claim });
    if (data.upload) others.set(data.upload.id, { ...data.upload, at: Date.now() });
    if (data.over) others.delete(data.over);
    if (data.upload || data.over) onchange();
  };
}

/** @param {Omit<Elsewhere, 'at'>} upload */
export const tell = (upload) => channel?.postMessage({ from: me, upload });
/** @param {string} id */
export const tellOver = (id) => channel?.postMessage({ from: me, over: id });

/**
 * Makes this tab the one that sends an upload; the answer gives it back. null: another tab has it.
 * @param {string} id @returns {Promise<(() => void) | null>}
 */
export async function claim(id) {
  const taken = 'locks' in navigator ? await lock(id) : await inquire(id);
  if (!taken) return null;
  mine.add(id);
  return () => { mine.delete(id); taken(); };
}

/** @param {string} id @returns {Promise<(() => void) | null>} */
const lock = (id) => new Promise((resolve) => {
  navigator.locks.request(`upload:${id}`, { ifAvailable: true }, (lock) => {
    if (!lock) { resolve(null); return undefined; }
    return new Promise((release) => { resolve(() => release(undefined)); });
  }).catch(() => resolve(null));
});

/** Locks need a secure context; without one the other tabs are asked. @param {string} id @returns {Promise<(() => void) | null>} */
const inquire = (id) => new Promise((resolve) => {
  if (!channel) { resolve(() => {}); return; }
  /** @param {MessageEvent} event */
  const hear = ({ data }) => { if (data.taken === id) end(null); };
  const timer = setTimeout(() => end(() => {}), 300);
  /** @param {(() => void) | null} answer */
  const end = (answer) => { clearTimeout(timer); channel.removeEventListener('message', hear); resolve(answer); };
  channel.addEventListener('message', hear);
  channel.postMessage({ from: me, claim: id });
});
