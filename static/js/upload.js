// Sends a whole file as multipart/form-data with progress; goes on while the person moves through the console.
import { all, announce, ask, busy, clearErrors, duration, each, make, one, showErrors, size, sizeOf } from './dom.js';
import { firstLook, look } from './files.js';
import { keep, submitSoft, swapTo, titlePrefix } from './swap.js';

/** @typedef {{id: string, image: string, name: string, file: File, xhr: XMLHttpRequest, sent: number, speed: number, mark: [number, number], said: number, last: number, state: 'sending' | 'checking' | 'lost' | 'stopped' | 'done', text: string, shown: number}} Upload */

/** Milliseconds without a byte: said; given up (the server lets go 60 s after the last byte). */
const STALL = 8_000, GIVE_UP = 75_000;

/** @type {Map<string, Upload>} */
const uploads = new Map();
/** Whether something is on its way. */
export const running = () => [...uploads.values()].some((upload) => ['sending', 'checking', 'lost'].includes(upload.state));
keep.add(running);

const path = (url) => new URL(url, location.href).pathname;
/** @param {Upload} upload */
const onItsPage = (upload) => location.pathname === path(upload.image);
/** @param {Upload} upload */
const percent = (upload) => Math.floor(upload.sent / upload.file.size * 100);

/** @param {{image: string, content: string, file: File, name: string}} what */
export function begin({ image, content, file, name }) {
  const id = path(image).split('/').filter(Boolean).pop() ?? image;
  if (uploads.has(id) && running()) return;
  const xhr = new XMLHttpRequest(), body = new FormData();
  /** @type {Upload} */
  const upload = { id, image, name, file, xhr, sent: 0, speed: 0, mark: [performance.now(), 0], said: 0, last: performance.now(), state: 'sending', text: '', shown: -9999 };
  uploads.set(id, upload);
  body.append('file', file, file.name);
  xhr.open('POST', content);
  xhr.setRequestHeader('X-Requested-With', 'vmimg');
  xhr.setRequestHeader('Accept', 'application/json');
  xhr.upload.onprogress = (event) => progress(upload, Math.max(0, event.loaded - Math.max(0, event.total - file.size)));
  xhr.upload.onload = () => { upload.sent = file.size; upload.state = 'checking'; announce(`${name}: checking the file`); draw(); };
  xhr.onload = () => answered(upload);
  xhr.onerror = () => lost(upload);
  xhr.send(body);
  const watch = setInterval(() => {
    if (upload.state !== 'sending') { clearInterval(watch); return; }
    if (performance.now() - upload.last > GIVE_UP) { xhr.abort(); lost(upload); } else if (performance.now() - upload.last > STALL) draw();
  }, 1000);
  draw();
}

/** @param {Upload} upload @param {number} sent */
function progress(upload, sent) {
  upload.sent = Math.min(sent, upload.file.size);
  const now = performance.now(), [then, before] = upload.mark;
  upload.last = now;
  if (now - then >= 500) {
    const speed = (upload.sent - before) / ((now - then) / 1000);
    upload.speed = upload.speed ? upload.speed * .8 + speed * .2 : speed;
    upload.mark = [now, upload.sent];
  }
  const ten = Math.floor(percent(upload) / 10) * 10;
  if (ten > upload.said && ten < 100) { upload.said = ten; announce(`${upload.name}: ${ten} % sent`); }
  // The page was made before the first byte: once more, now with the progress on it.
  if (upload.sent > 0 && now - upload.shown > 2500 && onItsPage(upload) && !panel(upload)) {
    upload.shown = now;
    const { activeElement } = document, inUse = activeElement?.closest('main') && !(activeElement.matches('h1, main') || activeElement.closest('form[data-upload-again]'));
    if (!inUse) setTimeout(() => { if (onItsPage(upload) && upload.state === 'sending') swapTo(upload.image, { push: false, quiet: true }); }, 400);
  }
  draw();
}

/** @param {Upload} upload */
function answered(upload) {
  const { xhr } = upload;
  let answer = {};
  try { answer = JSON.parse(xhr.responseText); } catch { /* a page: only its status counts */ }
  const signedOut = xhr.status === 401 || (!answer.image && xhr.status < 300 && path(xhr.responseURL || upload.image) !== path(upload.image) && !xhr.responseURL.includes(upload.id));
  if (xhr.status < 300 && !signedOut) return end(upload, `${upload.name} has arrived.`, answer.image);
  const why = signedOut ? 'You were signed out, so it was not accepted. Sign in again and send the file once more.'
    : (answer.errors ?? []).map((error) => error.message).join(' ') || answer.detail || `It was refused (answer ${xhr.status}).`;
  end(upload, `${upload.name} was not accepted. ${why}`, answer.image);
}

/** @param {Upload} upload @param {string} text @param {string} [image] */
function end(upload, text, image) {
  upload.state = 'done'; upload.text = text;
  if (image) upload.image = image;
  if (onItsPage(upload)) { uploads.delete(upload.id); draw(); swapTo(upload.image, { push: false }); }
  else { announce(text); draw(); }
}

/** @param {Upload} upload */
async function lost(upload) {
  if (upload.state === 'stopped') return;
  upload.state = 'lost';
  upload.text = `The connection was lost at ${percent(upload)} %.`;
  announce(`${upload.name}: ${upload.text}`, 'assertive');
  draw();
  for (let wait = 1; ; wait = Math.min(wait * 2, 30)) {
    for (let left = wait; left > 0; left--) {
      upload.text = `The connection was lost at ${percent(upload)} %. Next try to reach the server in ${left} s.`;
      draw();
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    try {
      const response = await fetch(upload.image, { headers: { 'X-Background': '1', Accept: 'text/html' }, cache: 'no-store' });
      if (response.status < 500) break;
    } catch { /* not yet */ }
  }
  end(upload, `${upload.name}: the connection was lost at ${percent(upload)} %. Its page says how to go on.`);
}

/** @param {Upload} upload */
function words(upload) {
  if (upload.state === 'checking') return 'Checking the file…';
  if (upload.state !== 'sending') return upload.text;
  const still = performance.now() - upload.last;
  if (still > STALL) return `Waiting for the connection: nothing has gone out for ${Math.round(still / 1000)} s. ${percent(upload)} % is sent.`;
  const parts = [sizeOf(upload.sent, upload.file.size), `${percent(upload)} %`];
  if (upload.speed > 0) parts.push(`${size(Math.round(upload.speed))}/s`, `${duration((upload.file.size - upload.sent) / upload.speed)} left`);
  return parts.join(' · ');
}

/** @param {Upload} upload */
const panel = (upload) => one(`[data-upload-panel="${CSS.escape(upload.id)}"]`);

/** @type {HTMLElement | null} */
let tray = null;

/** Shows every upload where it belongs: in its panel, else in the tray. */
function draw() {
  const list = [...uploads.values()], apart = [];
  for (const upload of list) {
    const box = panel(upload);
    if (!box) { apart.push(upload); continue; }
    box.dataset.local = '';
    fill(upload, one('[data-progress]', box), one('[data-progress-text]', box));
  }
  const first = list.find((upload) => upload.state === 'sending' || upload.state === 'checking');
  titlePrefix(first ? (first.state === 'checking' ? 'Checking – ' : `${percent(first)} % – `) + (document.title.includes(first.name) ? '' : `${first.name} – `) : '');
  if (!apart.length) { tray?.remove(); tray = null; return; }
  if (!tray) document.body.append(tray = make('aside', { className: 'tray', 'aria-label': 'Transfers' }, make('h2', {}, 'Transfers')));
  for (const item of all('.item', tray)) if (!apart.some((upload) => upload.id === item.dataset.id)) item.remove();
  for (const upload of apart) {
    const item = one(`[data-id="${CSS.escape(upload.id)}"]`, tray) ?? tray.appendChild(trayItem(upload));
    const bar = one('progress', item), over = upload.state === 'done';
    bar.hidden = over;
    one('button', item).hidden = !over;
    fill(upload, bar, one('p', item));
  }
}

/** @param {Upload} upload */
function trayItem(upload) {
  const close = make('button', { type: 'button', className: 'btn small', hidden: true }, 'Dismiss');
  close.addEventListener('click', () => { uploads.delete(upload.id); draw(); one('h1')?.focus(); });
  const item = make('div', { className: 'item' }, make('a', { href: upload.image }, make('bdi', {}, upload.name)),
    make('progress', { max: 100, 'aria-label': `Upload of ${upload.name}` }), make('p'), make('div', {}, close));
  item.dataset.id = upload.id;
  return item;
}

/** @param {Upload} upload @param {any} bar @param {HTMLElement | null} text */
function fill(upload, bar, text) {
  if (bar) { if (upload.state === 'checking') bar.removeAttribute('value'); else { bar.max = 100; bar.value = percent(upload); } }
  const now = words(upload);
  if (text && text.textContent !== now) text.textContent = now;
}

/** @param {ParentNode} root */
export function start(root) {
  each(root, '[data-upload-panel]', 'panel', (box) => {
    const upload = uploads.get(box.dataset.uploadPanel);
    if (upload && box.dataset.name) upload.name = box.dataset.name;
    one('[data-upload-cancel]', box)?.addEventListener('click', (event) => cancel(event, box.dataset.uploadPanel));
  });
  each(root, 'form[data-upload-again]', 'again', againForm);
  for (const upload of [...uploads.values()]) if (upload.state === 'done' && onItsPage(upload)) uploads.delete(upload.id);
  if (uploads.size) draw();
}

/** @param {Event} event @param {string} id */
async function cancel(event, id) {
  const upload = uploads.get(id), form = /** @type {HTMLElement} */ (event.currentTarget).closest('form');
  if (!upload || !running()) return; // not sent from here: the form does it
  event.preventDefault();
  if (!await ask('Cancel this upload?', `The ${sizeOf(upload.sent, upload.file.size)} already sent are thrown away.`, 'Keep sending', 'Cancel upload')) return;
  if (upload.state === 'done') return;
  upload.state = 'stopped';
  upload.xhr.abort();
  uploads.delete(id);
  draw();
  if (form) submitSoft(form); else swapTo(upload.image, { push: false });
}

/** @param {HTMLFormElement} form */
function againForm(form) {
  const input = /** @type {HTMLInputElement} */ (one('input[type=file]', form)), note = one('[data-file-note]', form);
  let file = null, answer = null, checking = null, stop = new AbortController();
  const take = () => {
    stop.abort(); stop = new AbortController();
    file = input.files?.[0] ?? null; answer = null;
    if (file) checking = look({ file, url: form.dataset.preflightUrl, note, input, signal: stop.signal }).then((given) => { if (given) answer = given; });
  };
  input.addEventListener('change', take);
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (!file) take();
    const wrong = file ? firstLook(file) : 'Choose the ISO file to send';
    if (wrong) { showErrors(form, [{ field: input.id, message: wrong }]); return; }
    busy(form, true);
    await checking;
    busy(form, false);
    if (answer && !answer.ok) { showErrors(form, (answer.errors ?? []).map((error) => ({ ...error, field: input.id }))); return; }
    clearErrors(form);
    begin({ image: form.dataset.imageUrl ?? location.pathname, content: form.dataset.contentUrl ?? form.action, file, name: form.dataset.name ?? file.name });
    announce('Sending the file');
  });
}

addEventListener('beforeunload', (event) => {
  if ([...uploads.values()].some((upload) => upload.state === 'sending')) event.preventDefault();
});
