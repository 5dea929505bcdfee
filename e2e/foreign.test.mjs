// Clients that others wrote for tus, unchanged: each sends a file, goes on with one that was cut off, and, where it can, ends one.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { createReadStream, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { Upload } from 'tus-js-client';
import { ROOT, faultsOf, launch, makeIso, sha256sum, signedInPage, startConsole, throttle } from './support.mjs';

const MIB = 2 ** 20;
const run = promisify(execFile);
const require = createRequire(import.meta.url);

describe('foreign clients', () => {
  let server, client, browser, iso, sha, token, endpoint, number = 0;
  before(async () => {
    ({ server, client } = await startConsole());
    browser = await launch();
    iso = makeIso(join(server.folder, 'foreign.iso'), { mib: 12 });
    sha = sha256sum(iso);
    token = await client.token('images', 'download');
    endpoint = `${server.url}/uploads`;
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  /** What a client says of a file that it begins to send. */
  const metadata = (name) => ({ filename: basename(iso), name: `${name} ${++number}`, storage: client.storageId('isos'), os: 'debian-13' });
  const idOf = (url) => new URL(url, server.url).pathname.split('/').pop();
  const isThere = async (url) => {
    const page = await client.page(`/images/${idOf(url)}`);
    assert.match(page, /class="status good"/, 'it is Available');
    assert.equal(/id="sha256">([0-9a-f]{64})/.exec(page)[1], sha);
  };
  const ask = (url, method = 'HEAD') => fetch(url, { method, headers: { Authorization: `Bearer ${token}`, 'Tus-Resumable': '1.0.0' } });
  const offset = async (url) => Number((await ask(url)).headers.get('upload-offset'));
  const isGone = async (url) => assert.ok([404, 410].includes((await ask(url)).status), 'it is ended');

  /** An Upload that stops after so many bytes, and its address. */
  const cut = (file, options, after) => new Promise((resolve, reject) => {
    const upload = new Upload(file, {
      endpoint, chunkSize: 2 * MIB, uploadSize: statSync(iso).size, retryDelays: null, headers: { Authorization: `Bearer ${token}` }, ...options, onError: reject,
      onChunkComplete: async (size, accepted) => { if (accepted >= after) { await upload.abort(); resolve(upload.url); } },
    });
    upload.start();
  });
  const whole = (file, options) => new Promise((resolve, reject) => {
    const upload = new Upload(file, {
      endpoint, chunkSize: 2 * MIB, uploadSize: statSync(iso).size, retryDelays: null, headers: { Authorization: `Bearer ${token}` }, ...options, onError: reject,
      onSuccess: () => resolve(upload.url),
    });
    upload.start();
  });

  test('tus-js-client in Node', async () => {
    await isThere(await whole(createReadStream(iso), { metadata: metadata('node') }));
    const url = await cut(createReadStream(iso), { metadata: metadata('node, cut') }, 4 * MIB);
    assert.ok(await offset(url) >= 4 * MIB);
    await isThere(await whole(createReadStream(iso), { uploadUrl: url }));
    const ended = await cut(createReadStream(iso), { metadata: metadata('node, ended') }, 2 * MIB);
    await Upload.terminate(ended, { headers: { Authorization: `Bearer ${token}` } });
    await isGone(ended);
  });

  /** Runs in a page of our own origin, with its session, the file and a script that is injected, whatever the page's policy. */
  async function inPage(script, act, argument) {
    const page = await signedInPage(browser, client);
    await page.goto('/settings');
    // Slow enough to stop in the middle.
    await throttle(page, 3 * MIB);
    await page.evaluate(script);
    await page.evaluate((base64) => {
      globalThis.file = new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], 'foreign.iso');
    }, readFileSync(iso).toString('base64'));
    const found = await page.evaluate(act, argument);
    assert.deepEqual(faultsOf(page), []);
    await page.context().close();
    return found;
  }

  test('tus-js-client in the browser', async () => {
    const script = readFileSync(require.resolve('tus-js-client/dist/tus.min.js'), 'utf8');
    const found = await inPage(script, async ({ one, two, three, MIB }) => {
      const { Upload } = globalThis.tus;
      const send = (options, stop = Infinity) => new Promise((resolve, reject) => {
        const upload = new Upload(globalThis.file, {
          endpoint: '/uploads', chunkSize: 2 * MIB, retryDelays: null, storeFingerprintForResuming: false, ...options, onError: reject, onSuccess: () => resolve(upload.url),
          onChunkComplete: async (size, accepted) => { if (accepted >= stop) { await upload.abort(); resolve(upload.url); } },
        });
        upload.start();
      });
      const first = await send({ metadata: one }), second = await send({ metadata: two }, 4 * MIB);
      await send({ uploadUrl: second });
      const third = await send({ metadata: three }, 2 * MIB);
      await Upload.terminate(third);
      return { first, second, third };
    }, { one: metadata('browser'), two: metadata('browser, cut'), three: metadata('browser, ended'), MIB });
    await isThere(found.first);
    await isThere(found.second);
    await isGone(new URL(found.third, server.url));
  });

  test('@uppy/tus in the browser', async () => {
    const bundle = await build({
      stdin: { contents: "import Uppy from '@uppy/core'; import Tus from '@uppy/tus'; globalThis.uppy = { Uppy, Tus };", resolveDir: join(ROOT, 'e2e') },
      bundle: true, format: 'iife', write: false, logLevel: 'error',
    });
    const found = await inPage(bundle.outputFiles[0].text, async ({ one, two, three, MIB }) => {
      const { Uppy, Tus } = globalThis.uppy;
      const begin = (meta) => {
        const uppy = new Uppy().use(Tus, { endpoint: '/uploads', chunkSize: MIB, retryDelays: null });
        const { type: _, ...rest } = meta;
        // It would go on with an earlier upload of a file of the same name, size and time.
        const name = `${meta.name}.iso`, id = uppy.addFile({ name, type: '', data: new File([globalThis.file], name), meta: rest });
        uppy.setFileMeta(id, rest);
        return { uppy, id };
      };
      const finish = async ({ uppy, id }) => {
        const { successful, failed } = await uppy.upload();
        if (failed.length) throw new Error(failed[0].error);
        return successful.find((file) => file.id === id).uploadURL;
      };
      const first = await finish(begin(one));
      // Paused in the middle, and resumed.
      const paused = begin(two);
      let once = false;
      paused.uppy.on('upload-progress', (file, { bytesUploaded }) => {
        if (once || bytesUploaded < 3 * MIB) return;
        once = true;
        paused.uppy.pauseResume(paused.id);
        setTimeout(() => paused.uppy.pauseResume(paused.id), 1500);
      });
      const second = await finish(paused);
      // Removed in the middle: it ends the upload itself.
      const removed = begin(three);
      const third = await new Promise((resolve) => {
        removed.uppy.on('upload-progress', (file, { bytesUploaded }) => {
          if (bytesUploaded < 2 * MIB) return;
          const { uploadUrl } = removed.uppy.getFile(removed.id)?.tus ?? {};
          if (!uploadUrl) return;
          removed.uppy.removeFile(removed.id);
          setTimeout(() => resolve(uploadUrl), 1500);
        });
        removed.uppy.upload().catch(() => {});
      });
      return { first, second, third, once };
    }, { one: metadata('uppy'), two: metadata('uppy, paused'), three: metadata('uppy, removed'), MIB });
    await isThere(found.first);
    assert.ok(found.once, 'it was paused');
    await isThere(found.second);
    await isGone(new URL(found.third, server.url));
  });

  for (const name of ['tuspy', 'aiotus']) {
    test(`${name}`, async () => {
      const python = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'tools', name, 'bin', 'python');
      const lets = async (what, where, pairs = {}) => (await run(python, [join(ROOT, 'e2e', 'support', 'foreign.py'), name, endpoint, token, iso, what, where,
        ...Object.entries(pairs).map(([key, value]) => `${key}=${value}`)])).stdout.trim();
      const size = statSync(iso).size;
      await isThere(await lets('begin', String(size), metadata(name)));
      const url = await lets('begin', String(4 * MIB), metadata(`${name}, cut`));
      const there = await offset(url);
      assert.ok(there >= 4 * MIB && there < size, `${there} bytes are there`);
      await isThere(await lets('go-on', url));
      // Neither of them can end an upload.
    });
  }

  test('plain curl', () => {
    const curl = (...more) => execFileSync('curl', ['-sS', '-i', '-H', 'Tus-Resumable: 1.0.0', '-H', `Authorization: Bearer ${token}`, ...more], { encoding: 'utf8', maxBuffer: 64 * MIB });
    const header = (answer, name) => new RegExp(`^${name}: (.*)\r$`, 'im').exec(answer)?.[1];
    const begin = (name) => {
      const pairs = Object.entries(metadata(name)).map(([key, value]) => `${key} ${Buffer.from(value).toString('base64')}`).join(',');
      return new URL(header(curl('-X', 'POST', '-H', `Upload-Length: ${statSync(iso).size}`, '-H', `Upload-Metadata: ${pairs}`, endpoint), 'location'), server.url).href;
    };
    const octets = ['-H', 'Content-Type: application/offset+octet-stream'];
    const send = (url, at, bytes) => execFileSync('sh', ['-c', `tail -c +${at + 1} "$1" | head -c ${bytes} | curl -sS -i -X PATCH -H 'Tus-Resumable: 1.0.0' \
      -H "Authorization: Bearer $2" -H 'Content-Type: application/offset+octet-stream' -H 'Upload-Offset: ${at}' --data-binary @- "$3"`, 'sh', iso, token, url], { encoding: 'utf8' });
    const url = begin('curl');
    assert.match(send(url, 0, 5 * MIB), / 204 /);
    assert.equal(header(curl('-I', url), 'upload-offset'), String(5 * MIB));
    assert.match(curl('-X', 'PATCH', ...octets, '-H', 'Upload-Offset: 7', '--data-binary', 'x', url), / 409 /, 'not from elsewhere');
    assert.match(send(url, 5 * MIB, 64 * MIB), / 204 /);
    const ended = begin('curl, ended');
    assert.match(curl('-X', 'DELETE', ended), / 204 /);
    assert.match(curl('-I', ended), / (404|410) /);
    return isThere(url);
  });
});
