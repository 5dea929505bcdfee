// Small tools that the other modules share: finding, building, announcing, asking, sizes.

/** @type {(s: string, root?: ParentNode) => HTMLElement | null} */
export const one = (selector, root = document) => root.querySelector(selector);

/** @type {(s: string, root?: ParentNode) => HTMLElement[]} */
export const all = (selector, root = document) => /** @type {HTMLElement[]} */ ([...root.querySelectorAll(selector)]);

/** @type {Map<string, WeakSet<Element>>} */
const seen = new Map();

/**
 * Runs fn once per element below root, or root itself, that matches.
 * @param {ParentNode} root @param {string} selector @param {string} key @param {(el: any) => void} fn
 */
export function each(root, selector, key, fn) {
  const done = seen.get(key) ?? seen.set(key, new WeakSet()).get(key);
  const found = all(selector, root);
  if (root instanceof HTMLElement && root.matches(selector)) found.unshift(root);
  for (const el of found) if (!done.has(el)) { done.add(el); fn(el); }
}

/**
 * @param {string} tag @param {Record<string, any>} [props] properties, or attributes where the name has a dash or is "role"
 * @param {...(Node | string)} children
 */
export function make(tag, props = {}, ...children) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.includes('-') || name === 'role') el.setAttribute(name, value); else el[name] = value;
  }
  el.append(...children);
  return el;
}

/** @param {string} name a symbol of icons.svg */
export function icon(name) {
  const ns = 'http://www.w3.org/2000/svg', svg = document.createElementNS(ns, 'svg'), use = document.createElementNS(ns, 'use');
  svg.setAttribute('aria-hidden', 'true');
  use.setAttribute('href', new URL('../icons.svg', import.meta.url).pathname + `#${name}`);
  svg.append(use);
  return svg;
}

/** What is for scripts comes out of its template; what is for pages without goes away with its names and ids. @param {ParentNode} root */
export function withJs(root) {
  // One may hold another.
  for (let found; (found = all('template[data-with-js]', root)).length;) for (const el of found) el.replaceWith(/** @type {HTMLTemplateElement} */ (el).content);
  for (const el of all('[data-without-js]', root)) {
    el.hidden = true;
    for (const part of [el, ...all('[id], input, select, textarea, button', el)]) {
      if (part.id && part !== el) part.removeAttribute('id');
      if ('disabled' in part) part.disabled = true;
    }
  }
}

const regions = {}, free = {};
/** Says a sentence to screen readers, each for a second at least: two at once are both heard. @param {string} text @param {'polite' | 'assertive'} [how] */
export function announce(text, how = 'polite') {
  const now = performance.now(), at = Math.max(now, free[how] ?? 0);
  free[how] = at + 1000;
  setTimeout(() => say(text, how), at - now);
}

/** @param {string} text @param {'polite' | 'assertive'} how */
function say(text, how) {
  // While a dialog is open, everything outside of it is silent.
  let region = regions[how];
  const host = document.querySelector('dialog:modal') ?? document.body, fresh = region?.parentNode !== host || !region.isConnected;
  if (fresh) region?.remove();
  if (fresh) host.append(region = regions[how] = make('div', { className: 'visually-hidden', 'aria-live': how }));
  region.textContent = '';
  setTimeout(() => { region.textContent = text; }, fresh ? 250 : 60);
}

/** `4.7 GiB`, as the server writes it. @param {number} bytes */
export function size(bytes) {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let at = 0, n = bytes;
  while (at < 5 && (at ? Math.round(n * 10) / 10 : n) >= 1024) { n /= 1024; at++; }
  return bytes === 1 ? '1 byte' : `${Math.round(n * 10) / 10} ${units[at]}`;
}

/** `3.2 of 4.7 GiB`, in one unit where both have the same. @param {number} part @param {number} total */
export function sizeOf(part, total) {
  const [a, unit] = size(part).split(' '), whole = size(total);
  return whole.endsWith(` ${unit}`) ? `${a} of ${whole}` : `${a} ${unit} of ${whole}`;
}

/** `about 38 s`, `about 4 min`. @param {number} seconds */
export function duration(seconds) {
  if (seconds < 90) return `about ${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `about ${minutes} min` : `about ${Math.round(minutes / 6) / 10} h`;
}

/**
 * A question with two answers; the focus is on the harmless one.
 * @param {string} title @param {string} text @param {string} no @param {string} yes @returns {Promise<boolean>}
 */
export function ask(title, text, no, yes) {
  return new Promise((resolve) => {
    const stay = make('button', { className: 'btn', value: '', autofocus: true }, no);
    const go = make('button', { className: 'btn danger primary', value: 'yes' }, yes);
    const dialog = /** @type {HTMLDialogElement} */ (make('dialog', { className: 'help', 'aria-label': title },
      make('h2', {}, title), make('p', {}, text), make('form', { method: 'dialog', className: 'actions' }, stay, go)));
    dialog.addEventListener('close', () => { dialog.remove(); resolve(dialog.returnValue === 'yes'); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/**
 * The error summary on top of a form, with focus, and the same words at the fields.
 * @param {HTMLFormElement} form @param {{field?: string, message: string, href?: string}[]} errors
 */
export function showErrors(form, errors) {
  clearErrors(form);
  const list = make('ul');
  for (const { field, message, href, target: window } of errors) {
    const control = field && (document.getElementById(field) ?? firstOf(form, field));
    const target = href ?? (control?.id ? `#${control.id}` : '');
    list.append(make('li', {}, target ? make('a', { href: target, ...(window ? { target: window } : {}) }, message) : message));
    const row = control?.closest('.row');
    if (control && !href && row) {
      const id = `${control.id || field}-js-error`;
      const text = make('p', { className: 'error', id, 'data-js-error': '' }, icon('blocked'), make('span', {}, make('span', { className: 'visually-hidden' }, 'Error: '), message));
      const label = row.querySelector('legend, label'), drop = control.closest('.drop');
      if (drop) drop.before(text); else if (label) label.after(text); else row.prepend(text);
      control.setAttribute('aria-invalid', 'true');
      control.setAttribute('aria-describedby', `${control.getAttribute('aria-describedby') ?? ''} ${id}`.trim());
    }
  }
  const box = make('div', { className: 'error-summary', role: 'alert', tabIndex: -1, 'aria-labelledby': 'js-errors' },
    make('h2', { id: 'js-errors' }, 'There is a problem'), list);
  form.before(box);
  if (!document.title.includes('Error: ')) document.title = `Error: ${document.title}`;
  box.focus();
  box.scrollIntoView({ block: 'start' });
}

/** @param {HTMLFormElement} form */
export function clearErrors(form) {
  for (const el of all('.error-summary', form.parentNode)) el.remove();
  for (const el of all('[data-js-error]', form)) {
    const control = one(`[aria-describedby~="${el.id}"]`, form);
    control?.setAttribute('aria-describedby', control.getAttribute('aria-describedby').replace(el.id, '').trim());
    if (!control?.closest('.drop[data-state=bad]')) control?.removeAttribute('aria-invalid');
    el.remove();
  }
  document.title = document.title.replace('Error: ', '');
}

/** @param {HTMLFormElement} form @param {string} name @returns {HTMLElement | null} */
function firstOf(form, name) {
  const found = form.elements.namedItem(name);
  return found instanceof RadioNodeList ? /** @type {HTMLElement} */ (found[0]) : /** @type {HTMLElement} */ (found);
}

/** Keeps a form from being sent twice; the buttons stay focusable. @param {HTMLFormElement} form @param {boolean} on */
export function busy(form, on) {
  form.toggleAttribute('data-busy', on);
  for (const button of all('button:not([type=button])', form)) {
    if (on) { button.setAttribute('aria-disabled', 'true'); button.setAttribute('aria-busy', 'true'); }
    else { button.removeAttribute('aria-disabled'); button.removeAttribute('aria-busy'); }
  }
}
