// Events and settings: what was done, by whom, from where; what is set, and where it came from.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ADMIN, Client, DATABASES, axe, launch, main, makeIso, noCspViolations, screenshot, signedInPage, startConsole } from './support.mjs';

for (const database of DATABASES) {
  describe(`events and settings on ${database}`, () => {
    let server, client, browser, page, plain, image;
    before(async () => {
      ({ server, client } = await startConsole({ database, env: { VMIMG_SESSION_IDLE: '45' } }));
      image = await client.createImage({ name: 'with events', iso: makeIso(join(server.folder, 'a.iso')) });
      const id = image.split('/').pop();
      server.sql(`INSERT INTO virtual_machines (id, cluster_id, name, created_at) SELECT '00000000-0000-7000-8000-00000000aaaa', id, 'web-07', 0 FROM clusters;
        INSERT INTO attachments (image_id, vm_id, attached_at) VALUES ('${id}', '00000000-0000-7000-8000-00000000aaaa', 0);`);
      assert.equal((await client.post(`${image}/deletion`, { version: server.sql(`SELECT version FROM images WHERE id = '${id}'`) })).status, 409);
      browser = await launch();
      page = await signedInPage(browser, client);
      plain = await signedInPage(browser, client, { javaScript: false });
    });
    after(async () => {
      await browser?.close();
      await server?.stop();
    });

    test('UX 64: an event has its time, person, action, linked object, result, address and number; refusals are among them', async () => {
      await page.goto('/events');
      const row = page.getByRole('row', { name: /Complete upload/ });
      const text = await row.innerText();
      assert.match(text, new RegExp(ADMIN.name));
      assert.match(text, /Done/);
      assert.match(text, /127\.0\.0\.1/);
      assert.match(text, /SHA-256 [0-9a-f]{64}/);
      assert.ok(await row.locator('time[datetime]').count(), 'a time');
      assert.match(await row.locator('.mono').innerText(), /\S{8,}/, 'the number of the request');
      await page.getByRole('row', { name: /Delete image/ }).getByText('Refused').waitFor();
      for (const action of ['Set up the service', 'Add storage', 'Create image', 'Begin upload']) await page.getByRole('row', { name: new RegExp(action) }).first().waitFor();
      await screenshot(page, 'events');
      await row.getByRole('link', { name: 'with events' }).click();
      await page.waitForURL((url) => url.pathname === image);
      assert.equal(await page.goto('/events').then(() => main(page).getByRole('button', { name: /delete|edit|remove/i }).count()), 0);
    });

    test('UX 64: filters stand in the address, with and without scripts', async () => {
      for (const tab of [page, plain]) {
        await tab.goto('/events');
        await main(tab).locator('details.filter summary', { hasText: 'Result' }).click();
        await main(tab).getByRole('checkbox', { name: 'Refused', exact: true }).check();
        await main(tab).locator('details[open]').getByRole('button', { name: 'Apply' }).click();
        await tab.waitForURL(/outcome=refused/);
        assert.equal(await main(tab).locator('tbody tr').count(), 1);
        await tab.goto(`/events?object=${image.split('/').pop()}&action=begin_upload`);
        assert.equal(await main(tab).locator('tbody tr').count(), 1);
        await tab.goto('/events?outcome=nonsense&action=&since=never&after=x');
        assert.ok(await main(tab).locator('tbody tr').count() > 4, 'unknown values are ignored');
        await tab.goto('/events?since=2001-01-01&until=2001-12-31');
        assert.equal(await main(tab).locator('tbody tr').count(), 0);
        await main(tab).getByRole('link', { name: 'Clear all filters' }).click();
        await tab.waitForURL(/\/events$/);
      }
    });

    // It is written when the minute is over, which takes as long.
    if (database === 'sqlite') test('UX 64: failed sign-ins are counted by address and minute', async () => {
      const guess = new Client(server);
      for (let attempt = 0; attempt < 3; attempt++) await guess.post('/sign-in', { email: 'x@example.org', password: 'wrong', next: '/' });
      // The minute is over.
      server.sql("UPDATE sign_in_failures SET subject = 'minute 29000000 ' || substr(subject, 8 + instr(substr(subject, 8), ' ')) WHERE subject LIKE 'minute %'");
      const end = Date.now() + 75_000;
      let rows = 0;
      while (rows === 0 && Date.now() < end) {
        await page.goto('/events?action=sign_in&outcome=failed');
        rows = await main(page).locator('tbody tr').count();
        if (!rows) await page.waitForTimeout(1_000);
      }
      assert.match(await main(page).locator('tbody tr').first().innerText(), /3 failed[\s\S]*127\.0\.0\.1/);
    });

    test('UX 64: the export honours the filter', async () => {
      const answer = await client.fetch(`/events.csv?object=${image.split('/').pop()}&outcome=refused`);
      assert.match(answer.headers.get('content-type'), /^text\/csv/);
      assert.match(answer.headers.get('content-disposition') ?? '', /attachment/);
      const lines = (await answer.text()).trim().split('\r\n');
      assert.equal(lines.length, 2, lines.join('\n'));
      assert.match(lines[1], /web-07/);
    });

    test('UX 64: settings show value, source and how to change them; secrets do not appear', async () => {
      await page.goto('/settings');
      const row = (name) => page.getByRole('row', { name: new RegExp(name) });
      assert.match(await row('VMIMG_SESSION_IDLE').innerText(), /45[\s\S]*environment VMIMG_SESSION_IDLE/);
      assert.match(await row('VMIMG_MAX_UPLOAD').innerText(), /64 GiB[\s\S]*default/);
      assert.match(await main(page).innerText(), /file \(vmimg\.toml\).*environment.*flags.*restart/s);
      assert.doesNotMatch(await main(page).innerText(), /postgres:\/\/app/);
      if (database === 'postgres') assert.match(await row('VMIMG_DATABASE_URL').innerText(), /hidden[\s\S]*environment/);
      assert.equal(await main(page).locator('input, button:not([data-copy])').count(), 0, 'it can only be read');
      await axe(page);
      await screenshot(page, 'settings');
    });

    test('UX 9: nothing of all that left the origin or broke the content security policy', () => noCspViolations(page));
  });
}
