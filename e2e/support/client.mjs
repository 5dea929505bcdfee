// A browser's manners without the browser: cookies, forms with their hidden fields, files. For filling a console quickly, and for uploads
// that stop in the middle.
import assert from 'node:assert/strict';
import { createReadStream, readFileSync, statSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { basename } from 'node:path';
import { ADMIN } from './console.mjs';

const entities = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", '#39': "'", '#34': '"', '#38': '&', '#60': '<', '#62': '>', '#x27': "'", '#x2F': '/' };
const plain = (text) => text.replace(/&(#?\w+);/g, (whole, name) => entities[name] ?? (name[0] === '#' ? String.fromCodePoint(Number(name.slice(1))) : whole));
const attributes = (tag) => Object.fromEntries([...tag.matchAll(/([\w-]+)(?:="([^"]*)")?/g)].slice(1).map(([, name, value]) => [name, plain(value ?? '')]));

export class Client {
  cookies = new Map();

  /** @param {import('./server.mjs').Server} server */
  constructor(server) { this.server = server; }

  get cookie() { return [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; '); }

  /** One request, redirects not followed. @param {string} path @param {RequestInit & {headers?: Record<string, string>}} [options] */
  async fetch(path, { headers = {}, ...options } = {}) {
    const answer = await fetch(new URL(path, this.server.url), {
      redirect: 'manual', ...options,
      headers: { Accept: 'text/html', Origin: this.server.url, ...(this.cookie && { Cookie: this.cookie }), ...headers },
    });
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (value === '' || /max-age=0/i.test(line)) this.cookies.delete(name); else this.cookies.set(name, value);
    }
    return answer;
  }

  /** A page's text. */
  async page(path, status = 200) {
    const answer = await this.fetch(path);
    assert.equal(answer.status, status, `GET ${path}`);
    return answer.text();
  }

  post(path, fields = {}) {
    return this.fetch(path, { method: 'POST', body: new URLSearchParams(fields), headers: { 'Content-Type': 'application/x-www-form-urlencoded' } });
  }

  /** What the form of a page would send: every field as the server filled it in. @param {string} path @param {RegExp} [action] which form */
  async form(path, action = /./) {
    const html = await this.page(path);
    const forms = [...html.matchAll(/<form\b[^>]*>[\s\S]*?<\/form>/g)].map(([text]) => ({ text, ...attributes(text.slice(0, text.indexOf('>'))) }));
    const form = forms.find((found) => found.method === 'post' && !/sign-out/.test(found.action ?? '') && action.test(found.action ?? path));
    assert.ok(form, `a form for ${action} at ${path}`);
    const fields = [];
    for (const [tag] of form.text.matchAll(/<input\b[^>]*>/g)) {
      const input = attributes(tag);
      const off = 'disabled' in input || (/^(radio|checkbox)$/.test(input.type) && !('checked' in input));
      if (input.name && !off && !/^(submit|file|button)$/.test(input.type ?? '')) fields.push([input.name, input.value ?? '']);
    }
    for (const [, head, text] of form.text.matchAll(/<textarea\b([^>]*)>([\s\S]*?)<\/textarea>/g)) fields.push([attributes(`x ${head}`).name, plain(text)]);
    for (const [, head, body] of form.text.matchAll(/<select\b([^>]*)>([\s\S]*?)<\/select>/g)) {
      const options = [...body.matchAll(/<option\b[^>]*>/g)].map(([tag]) => attributes(tag));
      fields.push([attributes(`x ${head}`).name, (options.find((option) => 'selected' in option) ?? options[0])?.value ?? '']);
    }
    return { action: form.action || path, fields: Object.fromEntries(fields) };
  }

  /** Fills in a page's form and sends it; answers where it leads. */
  async send(path, values, action) {
    const form = await this.form(path, action);
    const answer = await this.post(form.action, { ...form.fields, ...values });
    assert.equal(answer.status, 303, `POST ${form.action}: ${answer.status} ${(await answer.text()).match(/error-summary[\s\S]*?<\/ul>/)?.[0] ?? ''}`);
    return answer.headers.get('location');
  }

  /** Sets the console up and is signed in. */
  async setUp({ storageName = 'isos', storagePath = this.server.place(storageName) } = {}) {
    const { pathname, search } = new URL(this.server.setupUrl);
    await this.send(pathname + search, { ...ADMIN, storage_name: storageName, storage_path: storagePath });
    return this;
  }

  async signIn({ email = ADMIN.email, password = ADMIN.password } = {}) {
    const answer = await this.post('/sign-in', { email, password, next: '/images' });
    assert.equal(answer.status, 303, 'signed in');
    return this;
  }

  /** Another device of the same person. */
  another() { return new Client(this.server).signIn(); }

  /** Makes a token for a program. @param {string[]} scopes */
  async token(...scopes) {
    const { fields } = await this.form('/account/tokens', /tokens/);
    const body = new URLSearchParams({ ...fields, name: scopes.join(' '), days: '30' });
    body.delete('scope');
    for (const scope of scopes) body.append('scope', scope);
    const answer = await this.post('/account/tokens', body);
    const [, token] = /id="token">([^<]+)</.exec(await answer.text()) ?? [];
    assert.ok(token, `a token for ${scopes}`);
    return token;
  }

  storageId(name) {
    const id = this.server.sql(`SELECT id FROM storages WHERE name = '${name}'`);
    assert.match(id, /^[0-9a-f-]{36}$/, `the storage ${name} is there`);
    return id;
  }

  /** Adds a datastore or a local storage; answers its page's path. */
  async addStorage({ name, path = this.server.place(name), kind = 'datastores', ...more }) {
    return (await this.send(`/${kind}/new`, { name, path, ...more }, new RegExp(`/${kind}`))).split('?')[0];
  }

  /** Walks the wizard up to its summary; answers the draft's path. */
  async draft({ name, note = '', storage = 'isos', os = 'debian-13', ...more }) {
    const start = await this.fetch('/images/new');
    assert.equal(start.status, 303, 'GET /images/new leads to the first step');
    const draft = start.headers.get('location').replace(/\/general.*/, '');
    await this.send(`${draft}/general`, { name, note, kind: 'installation' }, /general/);
    await this.send(`${draft}/configuration`, { storage: this.storageId(storage), os, ...more }, /configuration/);
    return draft;
  }

  /** Creates an image through the plain form; answers its path. */
  async createImage({ iso, ...answers }) {
    const draft = await this.draft(answers);
    const { action, fields } = await this.form(`${draft}/summary`, /create/);
    const body = new FormData();
    for (const [name, value] of Object.entries(fields)) body.append(name, value);
    body.append('file', new Blob([readFileSync(iso)]), basename(iso));
    const answer = await this.fetch(action, { method: 'POST', body });
    assert.equal(answer.status, 303, `POST ${action}: ${await answer.text()}`);
    return answer.headers.get('location').split('?')[0];
  }

  /** Creates an image's record as the console's scripts do, nothing sent yet; answers its path and where the content goes. */
  async createRecord({ iso, size = statSync(iso).size, ...answers }) {
    const draft = await this.draft({ ...answers, file_name: basename(iso), file_size: String(size) });
    const query = new URLSearchParams({ name: basename(iso), size: String(size), storage: this.storageId(answers.storage ?? 'isos') });
    const answer = await this.fetch(`${draft}/image?${query}`, {
      method: 'POST', body: readFileSync(iso).subarray(0, 65_536),
      headers: { 'Content-Type': 'application/octet-stream', Accept: 'application/json', 'X-Requested-With': 'vmimg' },
    });
    const text = await answer.text();
    assert.equal(answer.status, 201, `POST ${draft}/image: ${text}`);
    return JSON.parse(text);
  }

  /** Begins to send an image's file and sends as much as it is told. @param {string} path where the content goes */
  upload(path, iso, { size = statSync(iso).size } = {}) {
    const boundary = 'vmimg-e2e-boundary';
    const head = `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="${basename(iso)}"\r\nContent-Type: application/octet-stream\r\n\r\n`;
    const tail = `\r\n--${boundary}--\r\n`;
    const request = httpRequest(new URL(path, this.server.url), {
      method: 'POST',
      headers: {
        'Content-Type': `multipart/form-data; boundary=${boundary}`, 'Content-Length': head.length + size + tail.length,
        Accept: 'application/json', 'X-Requested-With': 'vmimg', Origin: this.server.url, Cookie: this.cookie,
      },
    });
    let sent = 0;
    const closed = new Promise((resolve) => { request.once('close', resolve); });
    const once = (emitter, event) => new Promise((resolve) => { emitter.once(event, resolve); });
    const answer = new Promise((resolve) => {
      request.once('error', (error) => resolve({ status: 0, error }));
      request.once('response', async (response) => {
        let text = '';
        for await (const chunk of response) text += chunk;
        resolve({ status: response.statusCode, text, json: (() => { try { return JSON.parse(text); } catch { return null; } })() });
      });
    });
    request.write(head);
    const send = async (bytes) => {
      if (!bytes) return;
      for await (const chunk of createReadStream(iso, { start: sent, end: sent + bytes - 1 })) {
        if (!request.write(chunk)) await Promise.race([once(request, 'drain'), closed]);
      }
      sent += bytes;
    };
    return {
      answer, send,
      /** Sends the rest; answers what the server says. */
      async finish() {
        await send(size - sent);
        request.end(tail);
        return answer;
      },
      /** The cable is pulled. */
      break() { request.destroy(); },
    };
  }
}

/** A console that is set up, and a client that is signed in. @param {Parameters<typeof import('./server.mjs').startServer>[0]} [options] */
export async function startConsole(options, setUp) {
  const { startServer } = await import('./server.mjs');
  const server = await startServer(options);
  try {
    const client = await new Client(server).setUp(setUp);
    return { server, client };
  } catch (error) {
    error.message += `\n${server.log}`;
    await server.stop();
    throw error;
  }
}
