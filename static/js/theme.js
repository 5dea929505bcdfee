// The theme switch: applies at once, and is kept by the server.
import { announce, each } from './dom.js';

/** @param {ParentNode} root */
export function start(root) {
  each(root, 'form[data-theme-form]', 'theme', (form) => {
    /** @param {string} value */
    const set = (value) => {
      if (!['system', 'light', 'dark'].includes(value)) return;
      document.documentElement.dataset.theme = value;
      const data = new URLSearchParams(/** @type {any} */ (new FormData(form)));
      data.set('theme', value);
      fetch(form.action, { method: 'POST', body: data, headers: { 'X-Requested-With': 'vmimg' } })
        .then((response) => announce(response.ok ? `Theme: ${value}` : 'The theme could not be saved'), () => announce('The theme could not be saved'));
    };
    form.addEventListener('change', (event) => { if (event.target.name === 'theme') set(event.target.value); });
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      set(event.submitter?.name === 'theme' ? event.submitter.value : String(new FormData(form).get('theme')));
    });
  });
}
