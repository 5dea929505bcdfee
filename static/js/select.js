// Bulk selection: the bar is there only with a selection; the header box has three states; "Select all 340 matching".
import { each, one } from './dom.js';

/** @param {ParentNode} root */
export function start(root) {
  each(root, 'form[data-bulk]', 'bulk', (form) => {
    const bar = form.matches('[data-bulk-bar]') ? form : one('[data-bulk-bar]', form) ?? form;
    const count = one('[data-bulk-count]', form), matching = /** @type {HTMLInputElement | null} */ (one('[data-select-matching]', form));
    const inputs = () => /** @type {HTMLInputElement[]} */ ([...form.elements].filter((el) => el instanceof HTMLInputElement && el.type === 'checkbox'));
    const rows = () => inputs().filter((input) => input.name === 'ids' && !input.disabled);
    const head = () => inputs().find((input) => input.hasAttribute('data-select-all'));
    const head0 = head();
    if (head0) head0.hidden = false;

    const show = () => {
      const list = rows(), picked = list.filter((input) => input.checked).length, whole = matching?.checked ?? false, top = head();
      if (top) { top.checked = list.length > 0 && picked === list.length; top.indeterminate = picked > 0 && picked < list.length; }
      bar.hidden = !picked && !whole;
      const text = `${whole ? Number(matching.dataset.total).toLocaleString('en') : picked} selected`;
      if (count && count.textContent !== text) count.textContent = text;
    };
    document.addEventListener('change', (event) => {
      const input = event.target;
      if (!(input instanceof HTMLInputElement) || input.form !== form || !form.isConnected) return;
      if (input === head()) { for (const row of rows()) row.checked = input.checked; if (!input.checked && matching) matching.checked = false; }
      else if (input === matching) { for (const row of rows()) row.checked = input.checked; }
      else if (input.name === 'ids' && !input.checked && matching) matching.checked = false;
      show();
    });
    addEventListener('pageshow', show);
    show();
  });
}
