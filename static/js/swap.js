// Soft navigation: fetches a page and puts its <main> in place, so that the document (a running upload, a chosen file) lives on.
import { all, announce, busy, each, one, showErrors } from './dom.js';

/** @type {Set<() => boolean>} reasons to keep this document alive; then plain links and forms are soft too */
export const keep = new Set();
/** @type {(root: ParentNode) => void} */
let again = () => {};
/** @param {(root: ParentNode) => void} fn run on what was swapped in */
export const onSwap = (fn) => { again = fn; };
/** Starts the modules on new content. @param {ParentNode} root */
export const restart = (root) => again(root);

let current = location.href, loading = '', turn = 0, listening = false, prefix = '', base = document.title;
/** @type {Map<string, number>} */
const scrolls = new Map();
const bare = (url) => String(url).split('#')[0];
/** Whether there is such a reason now. */
export const alive = () => [...keep].some((reason) => reason());

/** "68 % – " before the title while an upload runs. @param {string} text */
export function titlePrefix(text) {
  if (document.title.startsWith('Error: ') && !base.startsWith('Error: ')) base = `Error: ${base}`;
  prefix = text;
  document.title = prefix + base;
}

/**
 * Goes to a page without leaving the document; on any failure the browser goes there itself.
 * @param {string | URL} url
 * @param {{push?: boolean, html?: string, finalUrl?: string, quiet?: boolean}} [options] html: the page, already fetched; quiet: focus stays
 * @returns {Promise<boolean>} whether it was swapped in
 */
export async function swapTo(url, { push = true, html, finalUrl, quiet = false } = {}) {
  const mine = ++turn, target = new URL(String(url), location.href);
  document.documentElement.setAttribute('aria-busy', 'true');
  loading = bare(target);
  try {
    let text = html, end = new URL(finalUrl ?? target);
    if (text === undefined) {
      const response = await get(target);
      text = response.text; end = new URL(response.url);
    }
    if (mine !== turn) return false;
    if (end.origin !== location.origin) throw new Error('another origin');
    if (!end.hash && bare(end) === bare(target)) end.hash = target.hash;
    apply(text, end.href, push, quiet);
    return true;
  } catch (error) {
    if (mine !== turn) return false;
    if (push || html !== undefined) location.assign(String(finalUrl ?? target)); else if (!quiet) location.reload();
    return false;
  } finally {
    if (mine === turn) { loading = ''; document.documentElement.removeAttribute('aria-busy'); }
  }
}

/** @param {URL} url */
async function get(url) {
  const stop = new AbortController();
  const response = await fetch(url, { headers: { 'X-Requested-With': 'vmimg', Accept: 'text/html' }, signal: stop.signal });
  if (!isHtml(response)) { stop.abort(); throw new Error('not a page'); }
  return { text: await response.text(), url: response.url };
}

/** @param {Response} response */
export const isHtml = (response) => (response.headers.get('content-type') ?? '').startsWith('text/html');

/** @param {string} html @param {string} url @param {boolean} push @param {boolean} quiet */
function apply(html, url, push, quiet) {
  const page = new DOMParser().parseFromString(html, 'text/html');
  const main = one('main#main', page), here = one('main#main');
  const script = (doc) => doc.querySelector('script[type=module][src]')?.getAttribute('src');
  if (!main || !here || !one('.shell', page) !== !one('.shell')) throw new Error('another kind of page');
  if (script(page) !== script(document) && !alive()) throw new Error('a newer version');
  for (const el of all('noscript', main)) el.remove();
  const counts = new Map(all('[data-announce][id]').map((el) => [el.id, el.textContent]));

  scrolls.set(history.state?.key ?? '', scrollY);
  if (push && bare(url) !== bare(current)) history.pushState({ key: String(Math.random()) }, '', url);
  else if (url !== location.href) history.replaceState(history.state, '', url);
  current = url;

  const html1 = document.documentElement;
  for (const name of ['data-page', 'data-theme', 'data-shortcuts', 'data-session-ends', 'data-now']) {
    const value = page.documentElement.getAttribute(name);
    if (value === null) html1.removeAttribute(name); else if (html1.getAttribute(name) !== value) html1.setAttribute(name, value);
  }
  base = page.title;
  document.title = prefix + base;
  navigation(page);
  const flash = one('#flash'), newFlash = one('#flash', page);
  if (flash && !here.contains(flash)) flash.replaceChildren(...(newFlash && !main.contains(newFlash) ? newFlash.childNodes : []));
  const inside = here.contains(document.activeElement);
  here.replaceWith(main);
  again(main);

  const said = [document.title.replace(prefix, '')];
  const message = one('#flash')?.textContent.trim();
  if (message) said.push(message.replace(/\s+/g, ' '));
  for (const el of all('[data-announce][id]')) if (counts.get(el.id) !== undefined && counts.get(el.id) !== el.textContent) said.push(el.textContent.trim());
  if (!quiet) {
    const summary = one('.error-summary', main);
    const target = (new URL(url).hash && document.getElementById(decodeURIComponent(new URL(url).hash.slice(1)))) || null;
    const focus = summary ?? target ?? one('[data-focus]', main) ?? one('h1', main) ?? main;
    if (!focus.matches('a[href], button, input, select, textarea, [tabindex]')) focus.tabIndex = -1;
    const top = push ? 0 : scrolls.get(history.state?.key ?? '') ?? 0;
    scrollTo(0, top);
    focus.focus({ preventScroll: !target && !summary });
    announce(said.join('. '));
  } else if (inside) {
    const heading = one('h1', main) ?? main;
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
  }
  document.dispatchEvent(new CustomEvent('vmimg:page'));
}

/** The navigation of the new page: which entry is current, and the counts. @param {Document} page */
function navigation(page) {
  const here = one('.navs'), there = one('.navs', page);
  if (!here || !there || here.isEqualNode(there)) return;
  const links = all('a', here), fresh = all('a', there);
  if (links.length !== fresh.length || links.some((link, i) => link.getAttribute('href') !== fresh[i].getAttribute('href'))) {
    here.replaceChildren(...there.childNodes);
    return;
  }
  links.forEach((link, i) => {
    if (fresh[i].ariaCurrent) link.ariaCurrent = fresh[i].ariaCurrent; else link.removeAttribute('aria-current');
    const count = one('span', link), newCount = one('span', fresh[i]);
    if (count && newCount) count.textContent = newCount.textContent;
  });
}

/**
 * Sends a form by fetch, follows the redirect and swaps the page in. What was typed stays if the server cannot be reached.
 * @param {HTMLFormElement} form @param {HTMLElement | null} [submitter]
 */
export async function submitSoft(form, submitter = null) {
  if (form.hasAttribute('data-busy')) return;
  const data = new FormData(form, submitter);
  const own = (name) => submitter?.getAttribute(`form${name}`) ?? form.getAttribute(name) ?? '';
  const action = new URL(own('action') || location.href, location.href);
  if (own('method').toLowerCase() !== 'post') {
    const query = new URLSearchParams();
    for (const [name, value] of data) if (typeof value === 'string' && value !== '') query.append(name, value);
    action.search = query.toString();
    await swapTo(action);
    return;
  }
  busy(form, true);
  try {
    const body = own('enctype') === 'multipart/form-data' ? data : new URLSearchParams(/** @type {any} */ (data));
    const response = await fetch(action, { method: 'POST', body, headers: { 'X-Requested-With': 'vmimg', Accept: 'text/html' } });
    if (!isHtml(response)) throw new Error('not a page');
    const html = await response.text();
    if (response.status === 401) { // the document stays: it may hold a chosen file
      showErrors(form, [{ message: 'Your session has ended. Sign in in another tab, then go on here; what you typed is kept.', href: '/sign-in', target: '_blank' }]);
      return;
    }
    if (!response.ok && !html.includes('class="shell"')) { // an error page of its own: its words, beside what was typed
      const page = new DOMParser().parseFromString(html, 'text/html');
      showErrors(form, [{ message: all('h1, h1 ~ p', page).map((el) => el.textContent.trim()).join('. ') || `The server could not do that (answer ${response.status}).` }]);
      return;
    }
    // An answer without redirect is this form again, with its errors: the address stays.
    await swapTo(location.href, { push: response.redirected, html, finalUrl: response.redirected ? response.url : bare(location.href) });
  } catch {
    showErrors(form, [{ message: 'The server did not answer. Nothing you entered is lost; try again in a moment.' }]);
  } finally {
    busy(form, false);
  }
}

/** @param {ParentNode} root */
export function start(root) {
  each(root, 'a[data-soft]', 'soft', (link) => link.addEventListener('click', (event) => {
    if (plain(event)) { event.preventDefault(); swapTo(link.href); }
  }));
  if (listening) return;
  listening = true;
  // Compared with what is being loaded, if something is: of two quick steps back the last one counts.
  addEventListener('popstate', () => { if (bare(location.href) !== (loading || bare(current))) swapTo(location.href, { push: false }); });
  document.addEventListener('click', (event) => {
    const link = event.target instanceof Element ? event.target.closest('a[href]') : null;
    if (event.defaultPrevented || !link || !plain(event) || !alive()) return;
    const { origin, pathname } = /** @type {HTMLAnchorElement} */ (link);
    if (link.hasAttribute('target') || link.hasAttribute('download') || link.hasAttribute('data-hard')) return;
    if (origin !== location.origin || pathname.startsWith('/assets/') || link.getAttribute('href').startsWith('#')) return;
    event.preventDefault();
    swapTo(/** @type {HTMLAnchorElement} */ (link).href);
  });
  document.addEventListener('submit', (event) => {
    const form = /** @type {HTMLFormElement} */ (event.target);
    if (event.defaultPrevented || !alive() || form.hasAttribute('data-hard') || form.method === 'dialog') return;
    if (new URL(form.getAttribute('action') || '', location.href).origin !== location.origin) return;
    event.preventDefault();
    submitSoft(form, event.submitter);
  });
  // A number that was asked for (a search, a filter) is said once the page is there.
  const count = location.search && one('[data-announce]');
  if (count) setTimeout(() => announce(count.textContent.trim()), 600);
}

/** @param {MouseEvent} event */
const plain = (event) => event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey && !event.defaultPrevented;
