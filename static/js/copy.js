// Copy buttons: [data-copy="text"] (empty: this address) and [data-copy-from="#id"]. Selects the text where the clipboard is closed.
import { announce, each, make, one } from './dom.js';

/** @param {ParentNode} root */
export function start(root) {
  each(root, '[data-copy], [data-copy-from]', 'copy', (button) => {
    button.hidden = false;
    button.addEventListener('click', async () => {
      const source = button.dataset.copyFrom ? one(button.dataset.copyFrom) : null;
      const text = source ? (source.dataset.copyText ?? /** @type {any} */ (source).value ?? source.textContent).trim() : button.dataset.copy || location.href;
      let done = false;
      try { await navigator.clipboard.writeText(text); done = true; } catch { done = old(text, button.closest('dialog') ?? document.body); } // plain http has no clipboard
      if (done) { announce('Copied'); mark(button); return; }
      if (source) getSelection()?.selectAllChildren(source);
      announce('The text is selected. Press Control C to copy it.');
    });
  });
}

/** @param {string} text @param {HTMLElement} host the focus can go there */
function old(text, host) {
  const area = /** @type {HTMLTextAreaElement} */ (make('textarea', { value: text, className: 'visually-hidden' })), before = document.activeElement;
  host.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  /** @type {HTMLElement | null} */ (before)?.focus();
  return done;
}

/** For eyes: a tick for a moment. @param {HTMLElement} button */
function mark(button) {
  const use = one('use', button);
  if (!use || use.dataset.was) return;
  const href = use.getAttribute('href') ?? '';
  use.dataset.was = href;
  use.setAttribute('href', href.replace(/#.*/, '#check'));
  setTimeout(() => { use.setAttribute('href', href); delete use.dataset.was; }, 1500);
}
