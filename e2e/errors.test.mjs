// Pages of errors: the right status, plain words, a way back, nothing of the inside; also while the database is away.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Client, axe, hasOutline, launch, main, makeIso, noCspViolations, signedInPage, startConsole, until } from './support.mjs';

const JARGON = /panicked|backtrace|src\/|\.rs\b|diesel|sqlite|postgres|stack|Error \{|null|undefined/i;

describe('error pages', () => {
  let server, client, browser, page, nobody;
  before(async () => {
    ({ server, client } = await startConsole());
    browser = await launch();
    page = await signedInPage(browser, client);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  const expectPage = async (answer, status, words, path = page.url()) => {
    assert.equal(answer.status(), status, path);
    assert.match(answer.headers()['content-type'], /^text\/html/);
    await hasOutline(page, { signedIn: false });
    const text = await page.locator('body').innerText();
    if (words) assert.match(text, words);
    assert.doesNotMatch(text, JARGON);
    assert.ok(await page.getByRole('link', { name: /images/i }).count() >= 1, 'a way back');
    await axe(page);
  };

  test('UX 65: 404, the same for what is missing, what is misspelt and what was never there', async () => {
    const texts = new Set();
    for (const path of ['/nonsense', '/images/nonsense', '/images/00000000-0000-7000-8000-000000000000', '/clusters/00000000-0000-7000-8000-000000000000', '/datastores/x',
      '/images/00000000-0000-7000-8000-000000000000/edit', '/images/00000000-0000-7000-8000-000000000000/deletion', '/images/00000000-0000-7000-8000-00000000000A', '/..%2f..%2fetc/passwd']) {
      await expectPage(await page.goto(path), 404, /Not found/, path);
      texts.add((await page.locator('main').innerText()).replace(/Request \S+/, ''));
    }
    assert.equal(texts.size, 1, [...texts].join('\n---\n'));
  });

  test('UX 65, 15: 403 says which right is missing; who may see nothing sees the third empty list', async () => {
    server.sql(`INSERT INTO users (id, email, email_key, name, password_hash, role, disabled, theme, shortcuts, list_columns, created_at, version)
      SELECT '00000000-0000-7000-8000-0000000000bb', 'guest@example.org', 'guest@example.org', 'Guest', password_hash, 'no_access', disabled, theme, shortcuts, list_columns, created_at, version FROM users`);
    nobody = await new Client(server).signIn({ email: 'guest@example.org' });
    const image = await client.createImage({ name: 'hidden', iso: makeIso(join(server.folder, 'hidden.iso')) });
    await page.context().clearCookies();
    await page.context().addCookies([...nobody.cookies].map(([name, value]) => ({ name, value, url: server.url })));
    await page.goto('/images');
    assert.doesNotMatch(await main(page).innerText(), /hidden\b.*isos/);
    await main(page).getByText(/nothing that you may see/i).waitFor();
    assert.equal((await page.goto(image)).status(), 404, 'what is hidden is not found');
    for (const path of ['/events', '/settings', '/clusters/new', '/datastores/new', '/images/new']) {
      const answer = await page.goto(path);
      if (answer.status() === 200) continue;
      await expectPage(answer, 403, /right to/);
    }
    assert.equal((await page.goto('/settings')).status(), 403);
    await page.context().clearCookies();
    await page.context().addCookies([...client.cookies].map(([name, value]) => ({ name, value, url: server.url })));
  });

  test('UX 65: a change that another site asks for is refused, in words', async () => {
    const answer = await client.fetch('/clusters/new', { method: 'POST', body: new URLSearchParams({ name: 'x' }), headers: { Origin: 'https://example.org', 'Content-Type': 'application/x-www-form-urlencoded' } });
    assert.equal(answer.status, 403);
    assert.match(await answer.text(), /did not come from a page of this console/);
  });

  test('UX 65: 405, 413, 400 have words too', async () => {
    assert.equal((await client.fetch('/images', { method: 'DELETE' })).status, 405);
    assert.match(await (await client.fetch('/images', { method: 'DELETE' })).text(), /cannot be done here/i);
    const large = await client.post('/clusters/new', { name: 'x'.repeat(3_000_000) });
    assert.equal(large.status, 413);
    assert.match(await large.text(), /<h1>[\s\S]*too large/i);
    const broken = await client.fetch('/clusters/new', { method: 'POST', body: 'name=%ff%fe', headers: { 'Content-Type': 'application/x-www-form-urlencoded' } });
    assert.ok([400, 422].includes(broken.status), `${broken.status}`);
  });

  test('UX 65: every answer forbids inline scripts, sniffing and framing', async () => {
    for (const path of ['/images', '/sign-in', '/nonsense', '/livez']) {
      const { headers } = await client.fetch(path);
      const policy = headers.get('content-security-policy') ?? '';
      assert.doesNotMatch(policy, /unsafe-inline|unsafe-eval/, path);
      assert.match(policy, /default-src 'none'|default-src 'self'/, path);
      assert.match(policy, /frame-ancestors 'none'/, path);
      assert.equal(headers.get('x-content-type-options'), 'nosniff', path);
      assert.ok(headers.get('referrer-policy'), path);
    }
  });

  test('UX 9: nothing of all that broke the content security policy', () => noCspViolations(page));
});

test('UX 65: while PostgreSQL is away, pages answer 503 with Retry-After in words, and come back by themselves', async () => {
  const { server, client } = await startConsole({ database: 'postgres' });
  const browser = await launch();
  try {
    const page = await signedInPage(browser, client);
    await page.goto('/images');
    const back = server.takeDatabaseAway();
    try {
      const answer = await until('an answer without the database', async () => {
        const found = await client.fetch('/images');
        return found.status === 200 ? null : found;
      }, 20_000);
      assert.equal(answer.status, 503);
      assert.ok(Number(answer.headers.get('retry-after')) > 0);
      const text = (await answer.text()).replace(/<[^>]*>/g, ' ');
      assert.match(text, /Try again/);
      assert.doesNotMatch(text, JARGON);
      assert.equal((await client.fetch('/livez')).status, 200, 'the service lives');
      assert.equal((await client.fetch('/readyz')).status, 503, 'but is not ready');
      await page.goto('/images');
      await hasOutline(page, { signedIn: false });
      await axe(page);
    } finally {
      back();
    }
    await until('the pages to come back', async () => (await client.fetch('/images')).status === 200, 30_000);
    assert.equal((await client.fetch('/readyz')).status, 200);
    noCspViolations(page);
  } finally {
    await browser.close();
    await server.stop();
  }
});

test('UX 65: while SQLite is locked by somebody else, pages are still shown and changes answer 503 with Retry-After', async () => {
  const { server, client } = await startConsole();
  try {
    const form = await client.form('/clusters/new', /clusters/);
    const back = server.takeDatabaseAway();
    try {
      assert.equal((await client.fetch('/images')).status, 200);
      const answer = await client.post(form.action, { ...form.fields, name: 'locked out' });
      assert.equal(answer.status, 503);
      assert.ok(Number(answer.headers.get('retry-after')) > 0);
      const text = (await answer.text()).replace(/<[^>]*>/g, ' ');
      assert.match(text, /Try again/);
      assert.doesNotMatch(text, JARGON);
    } finally {
      await back();
    }
    await until('changes to be taken again', async () => (await client.post(form.action, { ...form.fields, name: 'not locked out' })).status === 303);
  } finally {
    await server.stop();
  }
});

test('UX 65: what nobody expected is a 500 with the number of the request, and nothing of the inside', async () => {
  const { server, client } = await startConsole();
  const browser = await launch();
  try {
    const page = await signedInPage(browser, client);
    server.sql('ALTER TABLE clusters RENAME TO clusters_away');
    const answer = await page.goto('/clusters');
    assert.equal(answer.status(), 500);
    const text = await page.locator('body').innerText();
    const number = answer.headers()['x-request-id'];
    assert.ok(number, 'the answer carries its number');
    assert.match(text, new RegExp(number), 'the page shows the same number');
    assert.doesNotMatch(text, /clusters|table|sql/i);
    assert.match(server.log, new RegExp(number), 'and the log has it');
    await axe(page);
  } finally {
    await browser.close();
    await server.stop();
  }
});
