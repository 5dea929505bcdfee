// Keeps [data-live] elements of a page up to date by asking for the page again; focus, scroll and row order stay.
import { all, each, make, one } from './dom.js';
import { alive, isHtml, restart } from './swap.js';

/** @type {WeakMap<Element, Node>} what the server last sent for each */
const sources = new WeakMap();
let timer = 0, fails = 0, listening = false;

/** @param {ParentNode} root */
export function start(root) {
  // Modules change the page: what the server sent is remembered to compare with. (This module is started first.)
  each(root, '[data-live][id]', 'live', (el) => { if (!sources.has(el)) sources.set(el, el.cloneNode(true)); });
  if (root !== document && !(root instanceof Element && root.matches('main'))) return;
  if (!listening) {
    listening = true;
    document.addEventListener('visibilitychange', () => plan(0));
  }
  fails = 0;
  plan();
}

/** Asks at once: something is known to have changed. */
export const now = () => plan(0);

/** @param {number} [wait] milliseconds; else what the page says, longer after failures */
function plan(wait) {
  clearTimeout(timer);
  const every = Number(one('main')?.dataset.liveEvery);
  if (!every || document.hidden) return;
  timer = setTimeout(poll, wait ?? Math.min(Math.max(every, 500) * 2 ** fails, 60_000));
}

async function poll() {
  const main = one('main'), url = location.href.split('#')[0];
  try {
    const response = await fetch(url, { headers: { 'X-Background': '1', 'X-Requested-With': 'vmimg', Accept: 'text/html' }, cache: 'no-store' });
    if (response.status === 401 || (response.redirected && new URL(response.url).pathname !== location.pathname)) {
      // An upload says so itself, and goes on when somebody has signed in elsewhere; so does this page.
      if (alive()) throw new Error('signed out');
      signedOut(response.status);
      return;
    }
    if (!response.ok || !isHtml(response)) throw new Error(String(response.status));
    const page = new DOMParser().parseFromString(await response.text(), 'text/html');
    if (main !== one('main') || url !== location.href.split('#')[0]) return; // swapped away meanwhile
    fails = 0;
    update(page);
  } catch { fails = Math.min(fails + 1, 5); }
  plan();
}

/** @param {Document} page */
function update(page) {
  const here = one('main'), there = one('main', page);
  if (!here || !there) return;
  if (there.dataset.liveEvery) here.dataset.liveEvery = there.dataset.liveEvery; else delete here.dataset.liveEvery;
  for (const el of all('[data-live][id]')) {
    const next = page.getElementById(el.id);
    if (!next || el.contains(document.activeElement) || el.closest('[data-local]') || one('details[open]', el)) continue;
    const after = next.cloneNode(true);
    if (sources.get(el)?.isEqualNode(after)) continue;
    for (const { name } of [...el.attributes]) if (!next.hasAttribute(name) && name !== 'tabindex') el.removeAttribute(name);
    for (const { name, value } of next.attributes) if (el.getAttribute(name) !== value) el.setAttribute(name, value);
    const ticked = new Set(all('input:checked', el).map((input) => /** @type {HTMLInputElement} */ (input).value));
    sources.set(el, after);
    el.replaceChildren(...next.childNodes);
    for (const input of all('input[type=checkbox]', el)) /** @type {HTMLInputElement} */ (input).checked = ticked.has(/** @type {HTMLInputElement} */ (input).value);
    restart(el);
  }
}

/** @param {number} status */
function signedOut(status) {
  if (one('.session-warning')) return;
  document.body.append(make('div', { className: 'session-warning', role: 'alert' },
    make('p', {}, status === 401 ? 'You are signed out; this page no longer follows what happens.' : 'This page is no longer where it was.'),
    make('a', { className: 'btn', href: location.href, 'data-hard': '' }, 'Load again')));
}
