// Single-key shortcuts outside inputs: "/" search, "c" create, "?" help. Off with data-shortcuts="off".
import { one } from './dom.js';

let listening = false;

export function start() {
  if (listening) return;
  listening = true;
  document.addEventListener('keydown', (event) => {
    if (document.documentElement.dataset.shortcuts === 'off' || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || event.isComposing) return;
    if (event.target instanceof Element && event.target.closest('input, select, textarea, [contenteditable], dialog[open], details[open]')) return;
    const search = /** @type {HTMLInputElement | null} */ (one('[data-search]'));
    const create = one('[data-create-link]:not([aria-disabled="true"])');
    const help = /** @type {HTMLDialogElement | null} */ (one('dialog#shortcuts-help'));
    if (event.key === '/' && search) { event.preventDefault(); search.focus(); search.select(); }
    else if (event.key === 'c' && create) { event.preventDefault(); create.click(); }
    else if (event.key === '?' && help && !help.open) { event.preventDefault(); help.showModal(); }
  });
}
