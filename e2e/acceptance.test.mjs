// The whole promise in one run: 5 GiB (`make acceptance`; 1 GiB in `make test`, for time) through a proxy that lets 1 MiB through, over a line
// that is cut, to a service that is killed, from a tab that is closed, and the rest from another machine. Nothing may be lost, sent twice,
// written twice, shown wrongly or left over.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import {
  Client, createInBrowser, launch, main, makeIso, mountDisk, newPage, noCspViolations, signedInPage, sleep, sow, startLine, startProxy, startServer, throttle, unplug, until,
} from './support.mjs';

const GIB = 2 ** 30, GIBS = Number(process.env.VMIMG_ACCEPTANCE_GIB ?? 1), SIZE = GIBS * GIB;
/** The machine with the browser, and the other one. */
const HERE = '127.0.0.1', THERE = '127.0.0.2';
const run = promisify(execFile);
const percent = (bytes) => Math.floor(bytes / SIZE * 100);

test(`UX 51–53, 56, 58: ${GIBS} GiB arrive whole through a bad proxy, five cuts, three kills, a closed tab and another machine`, { timeout: 1_800_000 }, async () => {
  const seed = process.env.VMIMG_SEED ?? randomBytes(8).toString('hex'), began = performance.now();
  const say = (words) => console.log(`${((performance.now() - began) / 1000).toFixed(0)} s: ${words}`);
  say(`VMIMG_SEED=${seed}`);
  /** What is to be ended, the last first. @type {(() => unknown)[]} */
  const ends = [];
  try {
    const server = await startServer({ database: 'postgres' });
    ends.push(() => server.stop());
    const place = server.place('isos'), disk = mountDisk(join(server.folder, 'disk'), place, (GIBS + 2) * GIB);
    ends.push(async () => { await server.end('SIGKILL'); disk.stop(); });
    const proxy = await startProxy(server), line = await startLine(proxy);
    ends.push(() => proxy.stop(), () => line.stop());
    const client = await new Client(server).setUp();
    const iso = sow(makeIso(join(server.folder, 'large.iso'), { mib: 2, bytes: SIZE }), seed);
    const digest = run('sha256sum', [iso]).then(({ stdout }) => stdout.slice(0, 64));
    const browser = await launch();
    ends.push(() => browser.close());

    const before = disk.written();
    let page = await signedInPage(browser, client, { url: line.url });
    const path = await createInBrowser(page, { name: 'accepted', iso });
    const id = basename(path), context = page.context();

    const json = async (at) => (await client.fetch(at, { headers: { Accept: 'application/json' } })).json();
    /** What the service says of the upload. */
    const state = () => json(`/uploads/${id}`);
    const has = async (part) => { await sleep(400); return (await state()).offset >= part * SIZE; };
    const reached = (part) => until(`${part * 100} % to be there`, () => has(part), 300_000);
    /** The status is the same wherever it can be seen, with as much of the file as the service has. */
    async function looks(wanted) {
      const first = await state();
      const pages = [await client.page(path), await client.page('/images')], rows = await json('/uploads'), last = await state();
      assert.deepEqual([first.status, last.status], [wanted, wanted]);
      assert.deepEqual(rows.map((row) => [row.id, row.status]), wanted === 'available' ? [] : [[id, wanted]]);
      assert.equal(first.length, SIZE);
      pages.forEach((text, list) => {
        const [, word] = /class="status \w+"[^>]*>.*?<\/svg>([^<]+)</.exec(list ? text.slice(text.indexOf(`row-${id}`)) : text);
        const [, shown] = { uploading: /^Uploading (\d+) %$/, pending: /^Pending()$/, available: /^Available()$/ }[wanted].exec(word) ?? assert.fail(`${wanted} is shown as ${word}`);
        const received = /(\d+) % received/.exec(text)?.[1];
        if (wanted === 'pending') assert.equal(Number(received), percent(last.offset), 'what was received is shown');
        else assert.equal(received, undefined);
        if (wanted === 'uploading') assert.ok(percent(first.offset) <= Number(shown) && Number(shown) <= percent(last.offset), `${shown} % is shown between ${first.offset} and ${last.offset}`);
      });
      say(`${wanted}, ${percent(last.offset)} %`);
      return last;
    }
    const words = (what) => main(page).locator('[data-progress-text]').filter({ hasText: what }).waitFor({ timeout: 60_000 });
    /** It goes on by itself. @param {number} offset from here */
    const goesOn = async (offset) => {
      await until('the upload to go on', async () => (await state()).offset > offset, 60_000);
      await looks('uploading');
    };
    /** The link is cut for some seconds. @param {() => unknown} cut answers how it is mended */
    async function cuts(cut) {
      const mend = await cut();
      await words(/^Waiting for connection…/);
      const { offset } = await looks('uploading');
      await mend();
      await goesOn(offset);
    }
    const isSmall = () => assert.ok(server.mostMemory() < 200e6, `the server needed ${(server.mostMemory() / 1e6).toFixed(0)} MB`);
    /** Killed, and started again. */
    async function kills() {
      isSmall();
      const { offset } = await state();
      await server.end('SIGKILL');
      await sleep(1000);
      await server.start();
      assert.ok((await state()).offset >= offset, 'what was there is there');
      await goesOn(offset);
    }
    const offline = async () => { await unplug(page); return () => throttle(page, 0); };

    await reached(.02);
    await looks('uploading');
    await reached(.06);
    await cuts(line.cut);
    await reached(.12);
    await kills();

    await reached(.18);
    await page.close();
    // What the proxy already had of it may still arrive: then it is Uploading until that request's lease has run out, else Pending at once.
    let left = await state();
    await until('nothing to move', async () => { const before = left; await sleep(1000); left = await state(); return before.status === left.status && before.offset === left.offset; });
    await looks(left.status);
    page = await newPage(browser, line, { context });
    await page.goto(path);
    await main(page).locator('label', { hasText: 'Choose the file and go on' }).waitFor({ timeout: 90_000 });
    await page.getByLabel('Choose the file and go on').setInputFiles(iso);
    await words(/^Comparing the file with what was sent/);
    await goesOn(left.offset);

    await reached(.26);
    await cuts(offline);
    await reached(.32);
    await kills();
    await reached(.38);
    await cuts(line.cut);
    await reached(.44);
    await cuts(offline);

    await reached(.58);
    await main(page).getByRole('button', { name: 'Pause' }).click();
    await words(/^Paused at/);
    await until('the pause to be known', async () => (await state()).status === 'pending');
    await looks('pending');
    page.once('dialog', (dialog) => dialog.accept());
    await page.reload();
    await main(page).getByRole('button', { name: 'Go on from another machine' }).click();
    const command = await page.locator('#hand-over-command').innerText();
    await page.keyboard.press('Escape');

    // Another machine: its own address, and nothing of this one but the file and the command.
    const there = join(server.folder, 'there');
    mkdirSync(there);
    symlinkSync(iso, join(there, basename(iso)));
    writeFileSync(join(there, '.curlrc'), `interface = ${THERE}\n`);
    const sender = spawn('sh', ['-c', command], { cwd: there, env: { PATH: process.env.PATH, HOME: there }, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    ends.push(() => { try { process.kill(-sender.pid, 'SIGKILL'); } catch { /* it has ended */ } });
    let printed = '';
    for (const stream of [sender.stdout, sender.stderr]) stream.on('data', (bytes) => { printed += bytes; });
    let ended = null;
    const over = new Promise((resolve) => { sender.once('exit', (code, signal) => { ended = code ?? signal; resolve(); }); });
    const meanwhile = (part) => until(`${part * 100} % to be there`, async () => {
      if (ended !== null) throw new Error(`the command ended with ${ended}:\n${printed}`);
      return has(part);
    }, 300_000);

    await meanwhile(.68);
    await looks('uploading');
    await page.locator('h1 .status', { hasText: /^Uploading \d+ %$/ }).waitFor();
    await kills();
    await meanwhile(.84);
    const { offset: cutAt } = await state(), mend = line.cut();
    await sleep(2000);
    await looks('uploading');
    mend();
    await goesOn(cutAt);
    await over;
    assert.equal(ended, 0, printed);

    await looks('available');
    await page.locator('h1 .status', { hasText: 'Available' }).waitFor();
    const source = await digest;
    assert.equal((await page.locator('#sha256').innerText()).trim(), source);
    noCspViolations(page);

    const sent = [HERE, THERE].map((from) => line.sent(from)), written = disk.written() - before;
    say(`${sent[0]} bytes from the browser, ${sent[1]} from the other machine: ${((sent[0] + sent[1]) / SIZE).toFixed(4)} of the size; ${(written / SIZE).toFixed(4)} of it written`);
    isSmall();
    assert.ok(sent.every((bytes) => bytes >= .4 * SIZE), 'each machine sent its part');
    assert.ok(sent[0] + sent[1] <= 1.05 * SIZE, 'not more than 5 % is sent again');
    assert.ok(written <= 1.03 * SIZE, 'not more than 3 % is written beside the file');

    await run('cmp', [iso, join(place, 'images', `${id}.iso`)]);
    const files = () => readdirSync(place, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => entry.name).sort();
    await until('only the image and its manifest to lie on the storage', () => files().join() === ['.vmimg-storage.json', `${id}.iso`, `${id}.json`].join());
    for (const rows of ['uploads', 'images WHERE reserved_bytes > 0', 'jobs']) {
      await until(`no ${rows}`, () => server.sql(`SELECT count(*) FROM ${rows}`) === '0');
    }
    const held = readdirSync(`/proc/${server.pid}/fd`).map((fd) => { try { return readlinkSync(`/proc/${server.pid}/fd/${fd}`); } catch { return ''; } });
    assert.deepEqual(held.filter((file) => file.startsWith(place)), [], 'no file is open');
    say('done');
  } finally {
    for (const end of ends.reverse()) await end();
  }
});
