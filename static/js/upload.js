// The uploads of this document, as pages show them: in the panel of their image, and in the tray everywhere else.
import { all, announce, ask, each, icon, make, one, size, sizeOf } from './dom.js';
import { forget, remember } from './handles.js';
import { Sending } from './sending.js';
import { keep, swapTo, titlePrefix } from './swap.js';
import { claim, elsewhere, listen, tell, tellOver } from './tabs.js';
import * as tus from './tus.js';
import { hurdle, percent, refusal, remedy, words } from './words.js';

/** @type {Map<string, Sending & {release?: () => void, said?: number, told?: number}>} by the image's id */
const uploads = new Map();
const list = () => [...uploads.values()];
/** Whether something is on its way. */
export const running = () => list().some((upload) => upload.active);
keep.add(() => list().some((upload) => !upload.ended));
/** @param {string} id */
export const isHere = (id) => uploads.has(id);

const path = (url) => new URL(url, location.href).pathname;
/** @param {{image: string}} upload */
const onItsPage = ({ image }) => location.pathname === path(image);

/**
 * Sends a file for an image, or the rest of it. null: another tab of this browser sends it.
 * @param {{image: string, file: File, name: string, fresh?: boolean}} what fresh: nothing of it was sent before
 */
export async function begin({ image, file, name, fresh = false }) {
  const id = path(image).split('/').filter(Boolean).pop() ?? image;
  const before = uploads.get(id);
  if (before && !before.ended) return before;
  const release = await claim(id);
  if (!release) return null;
  const upload = /** @type {Sending & {release?: () => void}} */ (new Sending({ id, image, name, file, fresh }));
  if (before) drop(before);
  upload.release = release;
  upload.onchange = () => changed(upload);
  uploads.set(id, upload);
  remember(id, file);
  upload.go();
  return upload;
}

/** @type {WeakMap<Sending, {state: string, ten: number, told: number}>} what was said of each */
const said = new WeakMap();

/** @param {Sending & {release?: () => void}} upload */
function changed(upload) {
  const { state, name } = upload, before = said.get(upload) ?? said.set(upload, { state: '', ten: 0, told: 0 }).get(upload);
  if (state !== before.state) {
    const was = before.state;
    before.state = state;
    if (state === 'checking') announce(`${name}: checking the file`);
    else if (state === 'waiting') announce(`${name}: waiting for connection`, 'assertive');
    else if (state === 'sending' && was === 'waiting') announce(`${name}: going on at ${percent(upload)} %`);
    else if (['signed-out', 'elsewhere', 'stopped'].includes(state)) announce(`${name}: ${words(upload)}`, 'assertive');
    before.told = 0;
    if (upload.ended) ended(upload);
    wake();
    draw();
  }
  const ten = Math.floor(percent(upload) / 10) * 10;
  if (state === 'sending' && ten > before.ten && ten < 100) { before.ten = ten; announce(`${name}: ${ten} % sent`); }
  if (!upload.ended && Date.now() - before.told > 500) { before.told = Date.now(); share(upload); }
  soon();
}

/** @param {Sending} upload */
const share = (upload) => tell({ id: upload.id, image: upload.image, name: upload.name, percent: percent(upload), text: words(upload), state: upload.state });

/** @param {Sending & {release?: () => void}} upload */
function drop(upload) {
  upload.release?.();
  tellOver(upload.id);
  uploads.delete(upload.id);
  itemOf(upload.id)?.remove();
}

/** @param {Sending & {release?: () => void}} upload */
async function ended(upload) {
  upload.release?.();
  tellOver(upload.id);
  if (upload.state === 'done' || upload.code === 'cancelled') forget(upload.id);
  if (!onItsPage(upload)) { announce(words(upload)); return; }
  uploads.delete(upload.id);
  draw();
  await swapTo(upload.image, { push: false });
  if (upload.state === 'over' && upload.code !== 'cancelled') refused(upload);
}

/** Says on the image's page why its file was not taken. @param {Sending} upload */
function refused(upload) {
  const box = one('#cause');
  if (!box || !onItsPage(upload)) return;
  const note = make('div', { className: 'note bad', role: 'alert', tabIndex: -1, 'data-upload-refused': '' }, icon('blocked'), make('p', {}, refusal(upload)));
  box.before(note);
  note.focus();
}

let planned = false;
/** Draws once for whatever happens within a frame. */
function soon() {
  if (planned) return;
  planned = true;
  // A hidden page has no frames, but its title still counts.
  (document.hidden ? (fn) => setTimeout(fn, 500) : requestAnimationFrame)(() => { planned = false; draw(); });
}

/** Shows every upload where it belongs. */
export function draw() {
  const here = list(), apart = here.filter((upload) => !panel(upload)), tabs = elsewhere().filter(({ id }) => !uploads.has(id) && !one(`[data-upload-of="${CSS.escape(id)}"]`));
  const first = here.find(({ state }) => state === 'sending') ?? here.find(({ state }) => state === 'checking') ?? here.find(({ ended }) => !ended);
  titlePrefix(first ? (first.state === 'checking' ? 'Checking – ' : first.state === 'paused' ? `Paused ${percent(first)} % – ` : `${percent(first)} % – `) + (document.title.includes(first.name) ? '' : `${first.name} – `) : '');
  tray(apart, tabs);
}

/** The panel on the upload's own page. @param {Sending} upload */
function panel(upload) {
  const box = one(`[data-upload-of="${CSS.escape(upload.id)}"]`);
  if (!box) return false;
  if (box.dataset.local !== upload.id) {
    box.dataset.local = upload.id;
    const cause = one('#cause'), title = make('h2', { id: 'upload-title' }, 'Upload');
    if (cause) { cause.dataset.local = ''; cause.hidden = true; }
    box.replaceChildren(make('section', { className: 'card upload', 'aria-labelledby': 'upload-title' }, make('header', {}, title),
      make('div', { className: 'body' }, ...parts(upload, 'the upload'), make('p', { className: 'hint', 'data-hint': '' }))));
    if (box.dataset.name) upload.name = box.dataset.name;
  }
  fill(upload, box);
  const hint = one('[data-hint]', box);
  if (hint) hint.textContent = upload.unsent ? 'You can go on working in the console meanwhile; keep this tab open.' : '';
  return true;
}

/** Bar, text, controls and what stands in the way. @param {Sending} upload @param {string} what */
function parts(upload, what) {
  const toggle = make('button', { type: 'button', className: 'btn', 'data-toggle': '' }), cancel = make('button', { type: 'button', className: 'btn', 'data-upload-cancel': '' }, 'Cancel upload');
  toggle.addEventListener('click', () => { if (toggle.dataset.toggle === 'pause') upload.pause(); else upload.go(); });
  cancel.addEventListener('click', () => giveUp(upload));
  return [
    make('progress', { max: 100, 'aria-label': `Upload of ${upload.name}`, 'data-progress': '' }),
    make('p', { 'data-progress-text': '' }),
    make('div', { className: 'act', role: 'group', 'aria-label': `Control ${what}` }, toggle,
      make('a', { className: 'btn primary', href: '/sign-in', target: '_blank', 'data-sign-in': '', hidden: true }, 'Sign in in a new tab'), cancel),
    make('div', { className: 'note warn', 'data-hurdle': '', hidden: true }, icon('warning'), make('div', { className: 'grow' }, make('p', {}), remedy())),
  ];
}

/** @param {Sending} upload @param {ParentNode} box */
function fill(upload, box) {
  const bar = /** @type {HTMLProgressElement} */ (one('[data-progress]', box)), text = one('[data-progress-text]', box), now = words(upload);
  bar.hidden = upload.ended;
  if (upload.state === 'checking') bar.removeAttribute('value'); else bar.value = upload.state === 'comparing' ? Math.floor(upload.compared / upload.sent * 100) : percent(upload);
  if (text.textContent !== now) text.textContent = now;
  const toggle = one('[data-toggle]', box), leave = one('[data-upload-cancel]', box), theirs = upload.state === 'elsewhere', go = ['paused', 'signed-out', 'stopped', 'waiting'].includes(upload.state);
  // One button, so that the focus stays where it is.
  const kind = theirs ? 'over' : upload.state === 'waiting' ? 'now' : go ? 'go' : 'pause', label = { over: 'Take over', now: 'Try now', go: 'Resume', pause: 'Pause' }[kind];
  toggle.dataset.toggle = kind;
  if (toggle.textContent !== label) toggle.textContent = label;
  toggle.classList.toggle('primary', upload.state === 'paused' || upload.state === 'stopped');
  const idle = upload.state === 'checking' || upload.ended;
  toggle.hidden = idle || (theirs && !upload.free);
  leave.hidden = idle;
  const word = theirs ? 'Do not send from here' : 'Cancel upload';
  if (leave.textContent !== word) leave.textContent = word;
  one('[data-sign-in]', box).hidden = upload.state !== 'signed-out';
  const obstacle = upload.ended ? '' : hurdle(upload), note = one('[data-hurdle]', box), sentence = one('p', note);
  note.hidden = !obstacle;
  if (sentence.textContent !== obstacle) sentence.textContent = obstacle;
}

/** @param {Sending} upload */
async function giveUp(upload) {
  if (upload.state === 'elsewhere') { // theirs to cancel
    drop(upload);
    await swapTo(location.href, { push: false });
    return;
  }
  const part = upload.sent ? `The ${sizeOf(upload.sent, upload.file.size)} already sent are thrown away. To keep them, choose Pause instead.` : 'Nothing has been sent yet.';
  if (!await ask('Cancel this upload?', `${part} The image stays, Pending, without a file.`, 'Keep sending', 'Cancel upload') || upload.ended) return;
  if (!await upload.cancel()) announce('The service could not be told. What was sent is dropped by itself later.', 'assertive');
}

/** @type {HTMLElement | null} */
let box = null;

/** What is sent, on pages that are not its own. @param {Sending[]} apart @param {import('./tabs.js').Elsewhere[]} tabs */
function tray(apart, tabs) {
  if (!apart.length && !tabs.length) { box?.remove(); box = null; return; }
  if (!box) document.body.append(box = make('aside', { className: 'tray', 'aria-label': 'Transfers' }, make('details', { open: sessionStorage.tray ? sessionStorage.tray === 'open' : innerWidth > 560 }, make('summary', {}, make('h2', {}, 'Transfers'), make('span', { 'data-total': '' })))));
  const details = /** @type {HTMLDetailsElement} */ (one('details', box));
  details.ontoggle = () => { sessionStorage.tray = details.open ? 'open' : 'closed'; };
  /** @type {Map<string | undefined, Sending | import('./tabs.js').Elsewhere>} */
  const wanted = new Map();
  for (const upload of [...apart, ...tabs]) wanted.set(upload.id, upload);
  for (const item of all('.item', box)) {
    const now = wanted.get(item.dataset.id);
    if (!now || (now instanceof Sending) !== item.hasAttribute('data-mine')) item.remove();
  }
  for (const upload of apart) {
    const item = itemOf(upload.id) ?? details.appendChild(trayItem(upload));
    const inside = item.contains(document.activeElement);
    fill(upload, item);
    one('[data-dismiss]', item).hidden = !upload.ended;
    // What had the focus may be hidden now.
    if (inside && one(':focus', item)?.hidden) one('.act > :not([hidden])', item)?.focus();
  }
  for (const tab of tabs) {
    const item = itemOf(tab.id) ?? details.appendChild(make('div', { className: 'item', 'data-id': tab.id }, link(tab), make('progress', { max: 100, 'aria-label': `Upload of ${tab.name}` }), make('p'), make('p', { className: 'hint' }, 'It is running in another tab.')));
    const bar = /** @type {HTMLProgressElement} */ (one('progress', item));
    if (tab.state === 'checking') bar.removeAttribute('value'); else bar.value = tab.percent;
    one('p', item).textContent = tab.text;
  }
  const active = [...wanted.values()], total = one('[data-total]', box);
  total.textContent = active.length > 1 ? `${active.length} uploads` : active[0] instanceof Sending ? (active[0].ended ? '' : `${percent(active[0])} %`) : `${active[0].percent} %`;
}

/** @param {string} id */
const itemOf = (id) => box && one(`[data-id="${CSS.escape(id)}"]`, box);
/** @param {{image: string, name: string}} upload */
const link = ({ image, name }) => make('a', { href: image }, make('bdi', {}, name));

/** @param {Sending} upload */
function trayItem(upload) {
  const close = make('button', { type: 'button', className: 'btn small', 'data-dismiss': '', hidden: true }, 'Dismiss');
  close.addEventListener('click', () => { uploads.delete(upload.id); draw(); one('h1')?.focus(); });
  const item = make('div', { className: 'item', 'data-id': upload.id, 'data-mine': '' }, link(upload), ...parts(upload, `the upload of ${upload.name}`));
  for (const button of all('.act .btn', item)) button.classList.add('small');
  one('.act', item).append(close);
  return item;
}

/** @type {any} */
let lamp = null;
/** Keeps the screen, and with it a laptop, awake while something is sent. */
async function wake() {
  const wanted = running() && !document.hidden;
  if (wanted && !lamp && 'wakeLock' in navigator) {
    lamp = true;
    lamp = await navigator.wakeLock.request('screen').catch(() => null);
    lamp?.addEventListener('release', () => { lamp = null; });
    if (!running()) lamp?.release();
  } else if (!running() && lamp?.release) lamp.release();
}

let listening = false;

/** @param {ParentNode} root */
export function start(root) {
  for (const upload of list()) if (upload.ended && onItsPage(upload)) { uploads.delete(upload.id); if (upload.state === 'over' && upload.code !== 'cancelled') refused(upload); }
  if (!listening) {
    listening = true;
    listen(soon, () => { for (const upload of list()) if (!upload.ended) share(upload); });
    setInterval(() => { if (uploads.size) { for (const upload of list()) if (!upload.ended) share(upload); soon(); } }, 1000);
    document.addEventListener('visibilitychange', () => { wake(); soon(); });
    addEventListener('beforeunload', (event) => { if (list().some((upload) => upload.unsent)) event.preventDefault(); });
    addEventListener('pagehide', () => {
      for (const { id, active, unsent } of list()) { tellOver(id); if (active && unsent) tus.pause(id, true); }
    });
    // Signed in again in another tab (session.js tells all tabs): no need to press Resume.
    if ('BroadcastChannel' in globalThis) new BroadcastChannel('vmimg-session').addEventListener('message', () => { for (const upload of list()) if (upload.state === 'signed-out') upload.go(); });
  }
  each(root, '[data-upload-of]', 'panel', () => {});
  if (uploads.size || elsewhere().length) draw();
}
