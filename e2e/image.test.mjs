// An image's page: tabs, facts, editing by two people, deleting.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  ADMIN, DATABASES, REAL, axe, expectErrors, flash, heard, launch, listen, main, makeIso, noCspViolations, screenshot, sha256sum, signedInPage, startConsole,
  until, waitForStatus,
} from './support.mjs';

for (const database of DATABASES) {
  describe(`image page on ${database}`, () => {
    let server, client, browser, page, plain, image;
    before(async () => {
      ({ server, client } = await startConsole({ database }));
      image = await client.createImage({ name: 'memtest', note: 'checks\nmemory', iso: REAL.memtest, os: 'memtest86plus' });
      browser = await launch();
      page = await signedInPage(browser, client);
      plain = await signedInPage(browser, client, { javaScript: false });
    });
    after(async () => {
      await browser?.close();
      await server?.stop();
    });

    test('UX 31: the tabs are addresses of their own, with and without scripts, and the present one is marked', async () => {
      for (const tab of [page, plain]) {
        await tab.goto(image);
        for (const [name, path] of [['Access', '/access'], [/Virtual machines/, '/vms'], ['Events', '/events'], ['Overview', '']]) {
          await main(tab).locator('.tabs').getByRole('link', { name }).click();
          await tab.waitForURL((url) => url.pathname === image + path);
          assert.match((await main(tab).locator('.tabs [aria-current=page]').innerText()).trim(), name instanceof RegExp ? name : new RegExp(`^${name}`));
          if (path) assert.match(await tab.title(), /^(Access|Virtual machines|Events) – memtest – Images – vmimg$/);
        }
      }
      await page.goto(`${image}/access`);
      await main(page).getByRole('row', { name: new RegExp(`${ADMIN.name}.*Administrator`) }).waitFor();
      await page.goto(`${image}/events`);
      assert.match(await main(page).innerText(), /Create image[\s\S]*|Complete upload/);
    });

    test('UX 32, 12: identifier and SHA-256 can be copied; type, exact size, storage, creator, system and needs are told', async () => {
      await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
      await page.goto(image);
      const facts = main(page);
      for (const words of [/Installation image, ISO 9660/, /5\.9 MiB/, /6,193,152 bytes/, new RegExp(ADMIN.name), /Memtest86\+/, /1 vCPU/, /64 MiB/, /VMs get this image read-only/, /MT86PLUS_64/]) {
        assert.match(await facts.innerText(), words);
      }
      await facts.getByRole('link', { name: 'isos' }).waitFor();
      for (const [name, text] of [['Copy SHA-256', sha256sum(REAL.memtest)], ['Copy UUID', image.split('/').pop()]]) {
        await page.reload();
        await listen(page);
        await facts.getByRole('button', { name }).click();
        await until('it to be said', async () => (await heard(page)).includes('Copied'));
        assert.equal(await page.evaluate(() => navigator.clipboard.readText()), text);
      }
      await screenshot(page, 'image-light', { fullPage: true });
      await page.emulateMedia({ colorScheme: 'dark' });
      await screenshot(page, 'image-dark', { fullPage: true });
      await page.emulateMedia({ colorScheme: 'light' });
    });

    test('UX 31, 35: a new name and note are kept, the address stays, the message names and links the image', async () => {
      await page.goto(image);
      await main(page).getByRole('link', { name: 'Edit', exact: true }).click();
      await page.fill('[name=name]', '  memtest renamed ');
      await page.fill('[name=note]', '<b>not bold</b>\nsecond line');
      await main(page).getByRole('button', { name: 'Save' }).click();
      await page.waitForURL((url) => url.pathname === image);
      await main(page).getByRole('heading', { level: 1, name: /^memtest renamed/ }).waitFor();
      assert.match(await main(page).innerText(), /<b>not bold<\/b>\n+second line/);
      assert.match(await flash(page).innerText(), /memtest renamed/);
      await flash(page).getByRole('link', { name: 'memtest renamed' }).waitFor();
      assert.equal(await flash(page).getAttribute('role'), 'status');
      await page.reload();
      assert.equal(await flash(page).count(), 0, 'the message is gone with the next page');
      await page.goto(`${image}/events`);
      assert.match(await main(page).innerText(), /memtest → memtest renamed/);
    });

    test('UX 35, 41: what cannot be saved comes back with the input', async () => {
      const other = await client.createImage({ name: 'other', iso: makeIso(join(server.folder, 'other.iso')) });
      await page.goto(`${image}/edit`);
      await page.fill('[name=name]', 'OTHER');
      await page.fill('[name=min_vcpu]', '0');
      await main(page).getByRole('button', { name: 'Save' }).click();
      await page.locator('.error-summary').waitFor();
      await expectErrors(page, { min_vcpu: /at least 1/ });
      await page.fill('[name=min_vcpu]', '3');
      await main(page).getByRole('button', { name: 'Save' }).click();
      await expectErrors(page, { name: /already/ });
      assert.equal(await page.inputValue('[name=name]'), 'OTHER');
      await axe(page);
      assert.equal((await client.fetch(other)).status, 200);
    });

    test('UX 35: who saves later sees both versions and chooses; nothing is lost silently', async () => {
      for (const tab of [page, plain]) {
        const theirs = await signedInPage(browser, await client.another());
        await tab.goto(`${image}/edit`);
        await theirs.goto(`${image}/edit`);
        await theirs.fill('[name=note]', `their note ${tab === page}`);
        await main(theirs).getByRole('button', { name: 'Save' }).click();
        await theirs.waitForURL((url) => url.pathname === image);
        await theirs.context().close();
        await tab.fill('[name=note]', `my note ${tab === page}`);
        await main(tab).getByRole('button', { name: 'Save' }).click();
        const both = await main(tab).innerText();
        assert.match(both, /Somebody else saved/);
        assert.match(both, new RegExp(`their note ${tab === page}`));
        assert.equal(await tab.inputValue('[name=note]'), `my note ${tab === page}`);
        if (tab === page) await axe(page);
        await main(tab).getByRole('button', { name: 'Save mine' }).click();
        await tab.waitForURL((url) => url.pathname === image);
        assert.match(await main(tab).innerText(), new RegExp(`my note ${tab === page}`));
      }
    });

    test('UX 36: deleting asks on a page of its own, with the focus on Cancel, and ends on the list with a message', async () => {
      for (const tab of [plain, page]) {
        const path = await client.createImage({ name: `to go ${tab === page}`, iso: makeIso(join(server.folder, 'gone.iso')) });
        await tab.goto(path);
        await main(tab).getByRole('link', { name: 'Delete' }).click();
        await tab.waitForURL((url) => url.pathname === `${path}/deletion`);
        await main(tab).getByRole('heading', { level: 1, name: `Delete image “to go ${tab === page}”?` }).waitFor();
        assert.match(await main(tab).innerText(), /KiB[\s\S]*cannot be undone/i, 'consequences');
        if (tab === page) {
          assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Cancel');
          await axe(page);
          await page.keyboard.press('Tab');
          assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Delete image');
          await page.keyboard.press('Enter');
        } else {
          await main(tab).getByRole('button', { name: 'Delete image' }).click();
        }
        await tab.waitForURL(/\/images$/);
        assert.match(await flash(tab).innerText(), new RegExp(`to go ${tab === page}`));
        assert.equal((await client.fetch(path)).status, 404);
        assert.equal(await main(tab).locator('tbody', { hasText: `to go ${tab === page}` }).count(), 0);
        assert.equal((await client.createImage({ name: `to go ${tab === page}`, iso: makeIso(join(server.folder, 'again.iso')) })).length, path.length, 'its name is free');
      }
    });

    test('UX 15, 36: what a machine uses cannot be deleted, and the button says which', async () => {
      const id = image.split('/').pop();
      server.sql(`INSERT INTO virtual_machines (id, cluster_id, name, created_at) SELECT '00000000-0000-7000-8000-00000000aaaa', id, 'web-07', 0 FROM clusters;
        INSERT INTO attachments (image_id, vm_id, attached_at) VALUES ('${id}', '00000000-0000-7000-8000-00000000aaaa', 0);`);
      await page.goto(image);
      const button = main(page).getByRole('button', { name: 'Delete' });
      assert.equal(await button.getAttribute('aria-disabled'), 'true');
      await button.focus();
      assert.ok(await button.evaluate((el) => el === document.activeElement), 'it can be focused');
      assert.match(await main(page).locator('#why-delete').innerText(), /attached to “web-07”/);
      await page.keyboard.press('Enter');
      await page.waitForTimeout(300);
      assert.equal(new URL(page.url()).pathname, image, 'and does nothing');
      await page.goto(`${image}/deletion`);
      assert.match(await main(page).innerText(), /web-07/);
      assert.equal(await main(page).getByRole('button', { name: 'Delete image' }).count(), 0);
      await page.goto(`${image}/vms`);
      await main(page).getByRole('row', { name: /web-07/ }).waitFor();
      await page.goto('/images');
      await page.getByRole('row', { name: /memtest renamed/ }).getByText('web-07').first().waitFor();
      const version = server.sql(`SELECT version FROM images WHERE id = '${id}'`);
      assert.equal((await client.post(`${image}/deletion`, { version })).status, 409, 'asked for nevertheless, it is refused');
      server.sql('DELETE FROM attachments; DELETE FROM virtual_machines;');
    });

    test('UX 37: another device can neither cancel nor delete what is being uploaded, and is told why', async () => {
      const iso = makeIso(join(server.folder, 'foreign.iso'), { mib: 4 });
      const other = await client.another();
      const record = await other.createRecord({ name: 'foreign', iso });
      const upload = other.upload(record.content, iso);
      await upload.send(1_000_000);
      await waitForStatus(page, record.image, /^Uploading \d+ %$/);
      const button = main(page).getByRole('button', { name: 'Delete' });
      assert.equal(await button.getAttribute('aria-disabled'), 'true');
      assert.match(await main(page).locator('#why-delete').innerText(), /another device/);
      await axe(page);
      const own = await signedInPage(browser, other);
      await own.goto(record.image);
      await main(own).getByRole('link', { name: 'Delete' }).waitFor();
      await own.goto(`${record.image}/deletion`);
      await main(own).getByRole('button', { name: 'Delete image' }).click();
      await own.waitForURL(/\/images$/);
      const answer = await upload.finish();
      assert.ok(answer.status === 0 || answer.status >= 400, 'the rest is not taken');
      assert.equal((await client.fetch(record.image)).status, 404);
      await until('no part to be left', () => !/part/.test(server.sql(`SELECT count(*) FROM jobs`) === '0' ? '' : 'part'));
      await own.context().close();
    });

    test('UX 9: nothing of all that left the origin or broke the content security policy', () => {
      noCspViolations(page);
      noCspViolations(plain);
    });
  });
}
