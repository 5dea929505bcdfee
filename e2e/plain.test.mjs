// Without scripts: list, filter, sort, pages, selection, deletion, access, signing in and out.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ADMIN, DATABASES, flash, launch, main, makeIso, newPage, noCspViolations, seedImages, signIn, startConsole } from './support.mjs';

const names = (page) => main(page).locator('tbody th bdi').allInnerTexts();

for (const database of DATABASES) {
  describe(`without scripts on ${database}`, () => {
    let server, client, browser, page;
    before(async () => {
      ({ server, client } = await startConsole({ database }));
      seedImages(server, 120);
      await client.createImage({ name: 'alone', iso: makeIso(join(server.folder, 'a.iso')), os: 'memtest86plus' });
      browser = await launch();
      page = await newPage(browser, server, { javaScript: false });
    });
    after(async () => {
      await browser?.close();
      await server?.stop();
    });

    test('UX 3, 19: signing in', async () => {
      await signIn(page);
      assert.match(page.url(), /\/images$/);
    });

    test('UX 3, 22: searching and filtering by forms and links', async () => {
      await page.fill('[name=q]', 'ALONE');
      await page.locator('[name=q]').press('Enter');
      await page.waitForURL(/q=ALONE/);
      assert.deepEqual(await names(page), ['alone']);
      await main(page).getByRole('link', { name: 'Clear all filters' }).click();
      await main(page).locator('details.filter summary', { hasText: 'Operating system' }).click();
      await main(page).getByLabel('Memtest86+').check();
      await main(page).locator('details[open]').getByRole('button', { name: 'Apply' }).click();
      await page.waitForURL(/os=memtest86plus/);
      assert.deepEqual(await names(page), ['alone']);
      await main(page).getByRole('link', { name: /Remove filter Operating system/ }).click();
      await page.waitForURL(/\/images$/);
    });

    test('UX 3, 24: sorting and walking through all pages, each image once', async () => {
      await page.getByRole('columnheader', { name: 'Name' }).getByRole('link').click();
      await page.waitForURL(/sort=name/);
      const seen = await names(page);
      for (let next = main(page).getByRole('link', { name: 'Next' }); await next.getAttribute('href'); next = main(page).getByRole('link', { name: 'Next' })) {
        await Promise.all([page.waitForNavigation(), next.click()]);
        seen.push(...await names(page));
        assert.ok(seen.length <= 121);
      }
      assert.equal(seen.length, 121);
      assert.equal(new Set(seen).size, 121);
      assert.deepEqual(seen, [...seen].sort());
      const back = [];
      for (let previous = main(page).getByRole('link', { name: 'Previous' }); await previous.getAttribute('href'); previous = main(page).getByRole('link', { name: 'Previous' })) {
        await Promise.all([page.waitForNavigation(), previous.click()]);
        back.unshift(...await names(page));
      }
      assert.ok(back.length >= 50 && back[0] === seen[0], 'and back again');
    });

    test('UX 3, 21: choosing columns', async () => {
      await page.goto('/images');
      await main(page).locator('details.columns summary').click();
      await main(page).getByLabel('Used by').uncheck();
      await main(page).locator('details[open]').getByRole('button').click();
      await page.waitForURL(/\/images$/);
      assert.doesNotMatch(await main(page).locator('thead').innerText(), /Used by/);
    });

    test('UX 3, 26: selecting and deleting several, which nothing hides from people without scripts', async () => {
      await page.goto('/images?q=seeded-00000');
      assert.ok(await main(page).locator('#bulk').isVisible());
      for (const name of ['seeded-000001', 'seeded-000002']) await page.getByLabel(`Select ${name}`).check();
      await main(page).locator('#bulk').getByRole('button', { name: /Delete/ }).click();
      await main(page).getByRole('heading', { level: 1, name: 'Delete 2 images?' }).waitFor();
      await main(page).getByRole('button', { name: 'Delete 2 images' }).click();
      await page.waitForURL(/\/images$/);
      assert.match(await flash(page).innerText(), /2 images/);
      await page.goto('/images?q=seeded-00000');
      assert.equal((await names(page)).length, 7);
      await main(page).getByLabel(/Select all 7 matching/).check().catch(async () => {
        for (const box of await main(page).locator('tbody input[name=ids]').all()) await box.check();
      });
      await main(page).locator('#bulk').getByRole('button', { name: /Delete/ }).click();
      await main(page).getByRole('button', { name: 'Delete 7 images' }).click();
      await page.locator('.error-summary').waitFor();
      await page.getByLabel(/Type the number/).fill('7');
      await main(page).getByRole('button', { name: 'Delete 7 images' }).click();
      assert.match(await flash(page).innerText(), /7 images/);
      await page.goto('/images');
      await main(page).locator('#bulk').getByRole('button', { name: /Delete/ }).click();
      assert.match(await flash(page).innerText(), /Choose images first/, 'nothing chosen');
      assert.equal(await flash(page).getAttribute('role'), 'alert');
    });

    test('UX 3, 31: an image’s tabs, and who has access', async () => {
      await page.goto('/images?q=alone');
      await main(page).getByRole('link', { name: 'alone', exact: true }).click();
      await main(page).locator('.tabs').getByRole('link', { name: 'Access' }).click();
      await page.waitForURL(/\/access$/);
      assert.match(await main(page).innerText(), new RegExp(`${ADMIN.name}[\\s\\S]*Administrator`));
    });

    test('UX 3, 36: deleting one', async () => {
      await page.goto('/images?q=alone');
      await main(page).locator('td.act summary').click();
      await main(page).locator('td.act').getByRole('link', { name: 'Delete…' }).click();
      await main(page).getByRole('button', { name: 'Delete image' }).click();
      await page.waitForURL(/\/images$/);
      assert.match(await flash(page).innerText(), /alone/);
    });

    test('UX 3, 20: signing out', async () => {
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.waitForURL(/\/sign-in/);
      await page.goto('/images');
      assert.match(page.url(), /\/sign-in/);
      noCspViolations(page);
    });
  });
}
