// Warns before the idle session ends, with "Stay signed in"; a running upload keeps the session alive by itself. Tabs tell each other.
import { announce, make, one } from './dom.js';
import { alive } from './swap.js';
import { running } from './upload.js';

const WARN = 150_000, KEEP = 240_000;
const tabs = 'BroadcastChannel' in window ? new BroadcastChannel('vmimg-session') : null;
let listening = false, ends = 0, skew = 0, asked = Date.now();
/** @type {HTMLElement | null} */
let box = null;

export function start() {
  const { sessionEnds, now } = document.documentElement.dataset;
  if (now && !skew) skew = Number(now) - Date.now();
  if (!sessionEnds) { ends = 0; close(); return; }
  if (Number(sessionEnds) > ends) { set(Number(sessionEnds)); tabs?.postMessage(ends); }
  if (listening) return;
  listening = true;
  if (tabs) tabs.onmessage = ({ data }) => { if (typeof data === 'number' && data > ends) set(data); };
  setInterval(tick, 5000);
  tick();
}

/** @param {number} value */
function set(value) { ends = value; close(); }
function close() { box?.remove(); box = null; }

function tick() {
  if (!ends) return;
  const left = ends - (Date.now() + skew);
  if (running() && left > 0) { if (Date.now() - asked > KEEP || left < WARN + 30_000) extend(false); return; }
  if (left > WARN) return;
  const minutes = Math.max(1, Math.round(left / 60_000));
  const text = left > 0 ? `You will be signed out in about ${minutes} ${minutes === 1 ? 'minute' : 'minutes'}, because nothing happened here for a while.` : 'You have been signed out. What you see may be out of date.';
  if (!box) {
    const stay = make('button', { type: 'button', className: 'btn primary' }, 'Stay signed in');
    stay.addEventListener('click', () => extend(true));
    document.body.append(box = make('div', { className: 'session-warning', role: 'alert' }, make('p'), stay));
  }
  const p = one('p', box);
  if (p.textContent !== text) p.textContent = text;
  // Leaving this document would lose the file that it sends.
  const way = alive() ? { href: '/sign-in', target: '_blank' } : { href: location.href, 'data-hard': '' };
  if (left <= 0) one('button', box)?.replaceWith(make('a', { className: 'btn primary', ...way }, alive() ? 'Sign in in a new tab' : 'Sign in again'));
}

/** @param {boolean} byHand */
async function extend(byHand) {
  asked = Date.now();
  try {
    const response = await fetch('/session/extension', { method: 'POST', headers: { 'X-Requested-With': 'vmimg', Accept: 'application/json' } });
    const answer = await response.json();
    if (!response.ok || typeof answer.ends !== 'number') throw new Error();
    const inside = box?.contains(document.activeElement);
    set(answer.ends);
    document.documentElement.dataset.sessionEnds = String(ends);
    tabs?.postMessage(ends);
    if (byHand) announce('You stay signed in');
    if (inside) one('#main')?.focus({ preventScroll: true });
  } catch {
    if (byHand && box) one('p', box).textContent = 'That did not work. Check the connection and try again.';
  }
}
