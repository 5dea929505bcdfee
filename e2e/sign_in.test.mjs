// Signing in and out, the account, sessions that end.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  ADMIN, Client, axe, expectErrors, flash, hasOutline, launch, main, newPage, noCspViolations, screenshot, setUp, signIn, startServer, submitSignIn,
} from './support.mjs';

describe('sign-in', () => {
  let server, browser, page, plain;
  before(async () => {
    server = await startServer();
    browser = await launch();
    page = await newPage(browser, server);
    await setUp(page, server, { storageName: 'isos', storagePath: server.place('isos') });
    await page.context().clearCookies();
    plain = await newPage(browser, server, { javaScript: false });
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  test('UX 17: labels, autocomplete, pasting, and a button that shows the password; no puzzle', async () => {
    await page.goto('/sign-in');
    await hasOutline(page, { signedIn: false });
    await axe(page);
    await screenshot(page, 'sign-in');
    const email = page.getByLabel('E-mail address');
    const password = page.getByLabel('Password', { exact: true });
    assert.equal(await email.getAttribute('autocomplete'), 'username');
    assert.equal(await password.getAttribute('autocomplete'), 'current-password');
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await page.evaluate((text) => navigator.clipboard.writeText(text), ADMIN.password);
    await password.focus();
    await page.keyboard.press('Control+V');
    assert.equal(await password.inputValue(), ADMIN.password, 'pasted');
    await page.getByRole('button', { name: 'Show password' }).click();
    assert.equal(await password.getAttribute('type'), 'text');
    await page.getByRole('button', { name: 'Hide password' }).click();
    assert.equal(await password.getAttribute('type'), 'password');
    await email.fill(ADMIN.email.toUpperCase());
    await password.press('Enter');
    await page.waitForURL(/\/images$/);
    await page.context().clearCookies();
  });

  test('UX 18: a wrong name and a wrong password get the same answer in similar time; the name is kept', async () => {
    const tell = async (email) => {
      await page.goto('/sign-in');
      const begun = Date.now();
      await submitSignIn(page, { email, password: 'wrong password' });
      await page.locator('.error-summary').waitFor();
      const took = Date.now() - begun;
      assert.equal(await page.inputValue('[name=email]'), email);
      assert.equal(await page.inputValue('[name=password]'), '');
      assert.match(await page.title(), /^Error: /);
      return [await page.locator('.error-summary').innerText(), took];
    };
    const times = { [ADMIN.email]: [], 'nobody@example.org': [] };
    const words = new Set();
    for (const email of [ADMIN.email, 'nobody@example.org', ADMIN.email, 'nobody@example.org']) {
      const [text, took] = await tell(email);
      words.add(text);
      times[email].push(took);
    }
    assert.equal(words.size, 1, [...words].join(' | '));
    const [right, wrong] = Object.values(times).map((list) => Math.min(...list));
    assert.ok(Math.abs(right - wrong) < 250, `${right} ms and ${wrong} ms`);
    await axe(page);
  });

  test('UX 18: after too many failures there is a wait, with its length: 429 and Retry-After', async () => {
    const client = new Client(server);
    let answer;
    for (let attempt = 0; attempt < 12; attempt++) {
      answer = await client.post('/sign-in', { email: 'guessed@example.org', password: `guess ${attempt}`, next: '/images' });
      if (answer.status === 429) break;
      assert.equal(answer.status, 422, `attempt ${attempt}`);
    }
    assert.equal(answer.status, 429);
    const seconds = Number(answer.headers.get('retry-after'));
    assert.ok(seconds >= 1 && seconds <= 900, `Retry-After: ${seconds}`);
    assert.match(await answer.text(), new RegExp(`Wait ${seconds} second`));
    await page.goto('/sign-in');
    for (let attempt = 0; attempt < 3; attempt++) {
      await submitSignIn(page, { email: 'guessed@example.org', password: 'again' });
      if (/Wait \d+ second/.test(await page.locator('.error-summary').innerText())) break;
    }
    assert.match(await page.locator('.error-summary').innerText(), /Wait \d+ second/);
    await signIn(page);
    await page.context().clearCookies();
  });

  test('UX 19: the page that was asked for opens after signing in, with scripts and without', async () => {
    for (const tab of [page, plain]) {
      await tab.goto('/events?outcome=done');
      assert.match(tab.url(), /\/sign-in\?next=/);
      await submitSignIn(tab);
      await tab.waitForURL(/\/events\?outcome=done$/);
      await tab.context().clearCookies();
    }
  });

  test('UX 19: no link from elsewhere leads anywhere but into the console', async () => {
    for (const next of ['https://example.org/', '//example.org', '/\\example.org', 'javascript:alert(1)', '/%09/example.org', ' //example.org', '/images/../../..//example.org', '\t//example.org']) {
      await page.goto(`/sign-in?next=${encodeURIComponent(next)}`);
      await submitSignIn(page);
      await page.waitForURL((url) => !url.pathname.startsWith('/sign-in'));
      assert.equal(new URL(page.url()).origin, server.url, next);
      await page.context().clearCookies();
    }
  });

  test('UX 19: a form that is sent after its session ended leads through sign-in back to it, and nothing typed is lost', async () => {
    for (const tab of [page, plain]) {
      await signIn(tab, { next: '/clusters/new' });
      await tab.fill('[name=name]', `Kept ${tab === page}`);
      await tab.fill('[name=note]', 'line one\nline "two" <b>');
      await tab.context().clearCookies();
      await main(tab).getByRole('button', { name: /Add/ }).click();
      await tab.locator('[name=password]').waitFor();
      assert.match(await main(tab).innerText(), /session has ended/i);
      await submitSignIn(tab, { password: 'mistyped once' });
      await tab.locator('.error-summary').waitFor();
      await submitSignIn(tab);
      await main(tab).getByText(`Kept ${tab === page}`).first().waitFor();
      if (tab === page) await axe(page);
      await main(tab).getByRole('button', { name: 'Continue' }).click();
      await tab.waitForURL(/\/clusters(\/[0-9a-f-]{36})?$/);
      await tab.goto('/clusters');
      await main(tab).getByRole('link', { name: `Kept ${tab === page}` }).click();
      assert.match(await main(tab).innerText(), /line "two" <b>/);
      await tab.context().clearCookies();
    }
  });

  test('UX 20: before the session ends there is a warning, and Stay signed in', async () => {
    await signIn(page);
    const inSeconds = (seconds) => page.route('**/images', async (route) => {
      const answer = await route.fetch();
      await route.fulfill({ response: answer, body: (await answer.text()).replace(/data-session-ends="\d+"/, `data-session-ends="${Date.now() + seconds * 1000}"`) });
    }, { times: 1 });
    await inSeconds(600);
    await page.goto('/images');
    await page.waitForTimeout(500);
    assert.equal(await page.locator('.session-warning').count(), 0, 'not ten minutes before');
    await inSeconds(140);
    await page.goto('/images');
    const warning = page.locator('.session-warning');
    await warning.waitFor();
    assert.match(await warning.innerText(), /signed out in about 2 minutes/);
    assert.equal(await warning.getAttribute('role'), 'alert');
    await axe(page);
    await warning.getByRole('button', { name: 'Stay signed in' }).click();
    await warning.waitFor({ state: 'detached' });
    await page.waitForTimeout(6_000);
    assert.equal(await warning.count(), 0, 'and it stays away');
  });

  test('UX 20: signing out ends the session on the server: the old cookie is worth nothing', async () => {
    const kept = await page.context().cookies();
    await page.goto('/images');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.waitForURL(/\/sign-in/);
    assert.match(await main(page).innerText(), /signed out/);
    await page.context().addCookies(kept);
    await page.goto('/images');
    assert.match(page.url(), /\/sign-in/);
    await page.context().clearCookies();
  });

  test('UX 20: an idle session ends; a session cookie cannot be read by scripts', async () => {
    await signIn(page);
    assert.equal(await page.evaluate(() => document.cookie), '');
    for (const cookie of await page.context().cookies()) assert.ok(cookie.httpOnly && cookie.sameSite === 'Lax', JSON.stringify(cookie));
    server.sql('UPDATE sessions SET seen_at = seen_at - 1801000000');
    await page.goto('/images');
    assert.match(page.url(), /\/sign-in/);
  });

  test('UX 7: the theme follows the system, or is chosen; it stays with the person, and the first paint has it', async () => {
    const ground = (tab) => tab.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const dark = await newPage(browser, server, { theme: 'dark' });
    const light = await newPage(browser, server);
    await signIn(dark);
    await signIn(light);
    const [black, white] = [await ground(dark), await ground(light)];
    assert.notEqual(black, white, 'as the system has it');
    await light.goto('/account');
    await light.getByRole('radio', { name: 'Dark' }).check();
    await light.waitForFunction((colour) => getComputedStyle(document.body).backgroundColor === colour, black);
    await light.waitForTimeout(500);
    const html = await (await light.request.get('/images')).text();
    assert.match(html, /<html[^>]*data-theme="dark"/, 'the page is sent with it, so nothing flashes');
    await dark.goto('/account');
    assert.ok(await dark.getByRole('radio', { name: 'Dark' }).isChecked(), 'in another browser too');

    await signIn(plain, { next: '/account' });
    await plain.getByRole('radio', { name: 'Light' }).check();
    await main(plain).getByRole('button', { name: 'Save theme' }).click();
    await flash(plain).waitFor();
    await dark.goto('/images');
    assert.equal(await ground(dark), white, 'without scripts as well');
    await light.goto('/account');
    await light.getByRole('radio', { name: 'System' }).check();
    await light.waitForTimeout(500);
    await dark.goto('/images');
    assert.equal(await ground(dark), black);
    for (const tab of [dark, light]) {
      noCspViolations(tab);
      await tab.context().close();
    }
  });

  test('UX 41, 10: changing one’s password needs the present one, ends the other sessions and says so', async () => {
    await signIn(page, { next: '/account' });
    const other = await new Client(server).signIn();
    await page.fill('[name=password]', 'not mine');
    await page.fill('[name=new_password]', 'short');
    await page.getByRole('button', { name: 'Change password' }).click();
    await expectErrors(page, { password: /not your present password/, new_password: /at least 8/ });
    const fresh = 'another good pass phrase';
    await page.fill('[name=password]', ADMIN.password);
    await page.fill('[name=new_password]', fresh);
    await page.getByRole('button', { name: 'Change password' }).click();
    assert.match(await flash(page).innerText(), /changed/);
    assert.equal((await other.fetch('/images')).status, 303, 'the other session has ended');
    assert.equal((await page.goto('/images')).status(), 200, 'this one has not');
    await page.context().clearCookies();
    await signIn(page, { password: fresh });
  });

  test('UX 9: nothing of all that left the origin or broke the content security policy', () => {
    noCspViolations(page);
    noCspViolations(plain);
  });
});
