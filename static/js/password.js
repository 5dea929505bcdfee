// "Show" beside a password field.
import { each, one } from './dom.js';

/** @param {ParentNode} root */
export function start(root) {
  each(root, '[data-show-password]', 'password', (button) => {
    const input = /** @type {HTMLInputElement | null} */ (button.dataset.showPassword ? one(button.dataset.showPassword) : one('input', button.parentElement));
    if (!input) return;
    button.hidden = false;
    const show = (on) => {
      input.type = on ? 'text' : 'password';
      button.textContent = on ? 'Hide' : 'Show';
      button.setAttribute('aria-label', on ? 'Hide password' : 'Show password');
    };
    button.addEventListener('click', () => show(input.type === 'password'));
    input.form?.addEventListener('submit', () => show(false)); // browsers keep what was typed as text
    show(false);
  });
}
