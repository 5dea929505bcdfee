// Clusters, hosts, datastores, local storages; and what every form does: one thing however often it is sent, a message, no page that repeats it.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { axe, expectErrors, flash, launch, main, makeIso, newPage, noCspViolations, screenshot, signedInPage, startConsole } from './support.mjs';

describe('storages and clusters', () => {
  let server, client, browser, page, plain;
  before(async () => {
    ({ server, client } = await startConsole());
    browser = await launch();
    page = await signedInPage(browser, client);
    plain = await signedInPage(browser, client, { javaScript: false });
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });
  const addStorage = async (tab, section, name, path) => {
    await tab.goto(`/${section}/new`);
    await tab.fill('[name=name]', name);
    await tab.fill('[name=path]', path);
    await main(tab).getByRole('button', { name: /^Add/ }).click();
  };
  const inOverview = async (tab, term) => (await main(tab).locator('dt', { hasText: new RegExp(`^${term}$`) }).locator('xpath=following-sibling::dd[1]').innerText()).trim();

  test('UX 61, 10: a datastore is added, and its page tells type, status, space with numbers and images, which lead to the list', async () => {
    for (const tab of [page, plain]) {
      const name = `nas ${tab === page}`;
      await addStorage(tab, 'datastores', name, server.place(name));
      await tab.waitForURL(/\/datastores\/[0-9a-f-]{36}$/);
      assert.match(await flash(tab).innerText(), new RegExp(name));
      assert.equal(await flash(tab).getAttribute('role'), 'status');
      assert.equal(await flash(tab).getByRole('link', { name }).count(), 1, 'the message links to it');
      await tab.reload();
      assert.equal(await flash(tab).count(), 0, 'and goes with the next page');
      assert.match(await inOverview(tab, 'Type'), /Datastore/);
      assert.match(await inOverview(tab, 'Status'), /Healthy/);
      assert.match(await inOverview(tab, 'Space'), /[\d.]+ [GT]iB of [\d.]+ [GT]iB free/);
      assert.equal(await inOverview(tab, 'Images'), '0 images');
      assert.match(readFileSync(join(server.roots, name, '.vmimg-storage.json'), 'utf8'), new RegExp(tab.url().split('/').pop()), 'the UUID lies on the medium');
    }
    await client.createImage({ name: 'counted', iso: makeIso(join(server.folder, 'a.iso')), storage: 'nas true' });
    await page.goto(`/datastores/${client.storageId('nas true')}`);
    await screenshot(page, 'datastore');
    await main(page).getByRole('link', { name: '1 image' }).first().click();
    await page.waitForURL(/\/images\?storage=/);
    assert.equal(await main(page).locator('tbody tr').count(), 1);
  });

  test('UX 61, 41: what cannot become a storage is refused with the reason, and nothing is left there', async () => {
    writeFileSync(join(server.roots, 'a-file'), '');
    mkdirSync(join(server.roots, 'inner', 'deeper'), { recursive: true });
    symlinkSync(server.place('elsewhere'), join(server.roots, 'link'));
    await addStorage(page, 'datastores', 'inner', join(server.roots, 'inner'));
    await page.waitForURL(/\/datastores\/[0-9a-f-]{36}$/);
    for (const [path, why] of [
      ['', /Give the folder/], ['relative/path', /absolute path/], [join(server.roots, 'nowhere'), /no folder/], ['/etc', /may lie below/],
      [`${server.roots}/../data`, /without “\.\.”/], [join(server.roots, 'a-file'), /not a folder/], [join(server.roots, 'link'), /symbolic link/],
      [join(server.roots, 'inner', 'deeper'), /lie in one another/], [join(server.roots, 'nas true'), /lies here already/], [server.dataDir, /data folder|may lie below/],
    ]) {
      await addStorage(page, 'datastores', 'refused', path);
      await expectErrors(page, { path: why });
      assert.equal(await page.inputValue('[name=path]'), path);
      assert.equal(await page.inputValue('[name=name]'), 'refused');
    }
    await addStorage(page, 'datastores', 'NAS TRUE', server.place('other'));
    await expectErrors(page, { name: /already/ });
    await axe(page);
    assert.throws(() => readFileSync(join(server.roots, 'other', '.vmimg-storage.json')), /ENOENT/, 'a refused folder carries no marker');
  });

  test('UX 61: a known UUID that is not removed is refused, with the way: change the path', async () => {
    const id = client.storageId('nas false');
    renameSync(join(server.roots, 'nas false'), join(server.roots, 'nas moved'));
    await addStorage(page, 'datastores', 'second of the same', join(server.roots, 'nas moved'));
    await expectErrors(page, { path: /change the path of “nas false” instead/ });
    assert.ok(await main(page).locator(`a[href="/datastores/${id}/edit"]`).count(), 'with a link there');
    await page.goto(`/datastores/${id}/edit`);
    await page.fill('[name=path]', server.place('empty'));
    await main(page).getByRole('button', { name: 'Save' }).click();
    await expectErrors(page, { path: /does not carry the storage.s marker/ });
    await page.fill('[name=path]', join(server.roots, 'nas moved'));
    await page.fill('[name=name]', 'nas renamed');
    await main(page).getByRole('button', { name: 'Save' }).click();
    await page.waitForURL(`**/datastores/${id}`);
    await main(page).getByRole('button', { name: 'Check again' }).click();
    assert.match(await flash(page).innerText(), /healthy/i);
    assert.equal(await inOverview(page, 'Path'), join(server.roots, 'nas moved'));
  });

  test('UX 61: a medium with an unknown UUID keeps it, and its files are counted and left alone', async () => {
    const folder = server.place('foreign');
    const uuid = '0190a0b0-c0d0-7000-8000-123456789abc';
    writeFileSync(join(folder, '.vmimg-storage.json'), JSON.stringify({ vmimg_storage: 1, id: uuid, created_at: '2026-01-01T00:00:00Z' }));
    writeFileSync(join(folder, 'holiday.iso'), 'not ours');
    await addStorage(page, 'local-storages', 'foreign', folder);
    await page.waitForURL(`**/local-storages/${uuid}`);
    assert.match(await main(page).innerText(), /1 file|Unknown files/i);
    assert.equal(readFileSync(join(folder, 'holiday.iso'), 'utf8'), 'not ours');
  });

  test('UX 61: datastores are connected to clusters and taken off again', async () => {
    await page.goto('/clusters/new');
    await page.fill('[name=name]', 'Production');
    await main(page).getByRole('button', { name: 'Add cluster' }).click();
    await page.waitForURL(/\/clusters\/[0-9a-f-]{36}$/);
    const cluster = page.url();
    for (const tab of [page, plain]) {
      await tab.goto(`/datastores/${client.storageId('nas renamed')}`);
      await main(tab).getByLabel('Connect to').selectOption({ label: 'Production' });
      await main(tab).getByRole('button', { name: 'Connect', exact: true }).click();
      assert.match(await flash(tab).innerText(), /Connected to Production/);
      await tab.goto(cluster);
      await main(tab).getByRole('link', { name: 'nas renamed' }).waitFor();
      const remove = main(tab).getByText('Remove', { exact: true });
      assert.equal(await remove.getAttribute('aria-disabled'), 'true');
      assert.match(await main(tab).locator('#why-remove').innerText(), /1 connected datastore/);
      await tab.goto(`/datastores/${client.storageId('nas renamed')}`);
      await main(tab).getByRole('button', { name: 'Disconnect from Production' }).click();
      assert.match(await flash(tab).innerText(), /Disconnected from Production/);
    }
    await page.goto(cluster);
    await main(page).getByRole('link', { name: 'Remove' }).click();
    await page.waitForURL(/\/removal$/);
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Cancel');
    await main(page).getByRole('button', { name: 'Remove cluster' }).click();
    await page.waitForURL(/\/clusters$/);
    assert.match(await flash(page).innerText(), /Production/);
  });

  test('UX 62, 15: cluster Default and host this machine are there; a cluster with something on it stays', async () => {
    await page.goto('/clusters');
    await main(page).getByRole('link', { name: 'Default' }).click();
    await page.waitForURL(/\/clusters\/[0-9a-f-]{36}$/);
    assert.match(await main(page).innerText(), /isos/, 'it lists its local storages');
    assert.equal(await main(page).getByRole('button', { name: 'Remove' }).getAttribute('aria-disabled'), 'true');
    assert.match(await main(page).locator('#why-remove').innerText(), /1 host, \d local storage/);
    await main(page).getByRole('link', { name: 'this machine' }).click();
    await page.waitForURL(/\/hosts\/[0-9a-f-]{36}$/);
    await main(page).getByText('Connected').first().waitFor();
    await main(page).getByRole('link', { name: 'isos' }).waitFor();
  });

  test('UX 28, 61: the list and the page of a storage follow its status by themselves', async () => {
    await page.goto('/datastores');
    const row = page.getByRole('row', { name: /nas true/ });
    await row.locator('.status', { hasText: 'Healthy' }).waitFor();
    const other = await newPage(browser, server, { context: page.context() });
    await other.goto(`/datastores/${client.storageId('nas true')}`);
    renameSync(join(server.roots, 'nas true'), join(server.roots, 'nas gone'));
    await row.locator('.status', { hasText: 'Degraded' }).waitFor();
    await other.locator('h1 .status', { hasText: 'Degraded' }).waitFor();
    assert.match(await main(other).locator('#cause').innerText(), /nothing at[\s\S]*Mount the right medium there, or change the storage.s path[\s\S]*1 image cannot be used/);
    await main(other).getByRole('button', { name: 'Check again' }).click();
    await flash(other).waitFor();
    assert.equal(await flash(other).getAttribute('role'), 'alert', 'bad news is an alert');
    await axe(other);
    renameSync(join(server.roots, 'nas gone'), join(server.roots, 'nas true'));
    await row.locator('.status', { hasText: 'Healthy' }).waitFor();
    await other.close();
  });

  test('UX 35: who saves a storage or a cluster later than somebody else is told', async () => {
    for (const path of [`/datastores/${client.storageId('nas true')}/edit`, `/clusters/${server.sql("SELECT id FROM clusters WHERE name = 'Default'")}/edit`]) {
      await page.goto(path);
      const form = await client.form(path, /edit/);
      assert.equal((await client.post(form.action, { ...form.fields, name: `${form.fields.name} theirs` })).status, 303);
      await page.fill('[name=name]', `${form.fields.name} mine`);
      await main(page).getByRole('button', { name: 'Save' }).click();
      await main(page).getByText(/Somebody else saved/).waitFor();
      assert.equal(await page.inputValue('[name=name]'), `${form.fields.name} mine`);
      await axe(page);
      await main(page).getByRole('button', { name: 'Save' }).click();
      await page.waitForURL((url) => url.pathname === path.replace('/edit', ''));
      await main(page).getByRole('heading', { level: 1 }).filter({ hasText: `${form.fields.name} mine` }).waitFor();
      const again = await client.form(path, /edit/);
      await client.post(again.action, { ...again.fields, name: form.fields.name });
    }
  });

  test('UX 10, 11: a double click, Back and sending again, and two tabs make one thing; reloading repeats nothing', async () => {
    const count = (table, name) => server.sql(`SELECT count(*) FROM ${table} WHERE name = '${name}'`);
    for (const tab of [page, plain]) {
      const name = `twice ${tab === page}`;
      await tab.goto('/clusters/new');
      await tab.fill('[name=name]', name);
      await main(tab).getByRole('button', { name: 'Add cluster' }).dblclick();
      await tab.waitForURL(/\/clusters\/[0-9a-f-]{36}$/);
      const made = tab.url();
      assert.equal(count('clusters', name), '1', 'after a double click');
      await tab.reload();
      assert.equal(count('clusters', name), '1', 'after reloading');
      await tab.goBack();
      await tab.waitForURL(/\/clusters\/new$/);
      await tab.fill('[name=name]', name);
      await main(tab).getByRole('button', { name: 'Add cluster' }).click();
      await tab.waitForLoadState();
      assert.equal(count('clusters', name), '1', 'after Back and sending again');
      assert.ok(made);
    }
    const form = await client.form('/datastores/new', /datastores/);
    const fields = { ...form.fields, name: 'two at once', path: server.place('two at once') };
    const answers = await Promise.all([1, 2, 3].map(() => client.post(form.action, fields)));
    assert.equal(count('storages', 'two at once'), '1');
    assert.ok(answers.every(({ status }) => status < 500), answers.map(({ status }) => status).join());
    const later = await client.post(form.action, fields);
    assert.equal(later.status, 303, 'sent again, it leads to what was made');
    assert.match(later.headers.get('location'), /\/datastores\/[0-9a-f-]{36}/);
  });

  test('UX 10: every change answers with a redirect', async () => {
    const storage = `/datastores/${client.storageId('nas true')}`;
    const image = await client.createImage({ name: 'changed', iso: makeIso(join(server.folder, 'b.iso')) });
    for (const [path, fields] of [[`${storage}/check`, {}], [`${image}/check`, {}], ['/account/theme', { theme: 'system' }], ['/account/preferences', { shortcuts: 'on' }],
      ['/images/columns', { back: '/images', column: 'type' }]]) {
      assert.equal((await client.post(path, fields)).status, 303, path);
    }
    const form = await client.form(`${image}/deletion`, /deletion/);
    assert.equal((await client.post(form.action, form.fields)).status, 303);
    assert.ok((await client.post(form.action, form.fields)).status === 404, 'what is gone is not found');
    assert.equal((await client.post('/sign-out')).status, 303);
    await client.signIn();
  });

  test('UX 9: nothing of all that left the origin or broke the content security policy', () => {
    noCspViolations(page);
    noCspViolations(plain);
  });
});
