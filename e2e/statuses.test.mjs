// The walk through the statuses: a storage goes and comes back, another one lies in its place, the right one lies elsewhere.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  DATABASES, REAL, axe, flash, launch, main, makeIso, newPage, noCspViolations, screenshot, sha256sum, startConsole, until, waitForStatus,
} from './support.mjs';

const deleteButton = (page) => main(page).locator('.top').getByText('Delete', { exact: true });
const cause = (page) => main(page).locator('#cause .note');

for (const database of DATABASES) {
  describe(`statuses on ${database}`, () => {
    let server, client, browser, page, image, unfinished, storage, uuid, folder;
    before(async () => {
      ({ server, client } = await startConsole({ database }));
      browser = await launch();
      page = await newPage(browser, server);
      await page.context().addCookies([...client.cookies].map(([name, value]) => ({ name, value, url: server.url })));
      storage = await client.addStorage({ name: 'shelf' });
      uuid = storage.split('/').pop();
      folder = join(server.roots, 'shelf');
      image = await client.createImage({ name: 'memtest', iso: REAL.memtest, storage: 'shelf', os: 'memtest86plus' });
      const iso = makeIso(join(server.folder, 'half.iso'), { mib: 1 });
      const record = await client.createRecord({ name: 'half', iso, storage: 'shelf' });
      const upload = client.upload(record.content, iso);
      await upload.send(400_000);
      upload.break();
      await upload.answer;
      unfinished = record.image;
      await waitForStatus(page, unfinished, 'Pending');
    });
    after(async () => {
      await browser?.close();
      await server?.stop();
    });

    /** The image's page shows this status, its cause and remedy, and a delete button that follows the rule. */
    const expectStatus = async (path, status, { says, remedy, deletable, why }) => {
      await waitForStatus(page, path, status);
      if (says) assert.match(await cause(page).innerText(), says, `${status}: the cause`);
      if (remedy) assert.match(await cause(page).innerText(), remedy, `${status}: the remedy`);
      const button = deleteButton(page);
      if (deletable) {
        assert.equal(await button.evaluate((el) => el.tagName), 'A', `${status}: Delete leads to the question`);
      } else {
        assert.equal(await button.getAttribute('aria-disabled'), 'true', `${status}: Delete is disabled`);
        const told = await button.evaluate((el) => document.getElementById(el.getAttribute('aria-describedby')).innerText);
        assert.match(told, why, `${status}: why it cannot be deleted`);
        const refused = await client.fetch(`${path}/deletion`);
        assert.ok([200, 409].includes(refused.status), 'the question has an answer');
        assert.match(await refused.text(), why, 'the page of the deletion gives the same reason');
      }
    };
    const available = () => expectStatus(image, 'Available', { deletable: true });

    test('UX 25, 33, 36: Available and Pending can be deleted; Pending says what stopped it and how to go on', async () => {
      await available();
      await expectStatus(unfinished, 'Pending', { says: /interrupted|connection was lost/i, remedy: /choose|send/i, deletable: true });
      await main(page).getByLabel('Choose the file and go on').waitFor();
    });

    test('UX 33, 61: an unreachable storage is Degraded within 10 s, and so are its images; nothing is written in its place', async () => {
      const begun = Date.now();
      renameSync(folder, `${folder}-away`);
      const why = /“shelf” is degraded/i;
      await expectStatus(image, 'Degraded', { says: /shelf/, remedy: /mount|path|storage/i, deletable: false, why });
      assert.ok(Date.now() - begun < 10_500, `Degraded within 10 s, it took ${Date.now() - begun} ms`);
      await expectStatus(unfinished, 'Degraded', { says: /shelf/, deletable: false, why });
      await axe(page);
      await page.goto(storage);
      await main(page).getByText('Degraded').first().waitFor();
      assert.match(await main(page).innerText(), /nothing at|does not exist|not there/i, 'the storage says why');
      assert.match(await main(page).innerText(), /mount|change the storage.s path/i, 'and what to do');
      if (database === 'sqlite') await screenshot(page, 'storage-degraded');
      const answer = await client.fetch(`${image}/download`);
      assert.ok(answer.status >= 400 && answer.status < 600, 'and nothing can be downloaded');
      assert.ok(!existsSync(folder), 'no folder was made under the path');

      mkdirSync(folder);
      await page.waitForTimeout(6_000);
      await expectStatus(image, 'Degraded', { says: /shelf/, deletable: false, why });
      assert.deepEqual(readdirSync(folder), [], 'an empty mount point stays empty');
      renameSync(folder, `${folder}-empty`);
    });

    test('UX 28, 33: the page that shows Degraded becomes Available by itself when the storage is back', async () => {
      await page.goto(image);
      await page.locator('h1').evaluate((el) => { el.dataset.mark = 'the same document'; });
      renameSync(`${folder}-away`, folder);
      await page.locator('h1 .status', { hasText: 'Available' }).waitFor();
      assert.equal(await page.locator('h1').getAttribute('data-mark'), 'the same document', 'without loading it again');
      await until('the delete button to follow', async () => await deleteButton(page).evaluate((el) => el.tagName) === 'A');
      await available();
      await expectStatus(unfinished, 'Pending', { deletable: true });
    });

    test('UX 61: removing a storage says how many images become File unavailable, and asks first', async () => {
      await page.goto(storage);
      await main(page).getByRole('link', { name: /Remove/ }).click();
      await page.waitForURL(/\/removal$/);
      assert.match(await main(page).innerText(), /2 images/, 'it counts the images');
      assert.match(await main(page).innerText(), /File unavailable/, 'and says what becomes of them');
      await axe(page);
      await main(page).getByRole('button', { name: /Remove/ }).click();
      await page.waitForURL(/\/datastores$/);
      assert.match(await flash(page).innerText(), /shelf/);
      assert.match(await flash(page).innerText(), /2 images/);
    });

    const gone = {
      says: /removed/i, remedy: /add .*storage.*again|add the storage|brought? back|bring/i, deletable: false, why: /file is unavailable|forget/i,
    };
    test('UX 33, 36, 61: its images are File unavailable, name the UUID to add back, and cannot be deleted', async () => {
      await expectStatus(image, 'File unavailable', gone);
      assert.match(await main(page).innerText(), new RegExp(uuid), 'the UUID stands on the page');
      await axe(page);
      if (database === 'sqlite') await screenshot(page, 'file-unavailable');
      await expectStatus(unfinished, 'File unavailable', gone);
      await page.goto('/images?status=file_unavailable');
      assert.equal(await main(page).locator('tbody tr').count(), 2, 'the list finds both by their status');
      assert.equal(sha256sum(REAL.memtest), (await client.page(image)).match(/[0-9a-f]{64}/)[0], 'what is known of it stays');
    });

    test('UX 61: another storage at the same path restores nothing', async () => {
      renameSync(folder, `${folder}-right`);
      mkdirSync(folder);
      await page.goto('/datastores/new');
      await page.fill('[name=name]', 'another shelf');
      await page.fill('[name=path]', folder);
      await main(page).getByRole('button', { name: /Add/ }).click();
      await page.waitForURL(/\/datastores\/[0-9a-f-]{36}/);
      assert.ok(!page.url().endsWith(uuid), 'it is another storage');
      await page.waitForTimeout(6_000);
      await expectStatus(image, 'File unavailable', gone);
      await expectStatus(unfinished, 'File unavailable', gone);
    });

    test('UX 61: the right one, at another path and under another name, makes them again what they were', async () => {
      await page.goto('/datastores/new');
      await page.fill('[name=name]', 'moved shelf');
      await page.fill('[name=path]', `${folder}-right`);
      await main(page).getByRole('button', { name: /Add/ }).click();
      await page.waitForURL(new RegExp(`/datastores/${uuid}`));
      assert.match(await flash(page).innerText(), /2 images/, 'the message says what came back');
      await available();
      await main(page).getByRole('link', { name: 'moved shelf' }).first().waitFor();
      assert.equal((await page.locator('#sha256').innerText()).trim(), sha256sum(REAL.memtest));
      await expectStatus(unfinished, 'Pending', { deletable: true });
      const bytes = await client.fetch(`${image}/download`);
      assert.equal(bytes.status, 200);
      assert.equal((await bytes.arrayBuffer()).byteLength, 6_193_152);
    });

    test('UX 33, 37: a file removed by other hands is said to be; Check again notices its return; else it can be forgotten', async () => {
      const right = `${folder}-right`;
      const file = readdirSync(right, { recursive: true }).map(String).find((path) => path.endsWith(`${image.split('/').pop()}.iso`) || (path.includes(image.split('/').pop()) && !/json/.test(path)));
      assert.ok(file, 'the file lies on the storage');
      renameSync(join(right, file), join(server.folder, 'taken.iso'));
      await page.goto(`${storage}`);
      await main(page).getByRole('button', { name: /Check/ }).click();
      await flash(page).waitFor();
      await expectStatus(image, 'File unavailable', { says: /missing|removed|not on the storage|not there/i, remedy: /check again|forget/i, deletable: false, why: /forget/i });
      renameSync(join(server.folder, 'taken.iso'), join(right, file));
      await main(page).locator('#cause').getByRole('button', { name: 'Check again' }).click();
      await flash(page).waitFor();
      await available();

      renameSync(join(right, file), join(server.folder, 'taken.iso'));
      await page.goto(storage);
      await main(page).getByRole('button', { name: /Check/ }).click();
      await waitForStatus(page, image, 'File unavailable');
      await main(page).getByRole('link', { name: 'Forget…' }).first().click();
      await page.waitForURL(/\/forgetting$/);
      await axe(page);
      await main(page).getByRole('button', { name: /Forget/ }).click();
      await page.waitForURL(/\/images$/);
      assert.match(await flash(page).innerText(), /memtest/);
      assert.equal((await client.fetch(image)).status, 404);
    });

    test('UX 9: nothing of all that left the origin or broke the content security policy', () => noCspViolations(page));
  });
}
