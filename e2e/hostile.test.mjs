// What only a browser can show: that names run nothing, that other sites can neither change nor frame the console, and that nothing of it
// is left in the browser after signing out.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { launch, main, makeIso, noCspViolations, signedInPage, startConsole, until } from './support.mjs';

describe('hostile names and other sites', () => {
  let server, client, browser, elsewhere, html;
  before(async () => {
    ({ server, client } = await startConsole());
    browser = await launch();
    // Another site: it answers every address with the page that a test gives it.
    elsewhere = createServer((request, answer) => answer.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' }).end(html));
    await new Promise((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
  });
  after(async () => {
    elsewhere?.close();
    await browser?.close();
    await server?.stop();
  });

  /** A tab in which the administrator is signed in, on another site whose page is `text`; what the console answered to it. */
  const visit = async (host, text) => {
    html = `<!DOCTYPE html><title>elsewhere</title><body>${text}`;
    const context = await browser.newContext();
    await context.addCookies([...client.cookies].map(([name, value]) => ({ name, value, url: server.url })));
    const page = await context.newPage();
    const answers = [];
    page.on('response', (answer) => { if (answer.url().startsWith(server.url)) answers.push({ status: answer.status(), method: answer.request().method(), url: answer.url() }); });
    await page.goto(`http://${host}:${elsewhere.address().port}/`);
    return { page, answers, context };
  };
  const counts = () => server.sql('SELECT COUNT(*) FROM images; SELECT COUNT(*) FROM clusters; SELECT COUNT(*) FROM uploads;');

  test('B-N10: names that are markup, templates or addresses are text wherever they stand', async () => {
    const page = await signedInPage(browser, client);
    let ran = 0;
    page.on('dialog', (dialog) => { ran += 1; dialog.dismiss(); });
    const image = await client.createImage({ name: 'plain', iso: makeIso(join(server.folder, 'names.iso')) });
    for (const name of ['"><svg onload=alert(1)>', '<script>alert(1)</script>', '{{7*7}}', '${7*7}', 'javascript:alert(1)', '</title><script>alert(1)</script>',
      '</bdi></td></table><img src=x onerror=alert(1)>', "' autofocus onfocus='alert(1)", '<iframe srcdoc="<script>parent.alert(1)</script>">', 'مرحبا <b>']) {
      await client.send(`${image}/edit`, { name, note: name }, /edit/);
      for (const path of ['/images', image, `${image}/edit`, `${image}/deletion`, `${image}/events`, '/events', `/images?q=${encodeURIComponent(name)}`]) {
        await page.goto(path);
        const shown = path.endsWith('/edit') ? await page.inputValue('[name=name]') : await main(page).innerText();
        assert.ok(shown.includes(name), `${path} shows ${name}`);
        assert.equal(await page.evaluate(() => document.querySelectorAll('main script, main svg[onload], main iframe, main [onerror], main [onfocus]').length), 0, `${path} has an element of ${name}`);
      }
      await page.goto(image);
      assert.ok((await page.title()).includes(name), await page.title());
    }
    assert.equal(ran, 0, 'a name ran');
    await noCspViolations(page);
  });

  for (const host of ['127.0.0.1', 'localhost']) {
    test(`B-A06: a form with a file and a request of a script from another site (${host}) change nothing`, async () => {
      const before = counts();
      const target = `${server.url}/images/new/01900000-0000-7000-8000-000000000000/create`;
      const { page, answers, context } = await visit(host, `
        <form id="upload" method="post" enctype="multipart/form-data" action="${target}" target="upload-answer"><input type="file" name="file"><input name="name" value="x"></form>
        <form id="cluster" method="post" action="${server.url}/clusters/new" target="cluster-answer"><input name="name" value="evil"></form>
        <form id="text" method="post" enctype="text/plain" action="${server.url}/clusters/new" target="text-answer"><input name="name" value="evil"></form>
        <iframe name="upload-answer"></iframe><iframe name="cluster-answer"></iframe><iframe name="text-answer"></iframe>`);
      await page.setInputFiles('#upload [type=file]', { name: 'x.iso', mimeType: 'application/octet-stream', buffer: Buffer.alloc(100_000) });
      for (const id of ['upload', 'cluster', 'text']) {
        const seen = answers.length;
        await page.evaluate((form) => document.getElementById(form).submit(), id);
        await until(`the answer to the form ${id}`, () => answers.length > seen);
      }
      await page.evaluate(async ([url, clusters]) => {
        const body = new FormData();
        body.append('file', new File([new Uint8Array(100_000)], 'x.iso'));
        await fetch(url, { method: 'POST', body, mode: 'no-cors', credentials: 'include' }).catch(() => {});
        await fetch(clusters, { method: 'POST', body: new URLSearchParams({ name: 'evil' }), mode: 'no-cors', credentials: 'include' }).catch(() => {});
        await fetch(clusters, { method: 'DELETE', credentials: 'include' }).catch(() => {});
      }, [target, `${server.url}/clusters/new`]);
      const posts = answers.filter(({ method }) => method === 'POST');
      assert.ok(posts.length >= 3, JSON.stringify(answers));
      for (const { status, url } of posts) assert.equal(status, 403, url);
      assert.equal(answers.some(({ method }) => method === 'DELETE'), false, 'the question before a DELETE is answered by nothing that allows it');
      assert.equal(counts(), before);
      await context.close();
    });
  }

  test('B-A17: no other site frames the console or runs its downloads as a script', async () => {
    const image = await client.createImage({ name: 'no script', iso: makeIso(join(server.folder, 'script.iso')) });
    const { page, context } = await visit('127.0.0.1', `<script>var failed = 0;</script><iframe src="${server.url}/images"></iframe>
      <script src="${server.url}${image}/download" onerror="failed += 1"></script><script src="${server.url}/images.csv" onerror="failed += 1"></script>`);
    await page.waitForLoadState('load');
    assert.equal(await page.evaluate('failed'), 2, 'both are refused as scripts');
    const frame = page.frames().find((found) => found !== page.mainFrame());
    assert.doesNotMatch(await frame.content().catch(() => ''), /Sign out|New image|Create image/, 'the frame stays empty');
    assert.match(frame.url(), /^chrome-error:/);
    await context.close();
  });

  test('B-A17: after signing out, the way back shows nothing', async () => {
    const page = await signedInPage(browser, client);
    const secret = await client.createImage({ name: 'seen before', iso: makeIso(join(server.folder, 'before.iso')) });
    await page.goto(secret);
    assert.match(await main(page).innerText(), /seen before/);
    await page.goto('/account');
    await page.evaluate(() => document.querySelector('form[action="/sign-out"]').requestSubmit());
    await page.waitForURL(/\/sign-in/);
    for (let step = 0; step < 3; step += 1) {
      await page.goBack().catch(() => {});
      assert.doesNotMatch(await page.locator('body').innerText(), /seen before|ada@example\.org/, page.url());
    }
  });
});
