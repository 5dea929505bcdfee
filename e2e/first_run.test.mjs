// From nothing to an Available image: the one address that is printed, the set-up page, the wizard, the bytes on the storage.
import assert from 'node:assert/strict';
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  ADMIN, Client, DATABASES, REAL, axe, createInBrowser, expectErrors, faultsOf, filesWithDigest, flash, hasOutline, launch, main, newPage,
  noCspViolations, screenshot, setUp, sha256, sha256sum, startServer, statusOf, waitForStatus,
} from './support.mjs';

for (const database of DATABASES) {
  for (const javaScript of [true, false]) {
    describe(`first run on ${database}, scripts ${javaScript ? 'on' : 'off'}`, () => {
      let server, browser, page;
      before(async () => {
        server = await startServer({ database });
        browser = await launch();
        page = await newPage(browser, server, { javaScript });
      });
      after(async () => {
        await browser?.close();
        await server?.stop();
      });

      test('UX 66: one address is printed; without its code there is no set-up page', async () => {
        assert.ok(server.setupUrl, `an address with a code is printed:\n${server.log}`);
        for (const path of ['/setup', '/setup?code=', '/setup?code=wrong', `${new URL(server.setupUrl).pathname}?code=${'0'.repeat(32)}`]) {
          assert.equal((await new Client(server).fetch(path)).status, 404, path);
        }
        await page.goto('/');
        assert.match(page.url(), /\/sign-in/, 'everything else asks to sign in');
      });

      test('UX 66, 41: what is wrong with the set-up is told at once, and nothing typed is lost', async () => {
        await page.goto(server.setupUrl);
        await hasOutline(page, { signedIn: false });
        if (javaScript) await axe(page);
        await page.fill('[name=name]', '  ');
        await page.fill('[name=email]', 'nobody');
        await page.fill('[name=password]', 'short');
        await page.fill('[name=storage_path]', join(server.roots, 'not-there'));
        await page.getByRole('button', { name: 'Set up' }).click();
        await expectErrors(page, { name: /name/i, email: /e-mail/i, password: /at least 8/, storage_path: /no folder|not there|exist/i });
        assert.equal(await page.inputValue('[name=email]'), 'nobody');
        assert.equal(await page.inputValue('[name=storage_path]'), join(server.roots, 'not-there'));
        await page.fill('[name=storage_path]', '/etc/vmimg-images');
        await page.getByRole('button', { name: 'Set up' }).click();
        await expectErrors(page, { storage_path: /may lie below/ });
      });

      test('UX 66: setting up makes the administrator and the first storage, signs in, and is gone', async () => {
        const one = server.setupUrl;
        await setUp(page, server);
        await flash(page).waitFor();
        assert.match(await flash(page).innerText(), new RegExp(ADMIN.name));
        for (const path of ['/setup', one]) assert.equal((await page.request.get(path, { maxRedirects: 0 })).status(), 404, `${path} is gone`);
        await page.goto('/clusters');
        await main(page).getByText('Default', { exact: true }).first().waitFor();
        await page.goto('/hosts');
        await main(page).getByText('this machine').first().waitFor();
        await page.goto('/local-storages');
        await main(page).getByText('local', { exact: true }).first().waitFor();
        await main(page).getByText('Healthy').first().waitFor();
      });

      test('UX 66, 27: the list says what an image is and what to do first', async () => {
        await page.goto('/images');
        await main(page).getByRole('heading', { name: 'No images yet' }).waitFor();
        assert.ok(await main(page).getByRole('link', { name: 'Create image' }).count() >= 1);
        assert.equal(await main(page).getByRole('link', { name: 'Add another storage' }).count(), 1);
        if (javaScript) await axe(page);
        if (javaScript && database === 'sqlite') await screenshot(page, 'first-page');
      });

      test('UX 3, 48: the wizard leads a real memtest86+ to Available, with the same SHA-256 everywhere', async () => {
        const path = await createInBrowser(page, { name: 'memtest86+', iso: REAL.memtest, storage: 'local', os: 'Memtest86+', javaScript });
        await waitForStatus(page, path, 'Available');
        const shown = (await page.locator('#sha256').innerText()).trim();
        assert.equal(shown, sha256sum(REAL.memtest), 'the page shows what sha256sum says of the source');
        assert.equal(shown, await sha256(REAL.memtest));
        const files = filesWithDigest(join(server.dataDir, 'storage'), shown);
        assert.equal(files.length, 1, 'the storage holds the file once');
        assert.equal(statSync(files[0]).size, statSync(REAL.memtest).size);
        await main(page).getByText('6,193,152 bytes').first().waitFor();
      });

      test('UX 3: its page leads to the same bytes again', async () => {
        const waiting = page.waitForEvent('download');
        await main(page).getByRole('link', { name: 'Download' }).click();
        const download = await waiting;
        assert.match(download.suggestedFilename(), /\.iso$/);
        const path = await download.path();
        assert.equal(sha256sum(path), sha256sum(REAL.memtest));
        rmSync(path);
      });

      test('UX 66: after a restart there is no set-up address any more, and the image is what it was', async () => {
        const path = new URL(page.url()).pathname;
        await server.end();
        await server.start();
        assert.equal(server.setupUrl, null, 'no address is printed');
        await page.goto(path);
        assert.equal(await statusOf(page), 'Available');
      });

      test('UX 66: the first steps leave the list when they are done', async () => {
        await page.goto('/images');
        assert.equal(await main(page).getByRole('link', { name: 'Add another storage' }).count(), 1, 'still one storage only');
        await page.goto('/datastores/new');
        await page.fill('[name=name]', 'shared');
        await page.fill('[name=path]', server.place('shared'));
        await main(page).getByRole('button', { name: /Add/ }).click();
        await page.waitForURL(/\/datastores\/[0-9a-f-]{36}/);
        await page.goto('/images');
        assert.equal(await main(page).getByRole('link', { name: 'Add another storage' }).count(), 0);
      });

      test('UX 9: nothing of all that left the origin or broke the content security policy', () => {
        noCspViolations(page);
        assert.deepEqual(faultsOf(page), []);
      });
    });
  }
}
