// "12 of 4,096 characters" below a field with data-count-max; said only when the end is near.
import { announce, each } from './dom.js';

/** @param {ParentNode} root */
export function start(root) {
  each(root, '[data-count-max]', 'count', (input) => {
    const max = Number(input.dataset.countMax), id = (input.getAttribute('aria-describedby') ?? '').split(' ').find((part) => part.endsWith('-count'));
    const note = id && document.getElementById(id);
    if (!note) return;
    let timer = 0;
    const show = () => {
      const used = [...input.value.replace(/\r\n/g, '\n')].length;
      note.textContent = `${used.toLocaleString('en')} of ${max.toLocaleString('en')} characters`;
      clearTimeout(timer);
      if (used > max * .9) timer = setTimeout(() => announce(used > max ? `${used - max} characters too many` : `${max - used} characters left`), 1000);
    };
    input.addEventListener('input', show);
    show();
  });
}
