// What holds on every page there is: outline, keyboard, colours, widths, motion, spacing, languages of the world, valid markup.
import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { HtmlValidate } from 'html-validate';
import {
  REAL, axe, fileField, focusIsSeen, hasOutline, impossibleSaysWhy, launch, main, makeIso, noCspViolations, nothingMoves,
  onlyTablesScroll, readableRoutes, signedInPage, startConsole, textSpacingBreaksNothing, timesAreExact, until,
} from './support.mjs';

const NASTY = [
  '<b>bold</b> & <script>alert(1)</script>',
  `quotes " ' \` and \${braces} {{ too }}`,
  'تثبيت دبيان ١٣ (عربي)',
  'עברית 13 mixed with English',
  '🐧🚀 emoji 👩‍👩‍👧‍👦 é ﷽',
  'W'.repeat(255),
];

/** Addresses that are no pages, and why. */
const NO_PAGES = new Map([
  ['/assets/{digest}/{path:.*}', 'styles, scripts, icons'], ['/livez', 'for machines'], ['/readyz', 'for machines'], ['/healthz', 'for machines'], ['/version', 'for machines'], ['/images.csv', 'a file'], ['/events.csv', 'a file'],
  ['/images/{id}/download', 'a file'], ['/images/new', 'leads to the first step'], ['/', 'leads to the images'], ['/storages/{id}', 'leads to a datastore or a local storage'],
  ['/.well-known/change-password', 'leads to the account'], ['/.well-known/security.txt', 'a file, where the settings name a contact'], ['/favicon.ico', 'a file'], ['/setup', 'gone once set up; its own test looks at it'],
  ['/robots.txt', 'for machines'], ['/images/{id}/content', 'leads to the image'],
]);

describe('every page', () => {
  let server, client, browser;
  /** @type {{pattern: string, name: string, path: string, act?: (page: any) => Promise<void>, status?: number, signedIn?: boolean}[]} */
  const pages = [];
  const images = {};
  before(async () => {
    ({ server, client } = await startConsole());
    const cluster = (await client.send('/clusters/new', { name: `Cluster ${NASTY[0]}`, note: NASTY.join('\n') }, /clusters/)).split('?')[0];
    const empty = (await client.send('/clusters/new', { name: 'Empty' }, /clusters/)).split('?')[0];
    const datastore = await client.addStorage({ name: `Datastore ${NASTY[2]}`, path: server.place('datastore'), cluster: cluster.split('/').pop() });
    await client.addStorage({ name: 'failing', cluster: cluster.split('/').pop() });
    await client.addStorage({ name: 'taken away' });
    const tiny = makeIso(join(server.folder, 'tiny.iso'));
    images.plain = await client.createImage({ name: 'memtest', note: NASTY.join('\n'), iso: REAL.memtest, os: 'memtest86plus' });
    for (const [index, name] of NASTY.entries()) images[`nasty ${index}`] = await client.createImage({ name, note: name, iso: tiny });
    images.pending = (await client.createRecord({ name: 'pending', iso: tiny })).image;
    await client.post(`${images.pending}/upload/cancel`);
    images.degraded = await client.createImage({ name: 'degraded', iso: tiny, storage: 'failing' });
    images.unavailable = await client.createImage({ name: 'unavailable', iso: tiny, storage: 'taken away' });
    images.uploading = (await client.createRecord({ name: 'uploading', iso: tiny })).image;
    images.used = await client.createImage({ name: 'in use', iso: tiny });
    server.sql(`UPDATE images SET status = 'uploading' WHERE name = 'uploading';
      UPDATE uploads SET lease_until = lease_until + 36000000000, offset_bytes = declared_bytes / 2 WHERE image_id = '${images.uploading.split('/').pop()}';
      INSERT INTO virtual_machines (id, cluster_id, name, created_at) SELECT '00000000-0000-7000-8000-00000000aaaa', id, 'web-07', 0 FROM clusters LIMIT 1;
      INSERT INTO attachments (image_id, vm_id, attached_at) VALUES ('${images.used.split('/').pop()}', '00000000-0000-7000-8000-00000000aaaa', 0);`);
    const failing = `/datastores/${client.storageId('failing')}`;
    const gone = `/datastores/${client.storageId('taken away')}`;
    renameSync(join(server.roots, 'failing'), join(server.roots, 'failing-away'));
    await client.post(`${gone}/removal`);
    await until('the storage to be degraded', async () => /Degraded/.test(await client.page(failing)));
    const local = `/local-storages/${client.storageId('isos')}`;
    const host = (await client.page('/hosts')).match(/\/hosts\/[0-9a-f-]{36}/)[0];
    const draft = await client.draft({ name: `Draft ${NASTY[0]}`, note: NASTY[5] });
    const fresh = (await client.fetch('/images/new')).headers.get('location').replace('/general', '');

    const add = (pattern, path = pattern, more = {}) => pages.push({ pattern, path, name: more.name ?? path.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, '…'), ...more });
    add('/sign-in', '/sign-in', { signedIn: false });
    add('/account');
    add('/account', '/account', { name: '/account with errors', status: 422, act: (page) => page.getByRole('button', { name: 'Change password' }).click() });
    add('/account/tokens');
    add('/account/tokens', '/account/tokens', { name: '/account/tokens with errors', status: 422, act: (page) => main(page).getByRole('button', { name: 'Make token' }).click() });
    const key = (await client.page('/account/tokens')).match(/name="key" value="([^"]+)"/)[1];
    await client.post('/account/tokens', { key, name: NASTY[0], days: '30', scope: 'read' });
    const revocation = (await client.page('/account/tokens')).match(/\/account\/tokens\/[0-9a-f-]{36}\/revocation/)[0];
    add('/account/tokens/{id}/revocation', revocation);
    add('/docs/problems', '/docs/problems', { signedIn: false });
    add('/docs/problems/{code}', '/docs/problems/name.taken', { signedIn: false });
    add('/api', '/api', { signedIn: false });
    add('/images');
    add('/images', '/images?q=nothing-like-this', { name: '/images, nothing matches' });
    add('/images', '/images?status=available&status=pending&os=debian-13&q=b', { name: '/images, filtered' });
    add('/images', '/images', { name: '/images with a selection and an open menu', scripts: true, act: async (page) => {
      await page.getByLabel('Select memtest').check();
      await main(page).locator('summary[aria-label="Actions for degraded"]').click();
    } });
    add('/images', '/images', { name: '/images with an open filter', scripts: true, act: (page) => main(page).locator('details.filter summary').first().click() });
    add('/images', '/images', { name: '/images with the help', scripts: true, dialog: true, act: (page) => page.keyboard.press('?') });
    pages.push({ pattern: '/images/selection', path: '/images', name: '/images/selection', act: async (page) => {
      const all = page.getByLabel('Select all on this page');
      if (await all.isVisible()) await all.click(); else for (const box of await main(page).locator('tbody input[name=ids]').all()) await box.check();
      await main(page).locator('#bulk').getByRole('button', { name: /Delete/ }).click();
      await page.waitForURL(/\/images\/selection$/);
    } });
    for (const [name, path] of Object.entries(images)) add('/images/{id}', path, { name: `/images/{id}, ${name}` });
    for (const tab of ['access', 'vms', 'events', 'edit', 'deletion']) add(`/images/{id}/${tab}`, `${images.plain}/${tab}`);
    add('/images/{id}/forgetting', `${images.plain}/forgetting`, { name: '/images/{id}/forgetting, refused', status: 409 });
    add('/images/{id}/vms', `${images.used}/vms`, { name: '/images/{id}/vms, used' });
    add('/images/{id}/deletion', `${images.used}/deletion`, { name: '/images/{id}/deletion, refused', status: 409 });
    add('/images/{id}/deletion', `${images['nasty 5']}/deletion`, { name: '/images/{id}/deletion, long name' });
    add('/images/{id}/forgetting', `${images.unavailable}/forgetting`, { name: '/images/{id}/forgetting, allowed' });
    add('/images/{id}/edit', `${images['nasty 0']}/edit`, { name: '/images/{id}/edit with errors', status: 422, act: async (page) => {
      await page.fill('[name=name]', '');
      await page.fill('[name=min_vcpu]', 'x');
      await main(page).getByRole('button', { name: 'Save' }).click();
    } });
    for (const step of ['general', 'configuration', 'summary', 'cancel']) add(`/images/new/{draft}/${step}`, `${draft}/${step}`);
    add('/images/new/{draft}/general', `${fresh}/general`, { name: '/images/new/{draft}/general with errors', status: 422, act: (page) => main(page).getByRole('button', { name: 'Continue' }).click() });
    add('/images/new/{draft}/configuration', `${draft}/configuration`, { name: '/images/new/{draft}/configuration with a refused file', scripts: true, act: async (page) => {
      await fileField(page).setInputFiles({ name: 'no.iso', mimeType: 'application/octet-stream', buffer: Buffer.from('no image') });
      await main(page).locator('[data-file-note][data-state=bad]').waitFor();
      await main(page).getByRole('button', { name: /^Continue/ }).click();
      await page.locator('.error-summary').waitFor();
    } });
    add('/clusters');
    add('/clusters/new');
    add('/clusters/new', '/clusters/new', { name: '/clusters/new with errors', status: 422, act: (page) => main(page).getByRole('button', { name: 'Add cluster' }).click() });
    for (const rest of ['', '/edit']) add(`/clusters/{id}${rest}`, cluster + rest);
    add('/clusters/{id}/removal', `${cluster}/removal`, { name: '/clusters/{id}/removal, refused', status: 409 });
    add('/clusters/{id}/removal', `${empty}/removal`, { name: '/clusters/{id}/removal' });
    add('/hosts');
    add('/hosts/{id}', host);
    for (const [section, one] of [['/datastores', datastore], ['/local-storages', local]]) {
      add(section);
      add(`${section}/new`);
      add(`${section}/new`, `${section}/new`, { name: `${section}/new with errors`, status: 422, act: (page) => main(page).getByRole('button', { name: /^Add/ }).click() });
      for (const rest of ['', '/edit', '/removal']) add(`${section}/{id}${rest}`, one + rest);
    }
    add('/datastores/{id}', failing, { name: '/datastores/{id}, degraded' });
    add('/datastores/{id}', gone, { name: '/datastores/{id}, removed' });
    add('/events');
    add('/events', '/events?outcome=failed&action=sign_in', { name: '/events, nothing matches' });
    for (const filter of ['Action', 'Result', 'Time']) {
      add('/events', '/events', { name: `/events with the filter ${filter}`, scripts: true, act: (page) => main(page).locator('details.filter summary', { hasText: filter }).click() });
    }
    add('/settings');
    add('404', '/nothing-here', { status: 404, signedIn: false });
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  /** Opens a page of the list, and does what brings it into its state. */
  const open = async (page, entry) => {
    if (entry.signedIn === false && entry.status !== 404) await page.context().clearCookies();
    const answer = await page.goto(entry.path);
    if (entry.act) {
      await entry.act(page);
      if (entry.status) await page.locator('.error-summary').first().waitFor();
    } else {
      assert.equal(answer.status(), entry.status ?? 200, entry.name);
      if (entry.path !== '/sign-in' && !entry.path.startsWith('/nothing')) assert.equal(new URL(page.url()).pathname, entry.path.split('?')[0], `${entry.name} is shown and leads nowhere else`);
    }
  };
  /** Runs a check on every page and tells all that failed. */
  const everywhere = async (page, check, only = () => true) => {
    const failed = [];
    for (const entry of pages.filter(only)) {
      try {
        await open(page, entry);
        await check(page, entry);
      } catch (error) {
        failed.push(`${entry.name}: ${error.message.split('\n').slice(0, 12).join('\n    ')}`);
      }
      if (entry.signedIn === false) await page.context().addCookies([...client.cookies].map(([name, value]) => ({ name, value, url: server.url })));
    }
    assert.equal(failed.length, 0, `${failed.length} of ${pages.length} pages:\n${failed.join('\n')}`);
  };

  test('UX 1–16: the list of pages has every address that is mounted', async () => {
    const looked = new Set(pages.map(({ pattern }) => pattern));
    const mounted = readableRoutes();
    assert.ok(mounted.length > 20, `${mounted.length} addresses were found`);
    assert.deepEqual(mounted.filter((route) => !looked.has(route) && !NO_PAGES.has(route)), []);
  });

  test('UX 1–16: every link on every page leads to a page', async () => {
    const links = new Set();
    for (const { path, signedIn, act, status } of pages) {
      if (act || signedIn === false) continue;
      for (const [, href] of (await client.page(path, status)).matchAll(/<a\b[^>]*href="(\/[^"#]*)/g)) links.add(href.replace(/&amp;/g, '&'));
    }
    const dead = [];
    for (const href of links) {
      if (/\/download|\.csv/.test(href)) continue;
      const { status } = await client.fetch(href);
      if (status >= 400) dead.push(`${href} ${status}`);
    }
    assert.ok(links.size > 40);
    assert.deepEqual(dead, []);
  });

  test('UX 1, 2: one h1, a title that ends with the product, landmarks, the current entry marked, errors in the title', async () => {
    const page = await signedInPage(browser, client);
    await everywhere(page, async (tab, { signedIn, status, path, name }) => {
      await hasOutline(tab, { signedIn });
      if (status === 422) assert.match(await tab.title(), /^Error: /, name);
      if (signedIn !== false && !/^\/account/.test(path)) {
        const current = tab.getByRole('navigation', { name: 'Main' }).locator('[aria-current=page]');
        assert.equal(await current.count(), 1);
        assert.equal(await current.getAttribute('href'), `/${path.split(/[/?]/)[1]}`);
      }
    });
    await page.context().close();
  });

  test('UX 2: the first Tab stop skips to the main content', async () => {
    const page = await signedInPage(browser, client);
    await everywhere(page, async (tab) => {
      await tab.keyboard.press('Tab');
      assert.equal(await tab.evaluate(() => document.activeElement.textContent), 'Skip to main content');
      assert.ok(await tab.evaluate(() => { const box = document.activeElement.getBoundingClientRect(); return box.top >= 0 && box.left >= 0 && box.width > 24; }), 'it can be seen');
      await tab.keyboard.press('Enter');
      assert.ok(await tab.evaluate(() => document.activeElement.closest('main') !== null), 'the focus is in main');
    }, ({ act, path }) => !act && !/deletion|removal|revocation|forgetting|cancel|selection/.test(path));
    await page.context().close();
  });

  for (const theme of ['light', 'dark']) {
    test(`UX 4, 6, 9: axe finds nothing at 320, 768 and 1280 px in ${theme}; only tables scroll sideways; wider spacing breaks nothing; nothing leaves the origin`, { timeout: 900_000 }, async () => {
      const page = await signedInPage(browser, client, { theme });
      await everywhere(page, async (tab, { name }) => {
        for (const width of [1280, 768, 320]) {
          await tab.setViewportSize({ width, height: width === 320 ? 640 : 900 });
          await axe(tab, `${name}, ${width} px, ${theme}`);
          if (theme === 'light') await onlyTablesScroll(tab, `${name}, ${width} px`);
          if (theme === 'light' && width !== 768) await textSpacingBreaksNothing(tab, `${name}, ${width} px`);
        }
        await tab.setViewportSize({ width: 1280, height: 900 });
        noCspViolations(tab, name);
      });
      await page.context().close();
    });
  }

  for (const [theme, width] of [['light', 1280], ['dark', 1280], ['light', 320]]) {
    test(`UX 5: the focus has a ring of 2 px and 3:1 and is never covered, ${theme}, ${width} px`, { timeout: 600_000 }, async () => {
      const page = await signedInPage(browser, client, { theme, width, height: width === 320 ? 640 : 900 });
      await everywhere(page, (tab, { name }) => focusIsSeen(tab, name, 45), ({ act, name, dialog }) => !dialog && (!act || /errors/.test(name)) && (theme === 'light' || !/nasty/.test(name)));
      await page.context().close();
    });
  }

  test('UX 7: forced colours keep borders, icons and progress', async () => {
    const page = await signedInPage(browser, client, { forcedColors: 'active' });
    await page.goto('/images');
    await main(page).locator('details.columns summary').click();
    const bad = await page.evaluate(() => [...document.querySelectorAll('main .status, main .btn, main input, main progress, main meter, main .chip')].filter((el) => el.checkVisibility() && !el.closest('.visually-hidden, .visually-hidden-focusable')).flatMap((el) => {
      const style = getComputedStyle(el);
      const drawn = el.matches('progress, meter, [type=checkbox], [type=radio]') || (style.borderTopStyle !== 'none' && parseFloat(style.borderTopWidth) > 0) || el.closest('.field');
      const icon = el.querySelector('svg');
      const seen = !icon || getComputedStyle(icon).stroke !== style.backgroundColor;
      return drawn && seen ? [] : [el.outerHTML.slice(0, 120)];
    }));
    assert.deepEqual(bad, []);
    await everywhere(page, (tab, { name }) => focusIsSeen(tab, `${name}, forced colours`, 15), ({ name }) => ['/images', '/account', '/clusters/new'].includes(name));
    await page.context().close();
  });

  test('UX 8: with less motion asked for nothing moves', async () => {
    const page = await signedInPage(browser, client, { reducedMotion: 'reduce' });
    await everywhere(page, (tab, { name }) => nothingMoves(tab, name));
    await page.context().close();
  });

  test('UX 12, 15: times say their zone; what cannot be done stays visible, can be focused and says why', async () => {
    const page = await signedInPage(browser, client);
    const plain = await signedInPage(browser, client, { javaScript: false });
    for (const tab of [page, plain]) {
      await everywhere(tab, async (opened, { name }) => {
        await timesAreExact(opened, name).catch((error) => { if (tab === page) throw error; });
        await impossibleSaysWhy(opened, name);
        if (tab === plain) assert.equal(await opened.locator('main time').filter({ hasNotText: /UTC/ }).count(), 0, 'without scripts times are absolute');
      }, ({ act }) => !act);
      await tab.context().close();
    }
  });

  test('UX 12: the moment itself comes up on a key press; sizes are binary, with their bytes', async () => {
    const page = await signedInPage(browser, client);
    await page.goto('/images?q=memtest');
    await page.getByRole('row', { name: /memtest/ }).locator('time').focus();
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('Tab');
    await page.locator('.tip').waitFor();
    assert.match(await page.locator('.tip').innerText(), /20\d\d.*\d\d?:\d\d.*(GMT|UTC|CES?T)/);
    assert.equal(await page.getByRole('row', { name: /memtest/ }).getByText('5.9 MiB').getAttribute('title'), '6,193,152 bytes');
    await page.context().close();
  });

  test('UX 16: what people typed is shown letter by letter, in every list and on every page', async () => {
    const page = await signedInPage(browser, client);
    let alerts = 0;
    page.on('dialog', (dialog) => { alerts++; dialog.dismiss(); });
    await page.goto('/images?size=100');
    const shown = await main(page).locator('tbody th bdi').allInnerTexts();
    for (const name of NASTY) assert.ok(shown.includes(name), name);
    assert.equal(await main(page).locator('b:not(.kv b), script').count(), 0);
    for (const [index, name] of NASTY.entries()) {
      await page.goto(images[`nasty ${index}`]);
      assert.ok((await main(page).locator('h1').innerText()).includes(name), name);
      assert.equal(await page.title(), `${name} – Images – vmimg`);
      await page.goto(`${images[`nasty ${index}`]}/edit`);
      assert.equal(await page.inputValue('[name=name]'), name);
      assert.equal(await page.inputValue('[name=note]'), name);
      await page.goto(`${images[`nasty ${index}`]}/deletion`);
      assert.ok((await main(page).innerText()).includes(name), name);
    }
    await page.goto('/events');
    assert.ok((await main(page).innerText()).includes(NASTY[0]));
    await page.goto(`/images?q=${encodeURIComponent(NASTY[0])}`);
    assert.deepEqual(await main(page).locator('tbody th bdi').allInnerTexts(), [NASTY[0]]);
    assert.equal(alerts, 0);
    await page.context().close();
  });

  test('UX 1–16: the markup of every page is valid', async () => {
    const html = new HtmlValidate({
      extends: ['html-validate:standard'],
      rules: { 'long-title': 'off', 'no-trailing-whitespace': 'off', 'require-sri': 'off', 'tel-non-breaking': 'off', 'doctype-style': 'off', 'no-inline-style': 'error' },
    });
    const failed = [];
    for (const { path, name, act, signedIn, status } of pages) {
      if (act || signedIn === false) continue;
      const report = await html.validateString(await client.page(path, status));
      for (const message of report.results.flatMap((result) => result.messages)) failed.push(`${name}:${message.line}:${message.column} ${message.ruleId} ${message.message}`);
    }
    assert.equal(failed.length, 0, `${failed.length} faults:\n${failed.slice(0, 40).join('\n')}`);
  });
});
