// Row menus (<details class="menu">) and filters (<details class="filter">): keys, Esc, clicks outside; menus are placed over scrolling tables.
import { all, each, one } from './dom.js';

let listening = false;
const OPEN = 'details.menu[open], details.filter[open]';

/** @param {ParentNode} root */
export function start(root) {
  each(root, 'details.menu', 'menu', menu);
  each(root, 'details.filter', 'filter', (el) => el.addEventListener('toggle', () => {
    el.classList.remove('end');
    const box = el.open && one('fieldset, div', el)?.getBoundingClientRect();
    if (box && box.right > document.documentElement.clientWidth - 8) el.classList.add('end');
  }));
  if (listening) return;
  listening = true;
  document.addEventListener('click', (event) => {
    for (const el of all(OPEN)) if (!el.contains(/** @type {Node} */ (event.target))) el.removeAttribute('open');
  });
  document.addEventListener('keydown', (event) => {
    const el = event.key === 'Escape' && event.target instanceof Element && (event.target.closest(OPEN) ?? one(OPEN));
    if (!el) return;
    el.removeAttribute('open');
    one('summary', el)?.focus();
  });
  document.addEventListener('focusin', (event) => {
    for (const el of all(OPEN)) if (!el.contains(/** @type {Node} */ (event.target))) el.removeAttribute('open');
  });
  addEventListener('scroll', (event) => {
    for (const el of all('details.menu[open]')) if (event.target instanceof Node && !el.contains(event.target)) place(/** @type {HTMLDetailsElement} */ (el));
  }, { capture: true, passive: true });
  addEventListener('resize', () => { for (const el of all('details.menu[open]')) el.removeAttribute('open'); });
}

/** @param {HTMLDetailsElement} details */
function menu(details) {
  const summary = one('summary', details);
  const items = () => all('.items :is(a[href], button, [tabindex])', details);
  let byKey = false;
  summary?.addEventListener('keydown', (event) => {
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      event.preventDefault();
      details.open = true;
      place(details);
      items().at(event.key === 'ArrowDown' ? 0 : -1)?.focus();
    } else byKey = event.key === 'Enter' || event.key === ' ';
  });
  summary?.addEventListener('pointerdown', () => { byKey = false; });
  details.addEventListener('toggle', () => {
    if (!details.open) return;
    place(details);
    if (byKey && document.activeElement === summary) items()[0]?.focus();
    byKey = false;
  });
  one('.items', details)?.addEventListener('keydown', (event) => {
    const list = items(), at = list.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    list.at(next % list.length)?.focus();
  });
}

/** Fixed to the window: a table that scrolls would cut it off. @param {HTMLDetailsElement} details */
function place(details) {
  const box = one('.items', details), at = one('summary', details)?.getBoundingClientRect();
  if (!box || !at) return;
  if (at.bottom < 0 || at.top > innerHeight) { details.open = false; return; }
  box.classList.add('placed');
  const { width, height } = box.getBoundingClientRect();
  const below = at.bottom + 4 + height <= innerHeight - 8 || at.top < height;
  box.style.setProperty('left', `${Math.max(8, Math.min(at.right - width, innerWidth - width - 8))}px`);
  box.style.setProperty('top', `${Math.max(8, below ? Math.min(at.bottom + 4, innerHeight - height - 8) : at.top - height - 4)}px`);
}
