// A form is sent once; what is aria-disabled does nothing; on small screens the navigation folds away.
import { each, make, one, busy } from './dom.js';

let listening = false;

/** @param {ParentNode} root */
export function start(root) {
  each(root, '.side', 'nav', foldable);
  if (listening) return;
  listening = true;
  document.addEventListener('click', (event) => {
    const off = event.target instanceof Element && event.target.closest('[aria-disabled="true"]');
    if (off) { event.preventDefault(); event.stopImmediatePropagation(); }
  }, true);
  document.addEventListener('submit', (event) => {
    const form = /** @type {HTMLFormElement} */ (event.target);
    if (form.hasAttribute('data-busy')) { event.preventDefault(); event.stopImmediatePropagation(); return; }
    // Sent by the browser itself: after the other listeners had their say.
    setTimeout(() => {
      if (event.defaultPrevented || form.getAttribute('method')?.toLowerCase() !== 'post') return;
      busy(form, true);
      setTimeout(() => busy(form, false), 8000); // an answer without a page (a download) must not block it for ever
    });
  }, true);
  addEventListener('pageshow', (event) => {
    if (event.persisted) for (const form of document.forms) if (form.hasAttribute('data-busy')) busy(form, false);
  });
}

/** @param {HTMLElement} side */
function foldable(side) {
  const small = matchMedia('(max-width: 860px)');
  const button = make('button', { type: 'button', className: 'btn quiet nav-toggle', 'aria-expanded': 'false' }, 'Menu');
  const set = (open) => { side.dataset.nav = open ? 'open' : 'closed'; button.setAttribute('aria-expanded', String(open)); };
  const fit = () => { button.hidden = !small.matches; set(false); };
  one('.brand', side)?.after(button);
  button.addEventListener('click', () => set(side.dataset.nav === 'closed'));
  side.addEventListener('keydown', (event) => { if (event.key === 'Escape' && small.matches && side.dataset.nav === 'open') { set(false); button.focus(); } });
  small.addEventListener('change', fit);
  fit();
}
