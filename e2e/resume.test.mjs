// Uploads that cannot be lost: paused, cut off, killed, loaded again, signed out, in two tabs, on two devices, without a secure context.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, openSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import {
  axe, create, faultsOf, fillConfiguration, fillGeneral, flash, heard, launch, main, makeIso, mountDisk, newPage, noCspViolations, onlyTablesScroll, screenshot, sha256sum, signIn, signedInPage, sleep, startConsole,
  submitSignIn, throttle, unplug, until, waitForStatus,
} from './support.mjs';

const MIB = 2 ** 20;
const bar = (page) => main(page).locator('.upload');
const text = (page) => main(page).locator('[data-progress-text]');
const cause = (page) => main(page).locator('#cause');
const tray = (page) => page.getByRole('complementary', { name: 'Transfers' });
const button = (page, name) => bar(page).getByRole('button', { name, exact: true });
const isAvailable = (page, within = 60_000) => page.locator('h1 .status', { hasText: 'Available' }).waitFor({ timeout: within });

describe('uploads that cannot be lost', () => {
  let server, client, browser, page, iso, sha;
  before(async () => {
    ({ server, client } = await startConsole());
    browser = await launch();
    iso = makeIso(join(server.folder, 'large.iso'), { mib: 24 });
    sha = sha256sum(iso);
    await client.createRecord({ name: 'first', iso }); // from now on it has the cookie of a device
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });
  beforeEach(async () => {
    await page?.context().close();
    page = await signedInPage(browser, client);
  });

  /** What the service says of an upload. */
  const state = async (path, who = client) => (await who.fetch(path.replace('/images/', '/uploads/'), { headers: { Accept: 'application/json' } })).json();

  /** An image whose file is being sent from the page. @param {string} name @param {number} rate bytes a second */
  async function begin(name, rate, at = page, who = client) {
    const { image } = await who.createRecord({ name, iso });
    await at.goto(image);
    await main(at).getByLabel('Image file').setInputFiles(iso);
    await main(at).locator('[data-file-note][data-state=good]').waitFor();
    await throttle(at, rate);
    await main(at).getByRole('button', { name: 'Send the file' }).click();
    await text(at).waitFor();
    return image;
  }
  /** Waits until so much is sent, in per cent. */
  const sent = (at, percent) => at.waitForFunction((wanted) => Number(/(\d+) %/.exec(document.querySelector('[data-progress-text]')?.textContent ?? '')?.[1]) >= wanted, percent);
  /** A file of the same size that differs at one byte. */
  function other(at) {
    const path = join(server.folder, 'other.iso');
    copyFileSync(iso, path);
    writeSync(openSync(path, 'r+'), Buffer.from([readFileSync(iso)[at] ^ 1]), 0, 1, at);
    return path;
  }
  const arrived = async (at) => {
    await isAvailable(at);
    assert.equal((await at.locator('#sha256').innerText()).trim(), sha);
  };

  test('UX 49: progress has a name, bytes, per cent, speed and time left; is said at most every 10 %; the title leads with it', async () => {
    await page.addInitScript(() => {
      globalThis.said = [];
      new MutationObserver(() => {
        for (const region of document.querySelectorAll('[aria-live]')) if (region.textContent && region.textContent !== globalThis.said.at(-1)) globalThis.said.push(region.textContent);
      }).observe(document, { subtree: true, childList: true, characterData: true });
    });
    const path = await begin('progress', 4 * MIB);
    await text(page).filter({ hasText: /^[\d.]+( MiB| KiB)? of 24\.\d MiB · \d+ % · [\d.]+ MiB\/s · about \d+ s left$/ }).waitFor();
    assert.equal(await page.getByRole('progressbar', { name: /Upload/ }).count(), 1);
    assert.match(await page.title(), /^\d+ % – progress – Images – vmimg$/);
    await axe(page);
    await screenshot(page, 'upload-running');
    await arrived(page);
    const steps = (await heard(page)).map((words) => /(\d+) % sent/.exec(words)?.[1]).filter(Boolean).map(Number);
    assert.ok(steps.length >= 2 && steps.length <= 9, `said: ${steps}`);
    steps.reduce((before, step) => { assert.ok(step >= before + 10, `said: ${steps}`); return step; }, 0);
    assert.match(await page.title(), /^progress – Images – vmimg$/);
    noCspViolations(page, path);
  });

  test('UX 50: Pause, Resume and Cancel by keyboard; Cancel says what happens to the part that was sent', async () => {
    const path = await begin('by keyboard', 2 * MIB);
    await sent(page, 15);
    await button(page, 'Pause').focus();
    await page.keyboard.press('Enter');
    await text(page).filter({ hasText: /^Paused at \d+ %\. .* are kept until \d+ \w+\.$/ }).waitFor();
    await until('the service to know', async () => (await state(path)).status === 'pending');
    const { offset } = await state(path);
    assert.ok(offset > 0, 'what was sent is kept');
    await sleep(1200);
    assert.equal((await state(path)).offset, offset, 'nothing moves');
    assert.ok(await button(page, 'Resume').evaluate((el) => el === document.activeElement), 'the focus stays on the button');
    await axe(page);
    await page.keyboard.press('Space');
    await until('it to go on', async () => (await state(path)).offset > offset);
    await button(page, 'Pause').focus();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    const question = page.getByRole('dialog', { name: 'Cancel this upload?' });
    assert.match(await question.innerText(), /of 24\.\d MiB already sent are thrown away[\s\S]*Pause/);
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Keep sending', 'the focus is on the harmless answer');
    await page.keyboard.press('Escape');
    await question.waitFor({ state: 'hidden' });
    await button(page, 'Cancel upload').focus();
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await waitForStatus(page, path, 'Pending');
    await cause(page).filter({ hasText: /cancelled/ }).waitFor();
    assert.equal((await state(path)).offset, 0);
    await throttle(page, 0);
    await main(page).getByLabel('Image file').setInputFiles(iso);
    await main(page).getByRole('button', { name: 'Send the file' }).click();
    await arrived(page);
  });

  test('UX 51: without a network it waits, says when it tries again, and goes on where the service is', async () => {
    const path = await begin('no network', 2 * MIB);
    await sent(page, 20);
    await unplug(page);
    await text(page).filter({ hasText: /^Waiting for connection… next try in \d+ s\. \d+ % is sent\.$/ }).waitFor();
    await axe(page);
    await sleep(20_000);
    await text(page).filter({ hasText: /Waiting for connection… next try in/ }).waitFor();
    const before = (await state(path)).offset;
    await throttle(page, 2 * MIB);
    await text(page).filter({ hasText: /left$/ }).waitFor();
    assert.ok(before > 0);
    await throttle(page, 0);
    await arrived(page);
  });

  test('UX 52: the service is killed and started again: at most one piece is sent again', async () => {
    await page.addInitScript(() => {
      globalThis.out = 0;
      const { open } = XMLHttpRequest.prototype;
      XMLHttpRequest.prototype.open = function (...how) {
        let before = 0;
        this.upload.addEventListener('progress', ({ loaded }) => { globalThis.out += loaded - before; before = loaded; });
        return open.apply(this, how);
      };
    });
    await begin('killed', 3 * MIB);
    await sent(page, 40);
    await server.end('SIGKILL');
    await text(page).filter({ hasText: /Waiting for connection/ }).waitFor();
    await sleep(1500);
    await server.start();
    await throttle(page, 0);
    await arrived(page);
    const again = await page.evaluate(() => globalThis.out) - statSync(iso).size;
    assert.ok(again <= 8 * MIB, `${again} bytes were sent again`);
  });

  test('UX 53, 33: loading again asks; the page then says what was received, refuses another file with the place, and goes on with the right one', async () => {
    const path = await begin('loaded again', 2 * MIB);
    await sent(page, 60);
    await main(page).getByRole('heading', { level: 2 }).first().click();
    const dialog = page.waitForEvent('dialog');
    const reloaded = page.reload();
    const asked = await dialog;
    assert.equal(asked.type(), 'beforeunload');
    await asked.accept();
    await reloaded;
    await throttle(page, 0);
    await waitForStatus(page, path, 'Pending', 70_000);
    assert.match(await cause(page).innerText(), /\d+ % received\.[\s\S]*interrupted[\s\S]*of 24\.\d MiB \(\d+ %\) are kept until \d+ \w+ \d{4}[\s\S]*Choose the same file to go on/);
    assert.match(await cause(page).innerText(), /begun with “large\.iso”/);
    await axe(page);
    await screenshot(page, 'upload-stopped');
    const field = page.getByLabel('Choose the file and go on');
    const short = join(server.folder, 'short.iso');
    copyFileSync(iso, short);
    truncateSync(short, 10 * MIB);
    await field.setInputFiles(short);
    await cause(page).getByText(/This is another file: it has 10 MiB, and the one that was begun with has 24\.\d MiB/).waitFor();
    await field.setInputFiles(other(5 * MIB + 3));
    const refusal = main(page).locator('[data-upload-refused]');
    await refusal.filter({ hasText: /another file: it differs from what was sent at 4 MiB \(byte 4,194,304\)\. Nothing was sent/ }).waitFor();
    assert.ok(await refusal.evaluate((el) => el === document.activeElement), 'the refusal has the focus');
    await axe(page);
    const { offset } = await state(path);
    assert.ok(offset >= 10 * MIB, 'nothing is lost by it');
    let first = null;
    page.on('request', (request) => { if (request.method() === 'PATCH') first ??= Number(request.headers()['upload-offset']); });
    await page.getByLabel('Choose the file and go on').setInputFiles(iso);
    await arrived(page);
    assert.equal(first, offset, 'it went on where it was');
    noCspViolations(page);
  });

  test('UX 53: where the browser keeps a handle of the file, one click goes on after loading again', async () => {
    await page.addInitScript(() => {
      globalThis.showOpenFilePicker = async () => [await (await navigator.storage.getDirectory()).getFileHandle('kept.iso')];
    });
    const { image } = await client.createRecord({ name: 'one click', iso });
    await page.goto(image);
    // The browser's own private folder gives true handles, without a dialog that no test can press.
    const bytes = readFileSync(iso).toString('base64');
    await page.evaluate(async (base64) => {
      const file = await (await navigator.storage.getDirectory()).getFileHandle('kept.iso', { create: true });
      const stream = await file.createWritable();
      await stream.write(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)));
      await stream.close();
    }, bytes);
    await main(page).getByLabel('Image file').click();
    await main(page).locator('[data-file-note][data-state=good]').waitFor();
    await throttle(page, 2 * MIB);
    await main(page).getByRole('button', { name: 'Send the file' }).click();
    await sent(page, 30);
    page.once('dialog', (dialog) => dialog.accept());
    await page.reload();
    await throttle(page, 0);
    await waitForStatus(page, image, 'Pending', 70_000);
    await cause(page).getByRole('button', { name: 'Go on with “kept.iso”' }).click();
    await arrived(page);
  });

  test('UX 54: a second tab says that it is running in another tab; the tray shows it there too', async () => {
    const path = await begin('two tabs', MIB);
    const second = await newPage(browser, server, { context: page.context() });
    await second.goto(path);
    await main(second).getByText('It is running in another tab of this browser.').waitFor();
    await text(second).filter({ hasText: /\d+ % · / }).waitFor();
    assert.equal(await main(second).getByRole('button', { name: /Pause|Resume|Cancel|Go on/ }).count(), 0, 'no controls');
    await axe(second);
    await second.goto('/settings');
    await tray(second).getByText('It is running in another tab.').waitFor();
    await tray(second).getByText(/\d+ %/).first().waitFor();
    await axe(second);
    noCspViolations(second);
    await second.close();
    await throttle(page, 0);
    await arrived(page);
  });

  test('UX 54, 37: another device sees live progress, no controls, and Delete disabled with the reason; it takes over when the first is gone', async () => {
    const path = await begin('two devices', MIB);
    const device = await client.another(), theirs = await signedInPage(browser, device);
    await sent(page, 10);
    await theirs.goto(path);
    await main(theirs).getByText(/being uploaded from another device/i).first().waitFor();
    const seen = await text(theirs).innerText();
    await until('its progress to move', async () => await text(theirs).innerText() !== seen);
    assert.equal(await main(theirs).getByRole('button', { name: /Pause|Resume|Cancel|Choose the file/ }).count(), 0);
    const deletion = main(theirs).getByRole('button', { name: 'Delete' });
    assert.equal(await deletion.getAttribute('aria-disabled'), 'true');
    assert.match(await theirs.locator('#why-delete').innerText(), /being uploaded from another device/);
    await axe(theirs);
    await main(page).getByRole('link', { name: 'Delete' }).waitFor();
    page.once('dialog', (dialog) => dialog.accept());
    await page.close({ runBeforeUnload: false });
    await waitForStatus(theirs, path, 'Pending', 70_000);
    await cause(theirs).filter({ hasText: /\d+ % received/ }).waitFor();
    await theirs.getByLabel('Choose the file and go on').setInputFiles(iso);
    await arrived(theirs);
    noCspViolations(theirs);
    await theirs.context().close();
  });

  test('UX 54: what is paused here and goes on from another device is shown so, without controls of the other', async () => {
    const path = await begin('taken over', MIB);
    await sent(page, 10);
    await button(page, 'Pause').click();
    await until('it to be Pending', async () => (await state(path)).status === 'pending');
    const theirs = await signedInPage(browser, await client.another());
    await theirs.goto(path);
    await throttle(theirs, MIB);
    await theirs.getByLabel('Choose the file and go on').setInputFiles(iso);
    await text(page).filter({ hasText: /^It is being uploaded from another device\. \d+ % is sent\.$/ }).waitFor();
    assert.equal(await bar(page).getByRole('button', { name: /Pause|Resume|Cancel|Take over/ }).count(), 0);
    await axe(page);
    await bar(page).getByRole('button', { name: 'Do not send from here' }).click();
    await main(page).getByText('It is being uploaded from another device. Here you can watch it.').waitFor();
    await throttle(theirs, 0);
    await arrived(theirs);
    await arrived(page);
    await theirs.context().close();
  });

  test('UX 55: a session that ends in mid-upload is said; signing in in a new tab and Resume go on without the file', async () => {
    const path = await begin('signed out', 2 * MIB);
    await sent(page, 15);
    server.sql('DELETE FROM sessions');
    await text(page).filter({ hasText: /^You are signed out\. \d+ % is sent and kept/ }).waitFor();
    await axe(page);
    const opened = page.context().waitForEvent('page');
    await bar(page).getByRole('link', { name: 'Sign in in a new tab' }).click();
    const tab = await opened;
    await tab.waitForURL(/sign-in/);
    await submitSignIn(tab);
    await tab.waitForURL(/\/images/);
    await throttle(page, 0);
    const resume = button(page, 'Resume');
    if (await resume.isVisible()) await resume.click().catch(() => {});
    await arrived(page);
    await tab.close();
    await client.signIn();
    assert.equal((await state(path)).status, 'available');
  });

  test('UX 28, 53: the tray follows through the console, with its controls; several uploads run side by side', async () => {
    const first = await begin('side one', MIB);
    const { image: second } = await client.createRecord({ name: 'side two', iso });
    // Soft: the document stays.
    await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Images', exact: true }).click();
    await main(page).getByRole('link', { name: 'side two' }).click();
    await main(page).getByLabel('Image file').setInputFiles(iso);
    await main(page).getByRole('button', { name: 'Send the file' }).click();
    await text(page).waitFor();
    await tray(page).getByRole('link', { name: 'side one' }).waitFor();
    await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Settings', exact: true }).click();
    await main(page).getByRole('heading', { level: 1, name: 'Settings' }).waitFor();
    assert.equal(await tray(page).getByRole('progressbar').count(), 2);
    await tray(page).getByText('2 uploads').waitFor();
    const group = tray(page).getByRole('group', { name: /side two/ });
    await group.getByRole('button', { name: 'Pause' }).press('Enter');
    await tray(page).getByText(/^Paused at/).waitFor();
    await axe(page);
    await screenshot(page, 'tray');
    for (const [theme, width] of [['dark', 1280], ['light', 320], ['dark', 320]]) {
      await page.emulateMedia({ colorScheme: theme });
      await page.setViewportSize({ width, height: 800 });
      await axe(page, `the tray, ${theme}, ${width} px`);
      await onlyTablesScroll(page);
    }
    await page.setViewportSize({ width: 1280, height: 900 });
    await page.emulateMedia({ colorScheme: 'light' });
    const summary = tray(page).locator('summary').filter({ hasText: 'Transfers' });
    await summary.press('Enter');
    assert.equal(await group.isVisible(), false, 'folded away');
    await summary.press('Enter');
    await group.getByRole('button', { name: 'Resume' }).press('Enter');
    await throttle(page, 0);
    for (const path of [first, second]) await until(`${path} to arrive`, async () => (await state(path)).status === 'available', 60_000);
    await tray(page).getByText(/has arrived/).first().waitFor();
    noCspViolations(page);
  });

  test('UX 53: without a secure context the proof is computed by the page, and the page says that it takes longer', async () => {
    const plain = await launch(['--host-resolver-rules=MAP vmimg.test 127.0.0.1']);
    try {
      const there = { url: server.url.replace('127.0.0.1', 'vmimg.test') }, at = await newPage(plain, there);
      await signIn(at);
      assert.equal(await at.evaluate(() => isSecureContext), false);
      // Made there: it is another device than the client's.
      await at.goto('/images/new');
      await fillGeneral(at, { name: 'plain http' });
      await fillConfiguration(at, { iso, storage: 'isos', os: 'Debian 13 (trixie)' });
      await throttle(at, 3 * MIB);
      await create(at, {});
      const image = new URL(at.url()).pathname;
      await sent(at, 50);
      at.once('dialog', (dialog) => dialog.accept());
      await at.reload();
      await throttle(at, 0);
      await waitForStatus(at, image, 'Pending', 70_000);
      await at.evaluate(() => {
        globalThis.seen = new Set();
        new MutationObserver(() => globalThis.seen.add(document.querySelector('[data-progress-text]')?.textContent)).observe(document, { subtree: true, childList: true, characterData: true });
      });
      await at.getByLabel('Choose the file and go on').setInputFiles(iso);
      await arrived(at);
      assert.ok((await at.evaluate(() => [...globalThis.seen])).some((words) => /Comparing the file with what was sent: .*takes longer here, because the page was not opened by https/.test(words)));
      // The browser itself says which of our headers it cannot follow without https.
      assert.deepEqual(faultsOf(at).filter((fault) => !/Cross-Origin-Opener-Policy header has been ignored/.test(fault)), []);
    } finally { await plain.close(); }
  });

  test('UX 33: the page gives a ready-made command for another machine, with a button that copies it', async () => {
    const path = await begin('handed over', 2 * MIB);
    await sent(page, 20);
    await button(page, 'Pause').click();
    page.once('dialog', (dialog) => dialog.accept());
    await page.reload();
    await throttle(page, 0);
    await waitForStatus(page, path, 'Pending', 70_000);
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await cause(page).getByRole('button', { name: 'Go on from another machine' }).click();
    const dialog = page.getByRole('dialog', { name: 'Go on from another machine' });
    const command = (await dialog.locator('#hand-over-command').innerText()).trim();
    assert.match(command, /curl /);
    assert.match(await dialog.innerText(), /Any other tus client works as well/);
    await axe(page);
    await screenshot(page, 'upload-handover');
    await dialog.getByRole('button', { name: 'Copy command' }).click();
    assert.equal((await page.evaluate(() => navigator.clipboard.readText())).trim(), command);
    // e2e/acceptance.test.mjs runs it with the right file.
    const there = join(server.folder, 'there'), { offset } = await state(path);
    mkdirSync(there);
    copyFileSync(other(MIB), join(there, 'large.iso'));
    const ran = spawnSync('sh', ['-c', command], { cwd: there, encoding: 'utf8' });
    assert.deepEqual([ran.status, ran.stdout, ran.stderr], [1, '', 'large.iso is another file\n']);
    assert.equal((await state(path)).offset, offset, 'nothing was sent');
    await page.keyboard.press('Escape');
    for (const [theme, width] of [['dark', 1280], ['light', 320], ['dark', 320]]) {
      await page.emulateMedia({ colorScheme: theme });
      await page.setViewportSize({ width, height: 800 });
      await axe(page, `an upload that stopped, ${theme}, ${width} px`);
      await onlyTablesScroll(page);
    }
    await page.setViewportSize({ width: 1280, height: 900 });
    await cause(page).getByRole('button', { name: 'Start again' }).click();
    const question = page.getByRole('dialog', { name: 'Start again from the beginning?' });
    assert.match(await question.innerText(), /of 24\.\d MiB that the storage holds are thrown away/);
    await question.getByRole('button', { name: 'Start again' }).click();
    await main(page).getByLabel('Image file').setInputFiles(iso);
    await main(page).getByRole('button', { name: 'Send the file' }).click();
    await arrived(page);
  });

  test('UX 33, 53: without scripts the page says the same, and the plain form sends the whole file', async () => {
    const path = await begin('without scripts', 2 * MIB);
    await sent(page, 20);
    await button(page, 'Pause').click();
    await until('it to be Pending', async () => (await state(path)).status === 'pending');
    const plain = await signedInPage(browser, client, { javaScript: false });
    await plain.goto(path);
    assert.match(await cause(plain).innerText(), /\d+ % received[\s\S]*are kept until[\s\S]*Without scripts the whole file is sent again/);
    const again = main(plain).getByRole('button', { name: 'Throw them away and start again' });
    assert.equal(await again.isVisible(), false, 'not with one press');
    await main(plain).locator('summary', { hasText: 'Start again' }).click();
    await again.waitFor();
    assert.match(await cause(plain).innerText(), /The [\d.]+( MiB)? of 24\.\d MiB that the storage holds are thrown away/);
    await main(plain).getByRole('button', { name: 'Go on from another machine' }).click();
    await plain.getByRole('heading', { level: 1, name: 'Go on from another machine' }).waitFor();
    assert.match(await main(plain).innerText(), /curl [\s\S]*works until \d+ \w+ \d{4}/);
    await main(plain).getByRole('link', { name: 'Back to the image' }).click();
    await main(plain).getByLabel('Image file').setInputFiles(iso);
    await main(plain).getByRole('button', { name: 'Send the file' }).click();
    await waitForStatus(plain, path, 'Available', 40_000);
    assert.equal((await plain.locator('#sha256').innerText()).trim(), sha);
    await plain.context().close();
  });

  test('UX 57: a file with another digest than the expected is refused at its end, with both; nothing is kept, and the right digest mends it', async () => {
    const wrong = '0'.repeat(64);
    await page.goto('/images/new');
    await fillGeneral(page, { name: 'another digest' });
    await page.getByLabel('Expected digest').fill(`${'1'.repeat(64)}  other.iso\n${wrong} *large.iso\n`);
    await fillConfiguration(page, { iso, storage: 'isos', os: 'Debian 13 (trixie)' });
    await create(page, {});
    const path = new URL(page.url()).pathname, refusal = main(page).locator('[data-upload-refused]');
    await refusal.filter({ hasText: `The file that arrived has the SHA-256 ${sha}, not the expected ${wrong}.` }).waitFor({ timeout: 60_000 });
    assert.ok(await refusal.evaluate((el) => el === document.activeElement), 'the refusal has the focus');
    await waitForStatus(page, path, 'Pending');
    assert.match(await cause(page).innerText(), new RegExp(`The file was refused\\.[\\s\\S]*not the expected ${wrong}[\\s\\S]*Nothing of it was kept\\. Choose another file, or delete the image`));
    assert.equal((await state(path)).offset, 0);
    assert.equal(server.sql(`SELECT reserved_bytes FROM images WHERE id = '${path.split('/').pop()}'`), '0', 'and no space promised');
    await axe(page);
    await main(page).locator('summary', { hasText: 'Change the expected digest' }).press('Enter');
    await page.getByLabel('SHA-256, SHA-512, or a whole checksum list').fill(`SHA256 (large.iso) = ${sha}`);
    await main(page).getByRole('button', { name: 'Compare' }).click();
    await flash(page).filter({ hasText: 'is kept. It is compared as soon as that can be.' }).waitFor();
    await main(page).getByLabel('Image file').setInputFiles(iso);
    await main(page).getByRole('button', { name: 'Send the file' }).click();
    await arrived(page);
    await main(page).getByText('verified: the file has it').waitFor();
    noCspViolations(page);
  });

  test('UX 57: a digest pasted after the upload marks the image: SHA-256 at once, SHA-512 when the file has been read', async () => {
    const path = await client.createImage({ name: 'digest afterwards', iso }), sha512 = createHash('sha512').update(readFileSync(iso)).digest('hex');
    await page.goto(path);
    const digest = main(page).locator('dt', { hasText: 'Expected digest' }).locator('+ dd');
    assert.match(await digest.innerText(), /^none given/);
    const paste = async (text) => {
      await digest.locator('summary').press('Enter');
      await digest.getByLabel('SHA-256, SHA-512, or a whole checksum list').fill(text);
      await digest.getByRole('button', { name: 'Compare' }).click();
      await flash(page).waitFor();
    };
    await paste('2'.repeat(64));
    await flash(page).filter({ hasText: 'has another digest than the expected one' }).waitFor();
    await digest.getByText('mismatch: the file has another one').waitFor();
    await axe(page);
    await paste(`${sha}  large.iso`);
    await flash(page).filter({ hasText: 'has the expected digest' }).waitFor();
    await digest.getByText('verified: the file has it').waitFor();
    for (const [text, word] of [['3'.repeat(128), 'mismatch: the file has another one'], [sha512, 'verified: the file has it']]) {
      await paste(text);
      await until(`“${word}”`, async () => { await page.goto(path); return (await digest.innerText()).includes(word); });
    }
    assert.equal(await page.locator('h1 .status').innerText(), 'Available', 'a digest that does not fit takes nothing away');
    noCspViolations(page);
  });

  test('UX 57: a storage that is full in mid-upload is said, with what is kept; when there is room again, Resume goes on', async () => {
    // No space can be claimed beforehand, and other hands fill what is there.
    const place = server.place('small'), disk = mountDisk(join(server.folder, 'small.disk'), place, 160 * MIB, { claims: false });
    try {
      await client.addStorage({ name: 'small', path: place });
      const { image } = await client.createRecord({ name: 'no room left', iso, storage: 'small' });
      await page.goto(image);
      await main(page).getByLabel('Image file').setInputFiles(iso);
      await main(page).locator('[data-file-note][data-state=good]').waitFor();
      await throttle(page, 2 * MIB);
      await main(page).getByRole('button', { name: 'Send the file' }).click();
      await sent(page, 20);
      const filler = join(place, 'filler');
      assert.throws(() => writeFileSync(filler, Buffer.alloc(160 * MIB)), /ENOSPC/);
      await text(page).filter({ hasText: /full.*\d+ % is sent and kept/i }).waitFor();
      await axe(page);
      const { offset } = await state(image);
      assert.ok(offset > 0, 'what was sent is kept');
      rmSync(filler);
      await throttle(page, 0);
      // The service knows of the room from its next look at the storage.
      await until('Resume to be taken', async () => {
        if (await button(page, 'Resume').isVisible()) await button(page, 'Resume').click({ timeout: 1000 }).catch(() => {});
        return (await state(image)).status === 'available';
      }, 90_000);
      await arrived(page);
      noCspViolations(page);
      await client.send(`${image}/deletion`, {}, /deletion/);
    } finally { disk.stop(); }
  });
});
