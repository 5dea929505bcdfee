// The image's page: sends its file, goes on with a part that was sent before, here or elsewhere, and shows what others send.
import { announce, ask, busy, clearErrors, duration, each, icon, make, one, showErrors, size, sizeOf } from './dom.js';
import { firstLook, look } from './files.js';
import { chooser, dropped, recall, reopen } from './handles.js';
import * as live from './live.js';
import { swapTo } from './swap.js';
import { elsewhere } from './tabs.js';
import * as tus from './tus.js';
import { begin, isHere } from './upload.js';

const EVERY = 2_000;

/** @param {ParentNode} root */
export function start(root) {
  each(root, 'form[data-upload-again]', 'again', againForm);
  each(root, '[data-resume]', 'resume', resume);
  each(root, 'form[data-hand-over]', 'hand-over', (form) => form.addEventListener('submit', (event) => { event.preventDefault(); handOver(form); }));
  each(root, 'form[data-start-again]', 'start-again', startAgain);
  each(root, '[data-upload-watch]', 'watch', watch);
}

const ANOTHER_TAB = 'This upload is running in another tab of this browser. Go on there, or close that tab first.';

/** Sends the whole file. @param {HTMLFormElement} form */
function againForm(form) {
  const input = /** @type {HTMLInputElement} */ (one('input[type=file]', form)), note = one('[data-file-note]', form);
  /** @type {File | null} */ let file = null;
  let answer = null, checking = null, stop = new AbortController();
  /** @param {File | null | undefined} chosen */
  const take = (chosen) => {
    stop.abort(); stop = new AbortController();
    file = chosen ?? null; answer = null;
    if (file) checking = look({ file, url: form.dataset.preflightUrl, note, input, signal: stop.signal }).then((given) => { if (given) answer = given; });
  };
  input.addEventListener('change', () => take(input.files?.[0]));
  chooser(input, take);
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (!file) take(input.files?.[0]);
    const wrong = file ? firstLook(file) : 'Choose the ISO file to send';
    if (wrong) { showErrors(form, [{ field: input.id, message: wrong }]); return; }
    busy(form, true);
    await checking;
    busy(form, false);
    if (answer && !answer.ok) { showErrors(form, (answer.errors ?? []).map((error) => ({ ...error, field: input.id }))); return; }
    clearErrors(form);
    if (!await begin({ image: form.dataset.imageUrl ?? location.pathname, file, name: form.dataset.name ?? file.name, fresh: true })) {
      showErrors(form, [{ field: input.id, message: ANOTHER_TAB }]);
      return;
    }
    announce('Sending the file');
  });
}

/** Goes on where an upload stopped. @param {HTMLElement} form */
function resume(form) {
  const { resume: upload = '', imageUrl = location.pathname, name = '' } = form.dataset, length = Number(form.dataset.length);
  const input = /** @type {HTMLInputElement} */ (one('input[type=file]:not(:disabled)', form)), note = one('[data-file-note]', form), again = one('[data-reopen]', form);
  /** @param {string} text */
  const say = (text) => { note.dataset.state = text ? 'bad' : ''; note.textContent = text; input.toggleAttribute('aria-invalid', Boolean(text)); if (text) announce(text, 'assertive'); };
  /** @param {File | undefined | null} file */
  const take = async (file) => {
    if (!file) return;
    say('');
    const wrong = firstLook(file) || (length && file.size !== length
      ? `This is another file: it has ${exactly(file.size, length)}, and the one that was begun with has ${exactly(length, file.size)}. Nothing was sent.` : '');
    if (wrong) { say(wrong); return; }
    if (!await begin({ image: imageUrl, file, name: name || file.name })) say(ANOTHER_TAB);
  };
  input.addEventListener('change', () => { take(input.files?.[0]); input.value = ''; });
  chooser(input, take);
  const box = form.closest('.note, .card') ?? form;
  for (const kind of ['dragover', 'dragenter']) box.addEventListener(kind, (event) => { event.preventDefault(); box.classList.add('over'); });
  box.addEventListener('dragleave', (event) => { if (!box.contains(/** @type {Node | null} */ (/** @type {DragEvent} */ (event).relatedTarget))) box.classList.remove('over'); });
  box.addEventListener('drop', async (event) => { event.preventDefault(); box.classList.remove('over'); take(await dropped(/** @type {DragEvent} */ (event).dataTransfer)); });
  recall(upload).then((kept) => {
    if (!kept || !again) return;
    again.textContent = `Go on with “${kept.name}”`;
    again.hidden = false;
    again.classList.add('primary');
    one('label.btn', form)?.classList.remove('primary');
    again.addEventListener('click', async () => {
      const file = await reopen(kept);
      if (file) take(file); else say('The browser could not open the file again. If it was moved, choose it.');
    });
  });
}

/** @param {number} bytes @param {number} other */
const exactly = (bytes, other) => size(bytes) === size(other) ? `${bytes.toLocaleString('en')} bytes` : size(bytes);

/** A command for another machine. @param {HTMLFormElement} form */
async function handOver(form) {
  if (form.hasAttribute('data-busy')) return;
  busy(form, true);
  const { status, body, sentence } = await tus.handOver(form.dataset.handOver ?? '');
  busy(form, false);
  const title = 'Go on from another machine', close = make('button', { className: 'btn', autofocus: true }, 'Close'), copy = make('button', { type: 'button', className: 'btn primary', 'data-copy-from': '#hand-over-command' }, icon('copy'), 'Copy command');
  const good = status > 0 && status < 300 && body?.command, left = good && (Date.parse(body.expires) - Date.now()) / 1000;
  const dialog = /** @type {HTMLDialogElement} */ (make('dialog', { className: 'help wide', 'aria-label': title }, make('h2', {}, title), ...(good ? [
    make('p', {}, 'Run this on the machine that has the file, in its folder. It compares the file with what was sent, and sends the rest.'),
    make('pre', { id: 'hand-over-command', className: 'command', tabIndex: 0 }, body.command),
    make('p', { className: 'hint' }, `The command is for this upload only and works for ${duration(left).replace('about ', '')}. Whoever has it can send the rest, so do not pass it on. `,
      'Any other tus client works as well, with a token of yours and this address: ', make('code', {}, body.url ?? new URL(tus.address(form.dataset.handOver ?? ''), location.href).href)),
  ] : [make('p', { role: 'alert' }, sentence || 'The service did not answer. Try again in a moment.')]),
  make('form', { method: 'dialog', className: 'actions' }, ...(good ? [copy] : []), close)));
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  document.dispatchEvent(new CustomEvent('vmimg:added', { detail: dialog }));
  dialog.showModal();
}

/** @param {HTMLFormElement} form */
function startAgain(form) {
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    event.stopPropagation();
    if (!await ask('Start again from the beginning?', `${form.dataset.part ?? 'What was sent'} that the storage holds are thrown away. Then the whole file is sent.`, 'Keep them', 'Start again')) return;
    const { status, sentence } = await tus.end(form.dataset.startAgain ?? '');
    if (status === 0 || status >= 400) { announce(sentence || 'The service did not answer. Try again in a moment.', 'assertive'); return; }
    await swapTo(location.href, { push: false });
    one('input[type=file]')?.focus();
  });
}

/** Follows what another tab or another device sends, in small answers. @param {HTMLElement} box */
function watch(box) {
  const id = box.dataset.uploadWatch ?? '', bar = /** @type {HTMLProgressElement} */ (one('[data-progress]', box)), text = one('[data-progress-text]', box), own = one('[data-own]', box), tab = one('[data-another-tab]', box), cancel = one('[data-cancel]', box);
  let speed = 0, mark = { at: 0, offset: 0 };
  const look = async () => {
    if (!box.isConnected || isHere(id)) return;
    const running = elsewhere().find((other) => other.id === id);
    if (tab) tab.hidden = !running;
    if (own) own.hidden = Boolean(running);
    if (cancel) cancel.hidden = Boolean(running);
    if (running) {
      if (running.state === 'checking') bar.removeAttribute('value'); else bar.value = running.percent;
      text.textContent = running.text;
    } else if (!document.hidden) {
      const { status, body } = await tus.state(id);
      if (!box.isConnected || isHere(id)) return;
      if (status === 200 && body) {
        if (body.status !== 'uploading') { live.now(); setTimeout(look, EVERY); return; }
        const now = performance.now();
        if (mark.at && body.offset > mark.offset) speed = (speed || (body.offset - mark.offset) / ((now - mark.at) / 1000)) * .7 + (body.offset - mark.offset) / ((now - mark.at) / 1000) * .3;
        if (!mark.at || body.offset > mark.offset) mark = { at: now, offset: body.offset };
        const part = Math.floor(body.offset / body.length * 100);
        if (body.phase === 'checking') { bar.removeAttribute('value'); text.textContent = 'Checking the file…'; } else {
          bar.value = part;
          text.textContent = [sizeOf(body.offset, body.length), `${part} %`, ...(speed && now - mark.at < 10_000 ? [`${size(Math.round(speed))}/s`, `${duration((body.length - body.offset) / speed)} left`] : [])].join(' · ');
        }
      }
    }
    setTimeout(look, EVERY);
  };
  // Other tabs need a moment to say what they send.
  setTimeout(look, 300);
}
