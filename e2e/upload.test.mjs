// Bytes on their way: progress, what happens at the end, refusals with their numbers, interruption, five gigabytes.
import assert from 'node:assert/strict';
import { readdirSync, rmSync, statfsSync, truncateSync, writeFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  axe, chooseSystem, create, createInBrowser, fillConfiguration, fileField, fillGeneral, flash, launch, main, makeIso, noCspViolations, screenshot,
  sha256, sha256sum, signedInPage, sleep, startConsole, storageChoice, throttle, until, waitForStatus,
} from './support.mjs';

const GIB = 2 ** 30;
const cause = (page) => main(page).locator('#cause');
const parts = (folder) => readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => entry.name);

describe('uploads', () => {
  let server, client, browser, page;
  before(async () => {
    ({ server, client } = await startConsole());
    browser = await launch();
    page = await signedInPage(browser, client);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  test('UX 56, 28, 20: progress with bytes, per cent, speed and time; Checking the file… last; then Available; the session is kept', async () => {
    const iso = makeIso(join(server.folder, 'slow.iso'), { mib: 24 });
    // The clock can be put forward, so that the session seems about to end: a running upload must keep it.
    await page.addInitScript(() => {
      const now = Date.now;
      globalThis.ahead = 0;
      Date.now = () => now() + globalThis.ahead;
    });
    let extended = 0;
    page.on('request', (request) => { if (request.url().endsWith('/session/extension')) extended++; });
    await page.goto('/images/new');
    await fillGeneral(page, { name: 'slow one' });
    await fillConfiguration(page, { iso, storage: 'isos', os: 'Debian 13 (trixie)' });
    await throttle(page, 2_000_000);
    await page.evaluate(() => {
      globalThis.ahead = 28 * 60_000;
      globalThis.words = new Set();
      globalThis.titles = new Set();
      new MutationObserver(() => {
        const text = document.querySelector('[data-progress-text]')?.textContent;
        if (text) globalThis.words.add(text);
        globalThis.titles.add(document.title);
      }).observe(document, { subtree: true, childList: true, characterData: true });
    });
    await create(page, {});
    const path = new URL(page.url()).pathname;
    const text = main(page).locator('[data-progress-text]');
    await text.filter({ hasText: /[\d.]+ of 24(\.\d)? MiB · \d+ % · [\d.]+ [KM]iB\/s · about \d+ s left/ }).waitFor();
    assert.equal(await main(page).getByRole('progressbar', { name: 'Upload' }).count(), 1, 'the bar has a name');
    assert.match(await page.title(), /^\d+ % – slow one/);
    await axe(page);
    await page.locator('h1 .status', { hasText: 'Available' }).waitFor({ timeout: 60_000 });
    const words = await page.evaluate(() => [...globalThis.words]);
    assert.ok(words.some((word) => word === 'Checking the file…') || (await page.evaluate(() => [...globalThis.titles])).some((title) => title.startsWith('Checking')), `the last phase is told: ${words.slice(-3)}`);
    assert.ok(extended > 0, 'the session was kept alive');
    assert.match(await page.title(), /^slow one – Images – vmimg$/);
    assert.equal((await page.locator('#sha256').innerText()).trim(), await sha256(iso));
    await throttle(page, 0);
    await page.evaluate(() => { globalThis.ahead = 0; });
    assert.equal(new URL(page.url()).pathname, path);
  });

  test('UX 28: an upload goes on while the person moves through the console, and the tray shows it', async () => {
    const iso = makeIso(join(server.folder, 'moving.iso'), { mib: 16 });
    await page.goto('/images/new');
    await fillGeneral(page, { name: 'moving about' });
    await fillConfiguration(page, { iso, storage: 'isos', os: 'Debian 13 (trixie)' });
    await throttle(page, 2_000_000);
    await create(page, {});
    const path = new URL(page.url()).pathname;
    for (const name of ['Datastores', 'Settings', 'Images']) {
      await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name, exact: true }).click();
      await main(page).getByRole('heading', { level: 1 }).filter({ hasText: name }).waitFor();
      await page.getByRole('complementary', { name: 'Transfers' }).getByText(/\d+ %/).first().waitFor();
    }
    await axe(page);
    await until('it to arrive', async () => /Available/.test(await client.page(path)), 60_000);
    await page.getByRole('complementary', { name: 'Transfers' }).getByText(/has arrived/).waitFor();
    await throttle(page, 0);
    assert.equal((await client.page(path)).match(/id="sha256">([0-9a-f]{64})/)[1], sha256sum(iso));
  });

  test('UX 33, 56: cancelled, it is Pending, says so, keeps no bytes, and takes the file again', async () => {
    const iso = makeIso(join(server.folder, 'fedora-43-server.iso'), { mib: 16, label: 'FEDORA_43' });
    await page.goto('/images/new');
    await fillGeneral(page, { name: 'fedora-43-server' });
    await fillConfiguration(page, { iso, storage: 'isos', os: 'Fedora 43 Server' });
    await throttle(page, 1_500_000);
    await create(page, {});
    const path = new URL(page.url()).pathname;
    await main(page).locator('[data-progress-text]').filter({ hasText: /left/ }).waitFor();
    await screenshot(page, 'upload-running');
    await main(page).getByRole('button', { name: 'Cancel upload' }).click();
    const question = page.getByRole('dialog', { name: /Cancel this upload/ });
    assert.match(await question.innerText(), /MiB|KiB|bytes/, 'says what happens to the part that was sent');
    await axe(page);
    await question.getByRole('button', { name: 'Keep sending' }).click();
    await main(page).getByRole('button', { name: 'Cancel upload' }).click();
    await question.getByRole('button', { name: 'Cancel upload' }).click();
    await throttle(page, 0);
    await waitForStatus(page, path, 'Pending');
    assert.match(await cause(page).innerText(), /cancelled|interrupted/i);
    await until('the part to be dropped', () => !parts(join(server.roots, 'isos')).some((name) => name.includes(path.split('/').pop())));
    await main(page).getByLabel('Image file').setInputFiles(iso);
    await main(page).getByRole('button', { name: 'Send the file' }).click();
    await page.locator('h1 .status', { hasText: 'Available' }).waitFor();
    assert.equal((await page.locator('#sha256').innerText()).trim(), sha256sum(iso));
  });

  test('UX 56: what turns out to be wrong at the end leaves the image Pending, with the reason and both ways out', async () => {
    // The head is fine, the end carries the footer of a VHD disk image.
    const iso = makeIso(join(server.folder, 'late.iso'), { mib: 2 });
    const record = await client.createRecord({ name: 'refused late', iso });
    const bytes = readFileSync(iso);
    const footer = Buffer.alloc(512);
    footer.write('conectix');
    const bad = join(server.folder, 'bad', 'late.iso');
    makeIso(bad);
    writeFileSync(bad, Buffer.concat([bytes.subarray(0, bytes.length - 512), footer]));
    const answer = await client.upload(record.content, bad).finish();
    assert.ok(answer.status >= 400, `refused: ${answer.status}`);
    await waitForStatus(page, record.image, 'Pending');
    assert.match(await cause(page).innerText(), /refused[\s\S]*VHD|VHD[\s\S]*refused|looks like/i);
    assert.match(await cause(page).innerText(), /Choose another file, or delete/i);
    await main(page).getByRole('link', { name: 'Delete' }).waitFor();
    await main(page).getByLabel('Image file').setInputFiles(iso);
    await main(page).getByRole('button', { name: 'Send the file' }).click();
    await page.locator('h1 .status', { hasText: 'Available' }).waitFor();
  });

  test('UX 56, 33: a connection that breaks leaves it Pending with the cause; without scripts its page takes the file too', async () => {
    const iso = makeIso(join(server.folder, 'broken.iso'), { mib: 2 });
    const record = await client.createRecord({ name: 'broken off', iso });
    const upload = client.upload(record.content, iso);
    await upload.send(700_000);
    await sleep(500);
    upload.break();
    const plain = await signedInPage(browser, client, { javaScript: false });
    await waitForStatus(plain, record.image, 'Pending');
    assert.match(await cause(plain).innerText(), /interrupted[\s\S]*connection was lost/i);
    await main(plain).getByRole('button', { name: 'Send the file' }).click();
    await plain.locator('.error-summary, [role=alert]').first().waitFor();
    await plain.goto(record.image);
    await main(plain).getByLabel('Image file').setInputFiles(iso);
    await main(plain).getByRole('button', { name: 'Send the file' }).click();
    await waitForStatus(plain, record.image, 'Available');
    await plain.context().close();
  });

  test('UX 53: leaving the page while it sends asks first', async () => {
    const iso = makeIso(join(server.folder, 'leaving.iso'), { mib: 12 });
    await page.goto('/images/new');
    await fillGeneral(page, { name: 'leaving' });
    await fillConfiguration(page, { iso, storage: 'isos', os: 'Debian 13 (trixie)' });
    await throttle(page, 1_500_000);
    await create(page, {});
    await main(page).locator('[data-progress-text]').waitFor();
    await main(page).getByRole('heading', { level: 2 }).first().click();
    const asked = page.waitForEvent('dialog');
    page.reload().catch(() => {});
    const dialog = await asked;
    assert.equal(dialog.type(), 'beforeunload');
    await dialog.dismiss();
    await page.locator('h1 .status', { hasText: 'Available' }).waitFor({ timeout: 40_000 });
    await throttle(page, 0);
  });

  test('UX 57: a storage that is removed meanwhile ends the upload with its own sentence', async () => {
    const storage = await client.addStorage({ name: 'short-lived' });
    const iso = makeIso(join(server.folder, 'removed.iso'), { mib: 4 });
    const record = await client.createRecord({ name: 'on a removed one', iso, storage: 'short-lived' });
    const upload = client.upload(record.content, iso);
    await upload.send(1_500_000);
    await waitForStatus(page, record.image, /^Uploading/);
    await page.goto(`${storage}/removal`);
    await main(page).getByRole('button', { name: /Remove/ }).click();
    await flash(page).waitFor();
    const answer = await upload.finish();
    if (answer.status) assert.match(answer.text, /storage.*removed/i);
    await waitForStatus(page, record.image, 'File unavailable');
    await client.addStorage({ name: 'short-lived' });
    await waitForStatus(page, record.image, 'Pending');
    assert.match(await cause(page).innerText(), /storage was removed during the upload/i);
  });

  test('UX 57: a storage without room says what is needed and what is free, with scripts and without', async () => {
    // Nearly all that is free is promised to another image, which is not sent.
    // The service looks every three seconds; what earlier tests removed must have been seen.
    await new Promise((resolve) => { setTimeout(resolve, 5000); });
    const { bavail, bsize } = statfsSync(server.roots);
    const small = makeIso(join(server.folder, 'promised.iso'));
    const big = Math.min(bavail * bsize - 2 * GIB, 60 * GIB);
    const left = bavail * bsize - big;
    const record = await client.createRecord({ name: 'promised', iso: small, size: big });
    const iso = makeIso(join(server.folder, 'too-big.iso'), { bytes: Math.min(Math.ceil((left + GIB) / 2048) * 2048, 63 * GIB) });
    const says = /(too small: [\d.]+ [GT]iB needed, [\d.]+ [KMG]iB free|Full: )/i;
    await page.goto('/images/new');
    await fillGeneral(page, { name: 'no room' });
    await fileField(page).setInputFiles(iso);
    await main(page).getByText(says).first().waitFor();

    const plain = await signedInPage(browser, client, { javaScript: false });
    await plain.goto('/images/new');
    await fillGeneral(plain, { name: 'no room either' });
    await storageChoice(plain, 'isos').check();
    await chooseSystem(plain, 'Debian 13 (trixie)');
    await main(plain).getByRole('button', { name: /^Continue/ }).click();
    await plain.waitForURL(/\/summary/);
    await fileField(plain).setInputFiles(iso);
    const begun = Date.now();
    await main(plain).getByRole('button', { name: 'Create image' }).click({ timeout: 60_000 });
    await plain.locator('.error-summary, main [role=alert]').filter({ hasText: says }).waitFor({ timeout: 60_000 });
    assert.ok(Date.now() - begun < 20_000, 'answered early in the body');
    assert.equal(server.sql("SELECT count(*) FROM images WHERE name LIKE 'no room%'"), '0', 'no image is left behind');
    await plain.context().close();
    await client.post(`${record.image}/deletion`, { version: server.sql(`SELECT version FROM images WHERE id = '${record.image.split('/').pop()}'`) });
    rmSync(iso);
  });

  test('UX 9: nothing of all that left the origin or broke the content security policy', () => noCspViolations(page));
});

describe('the limit of an upload', () => {
  for (const javaScript of [true, false]) {
    test(`UX 57: a file over the limit is refused with both numbers, scripts ${javaScript ? 'on' : 'off'}`, async () => {
      const { server, client } = await startConsole({ env: { VMIMG_MAX_UPLOAD: '8 MiB' } });
      const browser = await launch();
      try {
        const page = await signedInPage(browser, client, { javaScript });
        const iso = makeIso(join(server.folder, 'over.iso'), { mib: 20 });
        const says = /20(\.\d)? MiB; an image can have at most 8 MiB/;
        await page.goto('/images/new');
        await fillGeneral(page, { name: 'over the limit' });
        if (javaScript) {
          await fileField(page).setInputFiles(iso);
          await main(page).locator('[data-file-note][data-state=bad]').filter({ hasText: says }).waitFor();
        } else {
          await fillConfiguration(page, { storage: 'isos', os: 'Debian 13 (trixie)', javaScript });
          await fileField(page).setInputFiles(iso);
          const answered = page.waitForResponse((response) => response.request().method() === 'POST');
          await main(page).getByRole('button', { name: 'Create image' }).click();
          assert.equal((await answered).status(), 413);
          await page.locator('.error-summary').filter({ hasText: says }).waitFor();
        }
        assert.equal(server.sql('SELECT count(*) FROM images'), '0');
      } finally {
        await browser.close();
        await server.stop();
      }
    });
  }
});

// With scripts e2e/acceptance.test.mjs sends as many.
test('UX 58: five gigabytes arrive through the form without scripts, while the server stays below 200 MB', { timeout: 600_000 }, async () => {
  const { server, client } = await startConsole();
  const browser = await launch();
  try {
    const page = await signedInPage(browser, client, { javaScript: false });
    page.setDefaultTimeout(300_000);
    const iso = makeIso(join(server.folder, 'large.iso'), { mib: 2 });
    truncateSync(iso, 5_000_000_000 - (5_000_000_000 % 2048));
    await createInBrowser(page, { name: 'large', iso, javaScript: false });
    const path = new URL(page.url()).pathname;
    await until('it to be Available', async () => /class="status good"/.test(await client.page(path)), 300_000);
    await page.goto(path);
    assert.equal((await page.locator('#sha256').innerText()).trim(), sha256sum(iso));
    assert.ok(server.mostMemory() < 200e6, `the server needed ${(server.mostMemory() / 1e6).toFixed(0)} MB`);
  } finally {
    await browser.close();
    await server.stop();
  }
});
