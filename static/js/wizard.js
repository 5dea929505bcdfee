// The creation wizard: its steps are swapped in, so the chosen File stays; checks it at once; starts the upload on "Create image".
import { all, announce, busy, clearErrors, each, one, showErrors, size } from './dom.js';
import { failure, firstLook, fits, json, look, sendHead } from './files.js';
import { chooser, dropped } from './handles.js';
import { keep, submitSoft, swapTo } from './swap.js';
import { begin } from './upload.js';

/** @type {Map<string, {file: File, os?: string}>} by draft */
const held = new Map();
keep.add(() => held.size > 0);

/** @param {ParentNode} root */
export function start(root) {
  each(root, '[data-file-picker]', 'picker', picker);
  each(root, 'form[data-wizard-step]', 'step', (form) => form.addEventListener('submit', (event) => step(event, form)));
  each(root, 'form[data-wizard-create]', 'create', createForm);
}

/** @type {WeakMap<HTMLElement, {file?: File, checking?: Promise<any>, answer?: any}>} */
const boxes = new WeakMap();
/** @param {HTMLFormElement} form */
const boxOf = (form) => one('[data-file-picker]', form);
/** @param {HTMLFormElement} form */
const storageOf = (form) => String(new FormData(form).get('storage') ?? '');

/** @param {HTMLElement} box */
function picker(box) {
  const form = box.closest('form'), input = /** @type {HTMLInputElement} */ (one('input[type=file]', box));
  if (!form || !input) return;
  const draft = form.dataset.draft ?? '', note = one('[data-file-note]', box), state = {};
  const label = one('[data-file-button]', box);
  let stop = new AbortController();
  boxes.set(box, state);

  const check = () => {
    stop.abort();
    stop = new AbortController();
    const { file } = state;
    if (!file) return;
    state.checking = look({ file, url: box.dataset.preflightUrl, storage: storageOf(form), note, input, box, signal: stop.signal }).then((answer) => {
      if (!answer) return;
      state.answer = answer;
      if (answer.ok && answer.os) document.dispatchEvent(new CustomEvent('vmimg:os', { detail: { os: answer.os, form } }));
    });
  };
  /** @param {File | undefined} file */
  const take = (file) => {
    if (!file) return;
    state.file = file; state.answer = undefined;
    if (draft) held.set(draft, { file });
    name(file);
    fits(form, file.size);
    check();
  };
  const name = (file) => {
    for (const el of all('[data-file-name]', form)) el.textContent = file.name;
    for (const el of all('[data-with-js-file]', form)) el.hidden = false;
    if (label) label.textContent = 'Choose another file';
  };

  input.addEventListener('change', () => take(input.files?.[0]));
  chooser(input, take);
  form.addEventListener('change', (event) => { if (/** @type {HTMLInputElement} */ (event.target).name === 'storage') check(); });
  for (const kind of ['dragover', 'dragenter']) box.addEventListener(kind, (event) => { event.preventDefault(); box.classList.add('over'); });
  box.addEventListener('dragleave', (event) => { if (!box.contains(/** @type {Node | null} */ (/** @type {DragEvent} */ (event).relatedTarget))) box.classList.remove('over'); });
  box.addEventListener('drop', async (event) => {
    event.preventDefault();
    box.classList.remove('over');
    take(await dropped(/** @type {DragEvent} */ (event).dataTransfer));
  });

  const before = held.get(draft)?.file;
  const field = /** @type {HTMLInputElement | null} */ (form.elements.namedItem('file_name'));
  if (before) { state.file = before; name(before); fits(form, before.size); check(); }
  else if (field?.value && note) {
    const bytes = Number(/** @type {HTMLInputElement | null} */ (form.elements.namedItem('file_size'))?.value);
    if (bytes > 0) fits(form, bytes);
    for (const el of all('[data-file-name]', box)) el.textContent = field.value;
    note.textContent = 'Chosen before this page was loaded again. Choose it again here or on the Summary step.';
  }
}

/** @param {SubmitEvent} event @param {HTMLFormElement} form */
async function step(event, form) {
  if (event.defaultPrevented) return;
  event.preventDefault();
  const box = boxOf(form), submitter = event.submitter;
  const state = box && boxes.get(box);
  if (state?.file) {
    busy(form, true);
    await state.checking;
    busy(form, false);
    const wrong = (state.answer?.errors ?? []).filter((error) => error.field === undefined || error.field === 'file');
    if (state.answer && !state.answer.ok && wrong.length) {
      showErrors(form, wrong.map((error) => ({ ...error, field: one('input[type=file]', box)?.id })));
      return;
    }
    for (const [field, value] of [['file_name', state.file.name], ['file_size', String(state.file.size)]]) {
      const input = /** @type {HTMLInputElement | null} */ (form.elements.namedItem(field));
      if (input) input.value = value;
    }
  }
  clearErrors(form);
  submitSoft(form, submitter);
}

/** @param {HTMLFormElement} form */
function createForm(form) {
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (form.hasAttribute('data-busy')) return;
    const box = boxOf(form), state = box && boxes.get(box), draft = form.dataset.draft ?? '';
    const file = state?.file ?? held.get(draft)?.file, id = box && one('input[type=file]', box)?.id;
    const wrong = file ? firstLook(file) : 'Choose the ISO file to send';
    if (wrong) { showErrors(form, [{ field: id ?? undefined, message: wrong }]); return; }
    busy(form, true);
    try {
      const response = await sendHead(form.dataset.createUrl ?? '', file, storageOf(form));
      const answer = await json(response);
      if (response.status === 201 && answer.image) {
        held.delete(draft);
        await begin({ image: answer.image, file, name: answer.name ?? file.name, fresh: true });
        announce(`Sending ${file.name}, ${size(file.size)}`);
        await swapTo(answer.image);
        return;
      }
      showErrors(form, (answer.errors ?? [{ message: answer.detail ?? 'The image could not be created.' }])
        .map((error) => error.field === 'file' ? { ...error, field: id ?? 'file' } : error));
    } catch (error) {
      showErrors(form, [{ message: failure(error) }]);
    } finally {
      busy(form, false);
    }
  });
}
