// What people do everywhere in the console: set it up, sign in, send a form, read what came of it.
import assert from 'node:assert/strict';
import { newPage } from './browser.mjs';

/** Who sets every test's console up. */
export const ADMIN = { name: 'Ada Lovelace', email: 'ada@example.org', password: 'correct horse battery staple' };

/** Whether scripts run in this page. */
const runsScripts = (page) => page.evaluate(() => document.querySelector('[data-show-password]')?.hidden === false);

/**
 * Follows the one-time address and fills in the set-up page.
 * @param {import('playwright-core').Page} page @param {import('./server.mjs').Server} server
 * @param {{storageName?: string, storagePath?: string}} [options] storagePath: kept as proposed without
 */
export async function setUp(page, server, { storageName, storagePath } = {}) {
  await page.goto(server.setupUrl);
  await page.fill('[name=name]', ADMIN.name);
  await page.fill('[name=email]', ADMIN.email);
  await page.fill('[name=password]', ADMIN.password);
  if (storageName) await page.fill('[name=storage_name]', storageName);
  if (storagePath) await page.fill('[name=storage_path]', storagePath);
  await page.getByRole('button', { name: 'Set up' }).click();
  await page.waitForURL(/\/images$/);
}

/** Signs in, and ends up at `next`. @param {import('playwright-core').Page} page */
export async function signIn(page, { email = ADMIN.email, password = ADMIN.password, next = '/images' } = {}) {
  await page.goto(`/sign-in?next=${encodeURIComponent(next)}`);
  await submitSignIn(page, { email, password });
  await page.waitForURL((url) => !url.pathname.startsWith('/sign-in'));
}

/** Fills in the sign-in page that is open. @param {import('playwright-core').Page} page */
export async function submitSignIn(page, { email = ADMIN.email, password = ADMIN.password } = {}) {
  await page.fill('[name=email]', email);
  await page.fill('[name=password]', password);
  await main(page).getByRole('button', { name: 'Sign in', exact: true }).click();
}

/** The page's own part. @param {import('playwright-core').Page} page */
export const main = (page) => page.locator('main');

/** The message after a change. @param {import('playwright-core').Page} page */
export const flash = (page) => page.locator('#flash .flash');

/** The status in the title of an image's page, or of any thing's. @param {import('playwright-core').Page} page */
export async function statusOf(page) {
  return (await page.locator('h1 .status, .top .status').first().innerText()).trim();
}

/** Waits until an image's page shows this status: by itself where scripts keep it up to date, else loaded again and again. */
export async function waitForStatus(page, path, status, within = 40_000) {
  const end = Date.now() + within;
  const isThere = async () => new URL(page.url()).pathname === path;
  const isLive = () => page.evaluate(() => document.querySelector('time[data-relative][title]') !== null).catch(() => true);
  for (let seen = ''; ; await page.waitForTimeout(200)) {
    // A page that sends a file must not be left.
    if (!(await isThere() && await isLive())) await page.goto(path);
    seen = await statusOf(page);
    if (status instanceof RegExp ? status.test(seen) : seen === status) return;
    assert.ok(Date.now() < end, `${path} is ${seen}, not ${status}, after ${within / 1000} s`);
  }
}

/** Errors are told as they should be: summary first and focused, linked to the fields, the same words there, the title says so. */
export async function expectErrors(page, expected, { focus = true } = {}) {
  const summary = page.locator('.error-summary');
  await summary.waitFor();
  assert.match(await page.title(), /^(\d+ % – )?Error: /, 'the title begins with Error:');
  const scripts = focus && await runsScripts(page).catch(() => false);
  if (scripts) assert.ok(await summary.evaluate((el) => el === document.activeElement), 'the summary has the focus');
  assert.equal(await summary.getAttribute('role'), 'alert');
  for (const [field, words] of Object.entries(expected)) {
    const link = summary.getByRole('link').filter({ hasText: words }).first();
    assert.ok(await link.count(), `the summary says ${words}: ${await summary.innerText()}`);
    const target = (await link.getAttribute('href')).split('#')[1];
    const input = page.locator(`[id="${target}"]`);
    assert.ok(await input.count(), `#${target} is there`);
    const inside = await input.evaluate((el, name) => [el, ...el.querySelectorAll('input, select, textarea')].some((part) => part.name === name || part.id === name || part.id === `${name}-native`), field);
    assert.ok(inside, `the link of the error leads to the field ${field}, not to #${target}`);
    const wrong = await page.evaluate((name) => {
      const parts = [...document.querySelectorAll(`[name="${name}"], [id="${name}"]`)].filter((el) => !el.hidden && el.type !== 'hidden');
      const marked = parts.find((el) => el.getAttribute('aria-invalid') === 'true') ?? parts.map((el) => el.closest('fieldset')).find((el) => el?.getAttribute('aria-describedby') || el?.querySelector('.error'));
      if (!marked) return null;
      const by = (marked.getAttribute('aria-describedby') ?? '').split(' ').filter(Boolean).map((id) => document.getElementById(id)?.textContent ?? '').join(' ');
      return by || marked.querySelector?.('.error')?.textContent || '';
    }, field);
    assert.ok(wrong !== null, `the field ${field} is marked as wrong`);
    assert.match(wrong, words instanceof RegExp ? words : new RegExp(words), `the same words stand at the field ${field}`);
  }
}

/** A page in which a client's person is signed in; url: of a proxy before the server. @param {import('playwright-core').Browser} browser @param {import('./client.mjs').Client} client */
export async function signedInPage(browser, client, { url = client.server.url, ...options } = {}) {
  const page = await newPage(browser, { url }, options);
  await page.context().addCookies([...client.cookies].map(([name, value]) => ({ name, value, url })));
  return page;
}

/** Fills the database with so many Available images that no file stands behind. @param {import('./server.mjs').Server} server */
export function seedImages(server, count, storage = 'isos') {
  const now = `${Date.now()}000`;
  const id = server.database === 'postgres'
    ? "lpad(to_hex(n), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(n), 12, '0')"
    : "printf('%08x-0000-7000-8000-%012x', n, n)";
  const name = server.database === 'postgres' ? "'seeded-' || lpad(n::text, 6, '0')" : "printf('seeded-%06d', n)";
  const numbers = server.database === 'postgres'
    ? `SELECT n FROM generate_series(1, ${count}) AS n`
    : `WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < ${count}) SELECT n FROM s`;
  server.sql(`INSERT INTO images (id, kind, status, storage_id, name, search_key, name_key, note, os, min_vcpu, min_memory_mib, min_disk_gib,
      size_bytes, sha256, format, label, publisher, boot, file_name, file_state, reserved_bytes, status_since, created_at, created_by_name, version)
    SELECT ${id}, 'installation', 'available', storages.id, ${name}, ${name}, ${name}, '', 'debian-13', 1, 512, 4, 1048576 + n,
      '${'0'.repeat(64)}', 'iso9660', NULL, NULL, 'bios', 'seeded.iso', 'sound', 0, ${now}, ${now} - n * CAST(1000000 AS BIGINT), 'nobody', 1
    FROM (${numbers}) AS numbers, storages WHERE storages.name = '${storage}'`);
}
