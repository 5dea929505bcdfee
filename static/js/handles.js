// Where the browser can, it remembers which file was chosen (not its content), so that an upload goes on with one click after a reload.
// Only in a secure context, and only where files are chosen through its own dialog or dropped.

const DAYS = 8;
/** @type {WeakMap<File, any>} */
const handles = new WeakMap();

/** @param {File} file */
export const handleOf = (file) => handles.get(file);

/** Lets a file field open the dialog that gives handles. @param {HTMLInputElement} input @param {(file: File) => void} take */
export function chooser(input, take) {
  const show = /** @type {any} */ (globalThis).showOpenFilePicker;
  if (!show) return;
  let plain = false;
  input.addEventListener('click', async (event) => {
    if (plain) { plain = false; return; }
    event.preventDefault();
    try {
      const [handle] = await show({ types: [{ description: 'ISO image', accept: { 'application/x-iso9660-image': ['.iso'] } }] });
      take(await fileOf(handle));
    } catch (error) {
      if (/** @type {Error} */ (error).name === 'AbortError') return;
      plain = true;
      input.click();
    }
  });
}

/** The file behind a handle; the handle is remembered with it. @param {any} handle @returns {Promise<File>} */
export async function fileOf(handle) {
  const file = await handle.getFile();
  handles.set(file, handle);
  return file;
}

/** The file that was dropped. @param {DataTransfer | null} data @returns {Promise<File | undefined>} */
export async function dropped(data) {
  const item = /** @type {any} */ (data?.items?.[0]), file = data?.files[0];
  const handle = await item?.getAsFileSystemHandle?.().catch(() => null);
  return handle?.kind === 'file' ? fileOf(handle) : file;
}

/** @template T @param {IDBTransactionMode} mode @param {(store: IDBObjectStore) => IDBRequest<T>} act @returns {Promise<T | undefined>} */
const store = (mode, act) => new Promise((resolve) => {
  if (!('indexedDB' in globalThis)) { resolve(undefined); return; }
  const open = indexedDB.open('vmimg', 1);
  open.onupgradeneeded = () => open.result.createObjectStore('files');
  open.onerror = () => resolve(undefined);
  open.onsuccess = () => {
    const done = () => { open.result.close(); resolve(request.result); };
    const request = act(open.result.transaction('files', mode).objectStore('files'));
    request.onsuccess = done;
    request.onerror = () => { open.result.close(); resolve(undefined); };
  };
});

/** Remembers which file an upload sends. @param {string} id @param {File} file */
export async function remember(id, file) {
  const handle = handles.get(file);
  if (handle) await store('readwrite', (files) => files.put({ handle, name: file.name, at: Date.now() }, id));
}

/** @param {string} id @returns {Promise<{handle: any, name: string} | null>} */
export async function recall(id) {
  const found = /** @type {any} */ (await store('readonly', (files) => files.get(id)));
  if (!found) return null;
  if (Date.now() - found.at < DAYS * 86_400_000) return found;
  await forget(id);
  return null;
}

/** @param {string} id */
export const forget = (id) => store('readwrite', (files) => files.delete(id));

/** Opens a remembered file; the browser may ask the person. @param {{handle: any}} kept @returns {Promise<File | null>} */
export async function reopen({ handle }) {
  try {
    if (await handle.requestPermission?.({ mode: 'read' }) === 'denied') return null;
    return await fileOf(handle);
  } catch { return null; }
}
