// Times in words ("2 h ago"), kept fresh; the absolute time with its zone is in the title, shown on hover and on keyboard focus.
import { all, each, make } from './dom.js';

const lang = document.documentElement.lang.replace(/^(en)?$/, 'en-GB'); // 10 Nov, not Nov 10
const exact = new Intl.DateTimeFormat(lang, { dateStyle: 'medium', timeStyle: 'long' });
const day = new Intl.DateTimeFormat(lang, { day: 'numeric', month: 'short' });
const dayYear = new Intl.DateTimeFormat(lang, { day: 'numeric', month: 'short', year: 'numeric' });
let listening = false;

/** @param {Date} then */
function words(then) {
  const s = (Date.now() - then.getTime()) / 1000, ahead = s < 0, n = Math.abs(s);
  const say = (count, unit) => ahead ? `in ${count} ${unit}` : `${count} ${unit} ago`;
  if (n < 45) return ahead ? 'in a moment' : 'just now';
  if (n < 5400) { const m = Math.max(1, Math.round(n / 60)); return say(m, 'min'); }
  if (n < 79_200) return say(Math.round(n / 3600), 'h');
  if (n < 6.5 * 86_400) { const d = Math.max(1, Math.round(n / 86_400)); return say(d, d === 1 ? 'day' : 'days'); }
  return (then.getFullYear() === new Date().getFullYear() ? day : dayYear).format(then);
}

/** @param {HTMLElement} el */
function show(el) {
  const then = new Date(el.getAttribute('datetime') ?? '');
  if (Number.isNaN(then.getTime())) return;
  const text = words(then);
  if (el.textContent !== text) el.textContent = text;
  el.title = exact.format(then);
  el.tabIndex = 0;
}

/** @param {ParentNode} root */
export function start(root) {
  each(root, 'time[datetime][data-relative]', 'time', show);
  if (listening) return;
  listening = true;
  setInterval(() => all('time[datetime][data-relative]').forEach(show), 60_000);
  /** @type {HTMLElement | null} */
  let tip = null;
  const hide = () => { tip?.remove(); tip = null; };
  document.addEventListener('focusin', (event) => {
    hide();
    const el = event.target instanceof HTMLElement ? event.target : null;
    if (!el?.title || !el.hasAttribute('tabindex') || !(el.matches(':focus-visible') || matchMedia('(pointer: coarse)').matches)) return;
    tip = make('div', { className: 'tip', role: 'tooltip' }, el.title);
    document.body.append(tip);
    const at = el.getBoundingClientRect(), own = tip.getBoundingClientRect();
    tip.style.setProperty('left', `${Math.max(8, Math.min(at.left, innerWidth - own.width - 8))}px`);
    tip.style.setProperty('top', `${at.top > own.height + 12 ? at.top - own.height - 6 : at.bottom + 6}px`);
  });
  document.addEventListener('focusout', hide);
  document.addEventListener('keydown', (event) => { if (event.key === 'Escape') hide(); });
  addEventListener('scroll', hide, { capture: true, passive: true });
}
