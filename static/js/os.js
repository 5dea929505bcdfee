// The operating system: a searchable list (APG combobox over the native select), and the least requirements that it brings.
import { each, make, one } from './dom.js';

let uid = 0;

/** @param {ParentNode} root */
export function start(root) {
  each(root, 'select[data-os]', 'os', (select) => { needs(select, combobox(select)); });
}

/** @param {HTMLSelectElement} select */
function needs(select, refresh) {
  const form = select.form ?? document, box = one('[data-os-other]', form);
  let touched = Boolean(select.value);
  const apply = (first) => {
    const option = select.selectedOptions[0], known = Boolean(option?.dataset.vcpu);
    if (box) box.hidden = !select.value;
    for (const field of form.querySelectorAll('[data-os-min]')) {
      const input = /** @type {HTMLInputElement} */ (field), floor = option?.dataset[input.dataset.osMin ?? ''];
      if (floor) input.min = floor; else input.min = '1';
      if (known && floor && (!first || !input.value) && input.value !== floor) {
        if (!first || Number(input.value || 0) < Number(floor)) input.value = floor;
      }
    }
  };
  select.addEventListener('change', () => { touched = true; apply(false); });
  document.addEventListener('vmimg:os', (event) => {
    const { os, form: from } = /** @type {CustomEvent} */ (event).detail;
    if (touched || from !== form || ![...select.options].some((option) => option.value === os)) return;
    select.value = os;
    apply(false);
    refresh('Detected from the file. You can choose another.');
  });
  apply(true);
}

/** @param {HTMLSelectElement} select @returns {(note?: string) => void} shows the select's value again */
function combobox(select) {
  const id = select.id || `os-${++uid}`, label = one(`label[for="${CSS.escape(id)}"]`);
  const input = /** @type {HTMLInputElement} */ (make('input', { type: 'text', id, role: 'combobox', autocomplete: 'off', spellcheck: false, 'aria-expanded': 'false', 'aria-controls': `${id}-list`, 'aria-autocomplete': 'list' }));
  const list = make('ul', { id: `${id}-list`, role: 'listbox', 'aria-label': label?.textContent ?? 'Choices', hidden: true });
  const note = make('p', { className: 'hint', role: 'status' });
  for (const name of ['aria-describedby', 'aria-invalid']) if (select.hasAttribute(name)) input.setAttribute(name, select.getAttribute(name));
  select.id = `${id}-native`;
  select.hidden = true;
  const box = make('div', { className: 'combo' }, input, list);
  select.after(box);
  box.after(note);
  input.placeholder = 'Type to search';

  const options = [...select.options].filter((option) => option.value !== '');
  /** @type {HTMLElement[]} */
  let shown = [];
  let at = -1;
  const chosen = () => select.value ? select.selectedOptions[0].text.trim() : '';
  const close = () => { list.hidden = true; at = -1; input.setAttribute('aria-expanded', 'false'); input.removeAttribute('aria-activedescendant'); };
  const mark = (next) => {
    shown[at]?.setAttribute('aria-selected', 'false');
    at = next;
    const item = shown[at];
    if (!item) { input.removeAttribute('aria-activedescendant'); return; }
    item.setAttribute('aria-selected', 'true');
    item.scrollIntoView({ block: 'nearest' });
    input.setAttribute('aria-activedescendant', item.id);
  };
  const pick = (item) => {
    select.value = item.dataset.value;
    input.value = chosen();
    note.textContent = '';
    close();
    select.dispatchEvent(new Event('change', { bubbles: true }));
  };
  const open = (all) => {
    const words = all ? [] : input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const groupOf = (option) => option.parentElement instanceof HTMLOptGroupElement ? option.parentElement.label : '';
    const match = options.filter((option) => option.value === 'other' || words.every((word) => `${option.text} ${groupOf(option)}`.toLowerCase().includes(word)));
    shown = match.map((option, i) => {
      const item = make('li', { id: `${id}-${i}`, role: 'option', 'aria-selected': 'false' }, make('span', {}, option.text.trim()), make('small', {}, groupOf(option)));
      item.dataset.value = option.value;
      item.addEventListener('pointerdown', (event) => { event.preventDefault(); pick(item); });
      return item;
    });
    list.replaceChildren(...shown);
    list.hidden = !shown.length;
    input.setAttribute('aria-expanded', String(!!shown.length));
    mark(all ? shown.findIndex((item) => item.dataset.value === select.value) : words.length ? 0 : -1);
  };
  input.addEventListener('input', () => open(false));
  input.addEventListener('click', () => { if (list.hidden) { open(true); input.select(); } });
  input.addEventListener('keydown', (event) => {
    const last = shown.length - 1;
    if (event.key === 'ArrowDown') { if (list.hidden) open(true); else mark(at >= last ? 0 : at + 1); }
    else if (event.key === 'ArrowUp') { if (list.hidden) open(true); else mark(at <= 0 ? last : at - 1); }
    else if (event.key === 'Enter' && !list.hidden) { if (shown[at]) pick(shown[at]); }
    else if (event.key === 'Escape' && !list.hidden) { close(); input.value = chosen(); }
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  // Left with something that is no choice: the last choice stands; emptied: none.
  input.addEventListener('blur', () => {
    if (!list.hidden && shown[at] && input.value.trim() && input.value !== chosen()) pick(shown[at]);
    else if (!input.value.trim() && select.value && select.querySelector('option[value=""]')) { select.value = ''; select.dispatchEvent(new Event('change', { bubbles: true })); }
    input.value = chosen();
    close();
  });
  const refresh = (text = '') => { input.value = chosen(); note.textContent = text; };
  refresh();
  return refresh;
}
