// A chosen ISO file: first looks at it here, then shows its first 64 KiB to the server.
import { all, make, one, size } from './dom.js';

const HEAD = 64 * 1024;

/** @typedef {{ok: boolean, label?: string, os?: string, errors?: {field?: string, message: string, href?: string}[], warnings?: {message: string, href?: string}[]}} Answer */

/** @param {string} url @param {File} file @param {string} storage the storage's id, or '' @param {AbortSignal} [signal] */
export async function sendHead(url, file, storage, signal) {
  const target = new URL(url, location.href);
  target.search = new URLSearchParams({ name: file.name, size: String(file.size), storage }).toString();
  const body = await file.slice(0, HEAD).arrayBuffer().catch(() => { throw new Unreadable(); });
  return fetch(target, { method: 'POST', body, signal, headers: { 'Content-Type': 'application/octet-stream', 'X-Requested-With': 'vmimg', Accept: 'application/json' } });
}

class Unreadable extends Error {}

/** What to say when sendHead or its answer failed. @param {unknown} error */
export const failure = (error) => error instanceof Unreadable
  ? 'This file cannot be read. If it was moved or changed, choose it again.'
  : 'The server did not answer. Try again in a moment.';

/** @param {Response} response @returns {Promise<any>} */
export async function json(response) {
  if ((response.headers.get('content-type') ?? '').includes('json')) return response.json();
  if (response.status === 401 || response.redirected) return { ok: false, errors: [{ message: 'You are signed out. Sign in again in another tab, then go on here.' }] };
  return { ok: false, errors: [{ message: `The server could not do that (answer ${response.status}). Try again in a moment.` }] };
}

/** @param {File} file @returns {string} what is wrong at first sight, or '' */
export function firstLook(file) {
  if (!/\.iso$/i.test(file.name)) return 'The selected file must be an ISO image; its name has to end in .iso.';
  return file.size === 0 ? 'The selected file is empty.' : '';
}

/**
 * Looks at a file and writes what it is into note.
 * @param {{file: File, url?: string, storage?: string, note: HTMLElement | null, input: HTMLElement | null, box?: HTMLElement | null, signal?: AbortSignal}} what
 * @returns {Promise<Answer | null>} null: overtaken by a later look
 */
export async function look({ file, url, storage = '', note, input, box, signal }) {
  const say = (state, ...parts) => {
    for (const el of [note, box]) if (el) el.dataset.state = state;
    note?.replaceChildren(...parts);
    if (state === 'bad') input?.setAttribute('aria-invalid', 'true'); else input?.removeAttribute('aria-invalid');
  };
  /** @type {Answer} */
  let answer = { ok: true };
  const wrong = firstLook(file);
  if (wrong) answer = { ok: false, errors: [{ field: 'file', message: wrong }] };
  else if (url) {
    say('busy', `${size(file.size)} · looking at it…`);
    try { answer = await json(await sendHead(url, file, storage, signal)); } catch (error) {
      if (signal?.aborted) return null;
      answer = { ok: false, errors: [{ field: 'file', message: failure(error) }] };
    }
  }
  if (signal?.aborted) return null;
  if (answer.ok) {
    const more = (answer.warnings ?? []).flatMap(({ message, href }) => [make('br'), href ? make('a', { href, target: '_blank' }, message) : message]);
    say('good', [size(file.size), answer.label].filter(Boolean).join(' · '), ...more);
  } else {
    say('bad', `${size(file.size)} · ${(answer.errors ?? []).map((error) => error.message).join(' ')}`);
  }
  return answer;
}

/** Choices of storage that the file does not fit into cannot be taken, and say why. @param {HTMLFormElement} form @param {number} bytes */
export function fits(form, bytes) {
  for (const el of all('input[data-free]', form)) {
    const input = /** @type {HTMLInputElement} */ (el), free = Number(input.dataset.free), note = one('[data-storage-note]', input.closest('label') ?? form);
    const short = bytes > free;
    if (input.disabled && !input.dataset.short) continue; // the server had a reason of its own
    input.disabled = short;
    if (short) { input.dataset.short = '1'; input.checked = false; } else delete input.dataset.short;
    if (note) { note.dataset.was ??= note.textContent; note.textContent = short ? `too small: ${size(bytes)} needed, ${size(free)} free` : note.dataset.was; }
  }
}
