// The creation wizard, with scripts and without: steps, errors, file, storage, system, summary, draft.
import assert from 'node:assert/strict';
import { readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  REAL, axe, chooseSystem, create, createInBrowser, expectErrors, fillConfiguration, fileField, fillGeneral, launch, main, makeIso, makeUdf, newPage,
  noCspViolations, screenshot, signIn, signedInPage, startConsole, storageChoice, submitSignIn, until, waitForStatus,
} from './support.mjs';

const go = (page) => main(page).getByRole('button', { name: /^Continue/ }).click();
const errors = (page) => page.locator('.error-summary');

for (const javaScript of [true, false]) {
  describe(`wizard, scripts ${javaScript ? 'on' : 'off'}`, () => {
    let server, client, browser, page;
    before(async () => {
      ({ server, client } = await startConsole());
      await client.addStorage({ name: 'nas' });
      browser = await launch();
      page = await signedInPage(browser, await client.another(), { javaScript });
    });
    after(async () => {
      await browser?.close();
      await server?.stop();
    });

    test('UX 38: three steps in a list, each with an address; later ones are no links, visited ones are; Back works', async () => {
      await page.goto('/images');
      await main(page).getByRole('link', { name: 'Create image' }).first().click();
      await page.waitForURL(/\/images\/new\/[0-9a-f-]{36}\/general$/);
      const steps = main(page).locator('ol').filter({ hasText: 'Configuration' });
      assert.deepEqual((await steps.locator('li').allInnerTexts()).map((text) => text.trim()), ['General', 'Configuration', 'Summary']);
      assert.equal((await steps.locator('[aria-current=step]').innerText()).trim(), 'General');
      assert.match(await main(page).innerText(), /Step 1 of 3/);
      assert.equal(await steps.getByRole('link').count(), 0, 'nothing further can be reached yet');
      await fillGeneral(page, { name: 'steps', note: 'to see the steps' });
      assert.equal((await steps.locator('[aria-current=step]').innerText()).trim(), 'Configuration');
      assert.match(await main(page).innerText(), /Step 2 of 3/);
      if (javaScript) assert.match(await page.evaluate(() => document.activeElement.textContent), /Configuration/, 'the focus is on the heading of the step');
      await steps.getByRole('link', { name: 'General' }).click();
      await page.waitForURL(/\/general/);
      assert.equal(await page.inputValue('[name=name]'), 'steps', 'nothing is asked twice');
      await page.goBack();
      await page.waitForURL(/\/configuration/);
      await page.goBack();
      await page.waitForURL(/\/general/);
      assert.equal(await page.inputValue('[name=note]'), 'to see the steps');
      await page.goto(page.url().replace('/general', '/summary'));
      assert.match(page.url(), /\/configuration$/, 'a step further on leads back to what is missing');
    });

    test('UX 39: the type is chosen with descriptions', async () => {
      await page.goto('/images/new');
      const choice = main(page).getByRole('radio', { name: /Installation image/ });
      await choice.waitFor();
      assert.ok(await choice.isChecked());
      await main(page).getByText(/ISO file on this device, from which an operating system is installed/).waitFor();
    });

    test('UX 40, 41: names and notes are checked on submit only; errors come in a summary and at the field; input is kept', async () => {
      await page.goto('/images/new');
      await page.fill('[name=note]', 'n'.repeat(4_097));
      await page.locator('[name=name]').focus();
      await page.locator('[name=note]').focus();
      assert.equal(await errors(page).count(), 0, 'nothing is said before the form is sent');
      await go(page);
      await expectErrors(page, { name: /Give a name/, note: /4.?097 characters/ });
      assert.equal((await page.inputValue('[name=note]')).length, 4_097);
      if (javaScript) {
        await axe(page);
        await errors(page).getByRole('link', { name: /Give a name/ }).click();
        assert.equal(await page.evaluate(() => document.activeElement.getAttribute('name')), 'name', 'the link leads to the field');
      }
      await page.fill('[name=name]', 'x'.repeat(256));
      await page.fill('[name=note]', 'fine');
      await go(page);
      await expectErrors(page, { name: /256 characters.*255/ });
      await page.fill('[name=name]', `  ${'x'.repeat(255)}  `);
      await go(page);
      await page.waitForURL(/\/configuration/);
      await main(page).getByRole('link', { name: 'General' }).click();
      await page.waitForURL(/\/general/);
      assert.match(await main(page).innerText(), /Note \(optional\)/);
      if (javaScript) {
        await page.fill('[name=note]', 'twelve chars');
        assert.match(await main(page).innerText(), /12 of 4,096 characters/);
      }
    });

    test('UX 40: a name is unique on its storage, whatever its case, and the error links to its holder', async () => {
      const iso = makeIso(join(server.folder, 'taken.iso'));
      const holder = await client.createImage({ name: `Taken ${javaScript}`, iso });
      await page.goto('/images/new');
      await fillGeneral(page, { name: ` tAKEN ${javaScript} ` });
      await storageChoice(page, 'isos').check();
      await chooseSystem(page, 'Debian 13 (trixie)');
      await go(page);
      await errors(page).waitFor();
      assert.match(await errors(page).innerText(), /already/);
      assert.ok(await main(page).locator(`a[href="${holder}"]`).count() >= 1, 'a link to the image that has the name');
      await storageChoice(page, 'nas').check();
      if (!javaScript || await page.locator('#os').inputValue() === '') await chooseSystem(page, 'Debian 13 (trixie)');
      await go(page);
      await page.waitForURL(/\/summary/);
    });

    test('UX 41, 43, 44: storage and system have to be chosen; all that is wrong is told at once', async () => {
      await page.goto('/images/new');
      await fillGeneral(page, { name: 'incomplete' });
      await go(page);
      await expectErrors(page, { storage: /Choose the storage/, os: /Choose the operating system/ });
    });

    test('UX 43: storages are shown with kind, free and total space; a degraded one cannot be chosen and says why', async () => {
      renameSync(join(server.roots, 'nas'), join(server.roots, 'nas-away'));
      try {
        await until('the storage to be degraded', async () => /Degraded/.test(await client.page('/datastores')));
        await page.goto('/images/new');
        await fillGeneral(page, { name: 'where to' });
        const healthy = main(page).locator('.pick label', { has: page.getByText('isos', { exact: true }) });
        assert.match(await healthy.innerText(), /[\d.]+ [KMGT]iB( of [\d.]+ [KMGT]iB)? free/);
        assert.match(await healthy.innerText(), /Local storage/);
        const degraded = main(page).locator('.pick label', { has: page.getByText('nas', { exact: true }) });
        assert.ok(await degraded.locator('input').isDisabled());
        assert.match(await degraded.innerText(), /Datastore/);
        assert.match(await degraded.innerText(), /Degraded since .*nothing at/is);
        if (javaScript) {
          await fileField(page).setInputFiles(REAL.grub);
          await main(page).locator('[data-file-note][data-state=good]').waitFor();
          await axe(page);
          await screenshot(page, 'wizard-configuration');
        }
      } finally {
        renameSync(join(server.roots, 'nas-away'), join(server.roots, 'nas'));
      }
      await until('the storage to be healthy', async () => !/Degraded/.test(await client.page('/datastores')));
    });

    test('UX 44: a system brings its least requirements, which can be raised and not lowered; Other frees them', async () => {
      await page.goto('/images/new');
      await fillGeneral(page, { name: 'needs' });
      await storageChoice(page, 'isos').check();
      await chooseSystem(page, 'Windows 11');
      if (javaScript) {
        assert.equal(await page.inputValue('[name=min_vcpu]'), '2');
        assert.equal(await page.inputValue('[name=min_memory_mib]'), '4096');
        assert.equal(await page.inputValue('[name=min_disk_gib]'), '64');
      }
      assert.match(await main(page).innerText(), /MiB[\s\S]*GiB/, 'with their units');
      await page.fill('[name=min_vcpu]', '1');
      await page.fill('[name=min_memory_mib]', '4096');
      await page.fill('[name=min_disk_gib]', 'much');
      await go(page);
      await expectErrors(page, { min_vcpu: /Windows 11 needs at least 2/, min_disk_gib: /whole number of GiB/ });
      await page.fill('[name=min_vcpu]', '4');
      await page.fill('[name=min_disk_gib]', '');
      await go(page);
      await page.waitForURL(/\/summary/);
      assert.match(await main(page).innerText(), /4 vCPU · 4 GiB memory · 64 GiB disk/);
      await main(page).getByRole('link', { name: /Change operating system/i }).click();
      await page.waitForURL(/\/configuration/);
      await chooseSystem(page, 'Other');
      for (const [field, value] of [['min_vcpu', '1'], ['min_memory_mib', '100'], ['min_disk_gib', '0']]) {
        assert.ok(await page.locator(`[name=${field}]`).isVisible(), `Other shows ${field}`);
        await page.fill(`[name=${field}]`, value);
      }
      await go(page);
      await page.waitForURL(/\/summary/);
      assert.match(await main(page).innerText(), /Other[\s\S]*1 vCPU · 100 MiB memory · 0 GiB disk/);
    });

    test('UX 46: the summary has every answer, Not provided for blanks, and Change leads there and back', async () => {
      await page.goto('/images/new');
      await fillGeneral(page, { name: 'summed up' });
      await fillConfiguration(page, { storage: 'nas', os: 'Debian 12 (bookworm)', javaScript: false });
      const answers = Object.fromEntries(await main(page).locator('.summary-list > div').evaluateAll((rows) => rows.map((row) => [row.querySelector('dt').innerText.trim(), row.querySelector('dd').innerText.trim()])));
      assert.equal(answers.Name, 'summed up');
      assert.equal(answers.Note, 'Not provided');
      assert.equal(answers.Type, 'Installation image');
      assert.match(answers['Save image to'], /nas/);
      assert.match(answers['Operating system'], /Debian 12/);
      await main(page).getByRole('link', { name: /Change name/i }).click();
      await page.waitForURL(/\/general/);
      await page.fill('[name=name]', 'summed up again');
      await go(page);
      await page.waitForURL(/\/summary/);
      assert.match(await main(page).innerText(), /summed up again/, 'and returns to the summary');
      await main(page).getByRole('button', { name: 'Create image' }).waitFor();
    });

    test('UX 47: the draft outlives reloading, signing out and a day; another device goes on with it', async () => {
      await page.goto('/images/new');
      await fillGeneral(page, { name: 'long-lived', note: 'kept' });
      await storageChoice(page, 'nas').check();
      await chooseSystem(page, 'Debian 13 (trixie)');
      await go(page);
      await page.waitForURL(/\/summary/);
      const summary = new URL(page.url()).pathname;
      await page.reload();
      assert.match(await main(page).innerText(), /long-lived/);
      const day = 23.9 * 3600 * 1e6;
      server.sql(`UPDATE drafts SET created_at = created_at - ${day}, updated_at = updated_at - ${day}`);
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.waitForURL(/\/sign-in/);
      await signIn(page, { next: summary });
      assert.equal(new URL(page.url()).pathname, summary);
      assert.match(await main(page).innerText(), /long-lived[\s\S]*kept[\s\S]*nas/);
    });

    test('UX 47: Cancel asks only where something would be lost', async () => {
      await page.goto('/images/new');
      await main(page).getByRole('link', { name: 'Cancel' }).click();
      await page.waitForURL(/\/images$/);
      await page.goto('/images/new');
      await fillGeneral(page, { name: 'given up' });
      const draft = new URL(page.url()).pathname.replace('/configuration', '');
      await main(page).getByRole('link', { name: 'Cancel' }).click();
      await page.waitForURL(/\/cancel$/);
      await main(page).getByRole('link', { name: /Go on/ }).click();
      await page.waitForURL(/\/general/);
      assert.equal(await page.inputValue('[name=name]'), 'given up');
      await page.goto(`${draft}/cancel`);
      await main(page).getByRole('button', { name: 'Give up' }).click();
      await page.waitForURL(/\/images$/);
      await page.goto(`${draft}/general`);
      assert.equal(await page.inputValue('[name=name]'), '', 'nothing of it is kept');
    });

    test('UX 42, 57: what is no installation medium is refused with the reason, before the bulk of it is sent', async () => {
      const made = (name, bytes) => { const path = join(server.folder, name); writeFileSync(path, bytes); return path; };
      const good = readFileSync(makeIso(join(server.folder, 'good.iso'), { kib: 512 }));
      const cut = good.subarray(0, 100_000);
      const polyglot = Buffer.from(good);
      Buffer.from('QFI\xfb\0\0\0\x03', 'latin1').copy(polyglot, 0);
      const refused = [
        [made('notes.txt', 'hello'), /\.iso/],
        [made('packed.iso.xz', good), /\.iso|unpack/i],
        [made('empty.iso', ''), /empty/i],
        [made('text.iso', 'This is no image. '.repeat(10_000)), /not an installation image|ISO 9660 or UDF/],
        [made('cut.iso', cut), /has .*bytes.*at least|cut off/i],
        [made('polyglot.iso', polyglot), /qcow2/],
      ];
      const before = server.sql('SELECT count(*) FROM images');
      await page.goto('/images/new');
      await fillGeneral(page, { name: 'refused' });
      if (javaScript) {
        for (const [path, why] of refused) {
          await fileField(page).setInputFiles(path);
          const note = main(page).locator('[data-file-note]');
          await main(page).locator('[data-file-note][data-state=bad]').filter({ hasText: why }).waitFor();
          assert.match(await note.innerText(), why, path);
        }
        await storageChoice(page, 'isos').check();
        await chooseSystem(page, 'Debian 13 (trixie)');
        await go(page);
        await expectErrors(page, { file: /qcow2/ });
        await axe(page);
      } else {
        await fillConfiguration(page, { storage: 'isos', os: 'Debian 13 (trixie)', javaScript: false });
        for (const [path, why] of [[null, /Choose a file/], ...refused]) {
          if (path) await fileField(page).setInputFiles(path);
          await main(page).getByRole('button', { name: 'Create image' }).click();
          await errors(page).filter({ hasText: why }).waitFor();
          assert.match(page.url(), /\/images\/new\//);
          assert.match(await main(page).innerText(), /refused/, 'the answers are still there');
        }
        await expectErrors(page, { file: /qcow2/ });
      }
      assert.equal(server.sql('SELECT count(*) FROM images'), before, 'no image is left behind');
    });

    test('UX 42: media of every kind are taken: hybrid, UDF alone, both, small, extension in capitals', async () => {
      const bridge = makeIso(join(server.folder, 'BRIDGE.ISO'), { label: 'BRIDGE' });
      for (const [name, iso] of Object.entries({ grub: REAL.grub, ipxe: REAL.ipxe, udf: makeUdf(join(server.folder, 'udf.iso')), capitals: bridge })) {
        const path = await createInBrowser(page, { name: `${name} ${javaScript}`, iso, javaScript });
        await waitForStatus(page, path, 'Available');
      }
    });

    test('UX 48: after Create the image is there, can be bookmarked at once, and ends Available', async () => {
      const iso = makeIso(join(server.folder, 'bookmark.iso'), { mib: 2 });
      const path = await createInBrowser(page, { name: `bookmark ${javaScript}`, iso, javaScript });
      const elsewhere = await client.fetch(path);
      assert.equal(elsewhere.status, 200, 'its address answers');
      const status = (await main(page).locator('h1 .status').innerText()).trim();
      assert.match(status, /^(Pending|Uploading \d+ %|Available)$/);
      await waitForStatus(page, path, 'Available');
      assert.match(await page.title(), new RegExp(`^bookmark ${javaScript} – Images – vmimg$`));
    });

    test('UX 11: a wizard makes one image, also when its form is sent twice or sent again from the page before', async () => {
      const iso = makeIso(join(server.folder, 'once.iso'));
      await page.goto('/images/new');
      await fillGeneral(page, { name: `once ${javaScript}` });
      await fillConfiguration(page, { iso, storage: 'isos', os: 'Debian 13 (trixie)', javaScript });
      const summary = new URL(page.url()).pathname;
      if (javaScript) await screenshot(page, 'wizard-summary');
      if (!javaScript) await fileField(page).setInputFiles(iso);
      await main(page).getByRole('button', { name: 'Create image' }).dblclick();
      await page.waitForURL(/\/images\/[0-9a-f-]{36}$/);
      const path = new URL(page.url()).pathname;
      await waitForStatus(page, path, 'Available');
      await page.goto(summary);
      assert.equal(new URL(page.url()).pathname, path, 'the draft leads to its image');
      await page.goto(`/images?q=${encodeURIComponent(`once ${javaScript}`)}`);
      assert.equal(await main(page).locator('tbody tr').count(), 1);
    });

    test('UX 19, 47: when the session ends in the wizard, signing in leads back to the form with what was typed', async () => {
      await page.goto('/images/new');
      await page.fill('[name=name]', 'typed before');
      await page.fill('[name=note]', 'and this');
      server.sql('UPDATE sessions SET seen_at = seen_at - 86400000000, created_at = created_at - 86400000000');
      await go(page);
      if (javaScript) {
        // The document is kept, because it may hold a file: signing in happens in another tab.
        await errors(page).filter({ hasText: /signed out|session has ended/i }).waitFor();
        const second = await newPage(browser, server, { context: page.context() });
        await second.goto(await errors(page).getByRole('link').first().getAttribute('href'));
        await submitSignIn(second);
        await second.waitForURL((url) => !url.pathname.startsWith('/sign-in'));
        await second.close();
        await go(page);
      } else {
        await page.locator('[name=password]').waitFor();
        assert.match(await main(page).innerText(), /session has ended/i);
        await submitSignIn(page);
        await page.getByRole('button', { name: 'Continue' }).click();
      }
      await page.waitForURL(/\/configuration/);
      await main(page).getByRole('link', { name: 'General' }).click();
      await page.waitForURL(/\/general/);
      assert.equal(await page.inputValue('[name=name]'), 'typed before');
      assert.equal(await page.inputValue('[name=note]'), 'and this');
      await client.signIn();
    });

    test('UX 9: nothing of all that left the origin or broke the content security policy', () => noCspViolations(page));
  });
}

describe('wizard, what only scripts can do', () => {
  let server, client, browser, page;
  before(async () => {
    ({ server, client } = await startConsole({ env: { VMIMG_MAX_UPLOAD: '8 TiB' } }));
    browser = await launch();
    page = await signedInPage(browser, client);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  test('UX 42: at most the first 64 KiB are sent to look at a file', async () => {
    const iso = makeIso(join(server.folder, 'looked-at.iso'), { mib: 3 });
    await page.goto('/images/new');
    await fillGeneral(page, { name: 'looked at' });
    const sizes = [];
    page.on('request', (request) => { if (request.method() === 'POST') sizes.push(request.postDataBuffer()?.length ?? 0); });
    await fileField(page).setInputFiles(iso);
    await main(page).locator('[data-file-note][data-state=good]').waitFor();
    assert.ok(sizes.length >= 1 && sizes.every((size) => size <= 65_536), `sent: ${sizes}`);
    const text = await main(page).locator('.drop').innerText();
    assert.match(text, /looked-at\.iso/, 'name');
    assert.match(text, /3(\.\d)? MiB/, 'size');
    assert.match(text, /VMIMG_TEST/, 'and label are shown');
    await chooseSystem(page, 'Debian 13 (trixie)');
    await go(page);
    await page.waitForURL(/\/summary/);
    assert.match(await main(page).innerText(), /looked-at\.iso/, 'the file stays chosen');
    await axe(page);
    await create(page, {});
    await waitForStatus(page, new URL(page.url()).pathname, 'Available');
  });

  test('UX 42: a file can be dropped; the button does the same by keyboard', async () => {
    // As in browsers that keep no handles of files: the dialog of the others is seen by nobody but its user.
    await page.addInitScript(() => { if (sessionStorage.getItem('no-handles')) globalThis.showOpenFilePicker = undefined; });
    await page.goto('/images');
    await page.evaluate(() => sessionStorage.setItem('no-handles', 'yes'));
    await page.goto('/images/new');
    await fillGeneral(page, { name: 'dropped' });
    const bytes = readFileSync(makeIso(join(server.folder, 'drop.iso'))).toString('base64');
    const data = await page.evaluateHandle((base64) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], 'dropped.iso'));
      return transfer;
    }, bytes);
    await main(page).locator('.drop').dispatchEvent('drop', { dataTransfer: data });
    await main(page).locator('[data-file-note][data-state=good]').waitFor();
    assert.match(await main(page).locator('.drop').innerText(), /dropped\.iso/);
    await fileField(page).focus();
    const chooser = page.waitForEvent('filechooser');
    await page.waitForTimeout(300);
    await page.keyboard.press('Space');
    await (await chooser).setFiles(REAL.ipxe);
    await main(page).locator('.drop', { hasText: 'ipxe.iso' }).waitFor();
    await page.evaluate(() => sessionStorage.removeItem('no-handles'));
  });

  test('UX 42, 43: a file that does not fit says how much is needed and how much is free', async () => {
    const iso = makeIso(join(server.folder, 'huge.iso'));
    truncateSync(iso, 4 * 2 ** 40);
    await page.goto('/images/new');
    await fillGeneral(page, { name: 'huge' });
    await fileField(page).setInputFiles(iso);
    const choice = main(page).locator('.pick label', { has: page.getByText('isos', { exact: true }) });
    await choice.getByText(/too small: 4 TiB needed, [\d.]+ [GM]iB free/i).waitFor();
    assert.ok(await choice.locator('input').isDisabled());
    await chooseSystem(page, 'Debian 13 (trixie)');
    await go(page);
    await errors(page).waitFor();
  });

  test('UX 44: the list of systems can be searched by any word, and used by keyboard alone', async () => {
    await page.goto('/images/new');
    await fillGeneral(page, { name: 'searched' });
    const combo = page.getByRole('combobox', { name: /Operating system/ });
    await combo.focus();
    await page.keyboard.type('server 2022');
    await page.getByRole('option', { name: /Windows Server 2022/ }).waitFor();
    await axe(page);
    await page.keyboard.press('Enter');
    assert.equal(await combo.inputValue(), 'Windows Server 2022');
    await combo.fill('no such system');
    const offered = await page.getByRole('option').allInnerTexts();
    assert.ok(offered.length === 1 && /Other/.test(offered[0]), `Other is always offered: ${offered}`);
    await page.keyboard.press('Escape');
    assert.equal(await combo.inputValue(), 'Windows Server 2022', 'Escape keeps what was chosen');
  });

  test('UX 47: after a reload the file has to be chosen again, and the page says so', async () => {
    await page.goto('/images/new');
    await fillGeneral(page, { name: 'reloaded' });
    await fillConfiguration(page, { iso: REAL.ipxe, storage: 'isos', os: 'iPXE' });
    await page.reload();
    await main(page).getByText(/again/).first().waitFor();
    await main(page).getByRole('button', { name: 'Create image' }).click();
    await errors(page).waitFor();
    await fileField(page).setInputFiles(REAL.ipxe);
    await main(page).locator('[data-file-note][data-state=good]').waitFor();
    await create(page, {});
    await waitForStatus(page, new URL(page.url()).pathname, 'Available');
  });

  test('UX 11: two tabs with the same draft make one image', async () => {
    const iso = makeIso(join(server.folder, 'tabs.iso'));
    await page.goto('/images/new');
    await fillGeneral(page, { name: 'two tabs' });
    await fillConfiguration(page, { iso, storage: 'isos', os: 'Debian 13 (trixie)' });
    const second = await newPage(browser, server, { context: page.context() });
    await second.goto(page.url());
    await fileField(second).setInputFiles(iso);
    await main(second).locator('[data-file-note][data-state=good]').waitFor();
    await create(page, {});
    await waitForStatus(page, new URL(page.url()).pathname, 'Available');
    await main(second).getByRole('button', { name: 'Create image' }).click();
    await until('the second tab to end', async () => /\/images\/[0-9a-f-]{36}$/.test(second.url()) || await errors(second).count() > 0);
    await second.close();
    await page.goto('/images?q=two+tabs');
    assert.equal(await main(page).locator('tbody tr').count(), 1);
    await page.getByRole('row', { name: /two tabs/ }).getByText('Available').waitFor();
  });

  test('UX 9: nothing of all that left the origin or broke the content security policy', () => noCspViolations(page));
});
