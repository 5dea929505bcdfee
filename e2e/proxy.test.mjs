// Uploads through proxies: nginx with its default limit of 1 MiB; nginx, haproxy and Caddy with the settings of docs/proxies.md, and with a
// service behind them that is away; and something on the way that cuts every connection in the middle.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  PROXIES, axe, launch, main, makeIso, noCspViolations, onlyTablesScroll, screenshot, sha256sum, signedInPage, startConsole, startLine, startProxy, throttle,
} from './support.mjs';

const MIB = 2 ** 20;

describe('behind a proxy', () => {
  let server, client, browser, iso;
  before(async () => {
    ({ server, client } = await startConsole());
    browser = await launch();
    iso = makeIso(join(server.folder, 'proxied.iso'), { mib: 16 });
    await client.createRecord({ name: 'first', iso }); // from now on it has the cookie of a device
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  /** A page behind the proxy that sends the file of a new image; what it sent, piece by piece. */
  async function begin(proxy, name, rate) {
    const page = await signedInPage(browser, client, { url: proxy.url }), pieces = [];
    page.on('response', (response) => {
      const request = response.request();
      if (request.method() === 'PATCH') pieces.push({ bytes: Number(request.headers()['content-length'] ?? request.postDataBuffer()?.length ?? 0), status: response.status() });
    });
    const { image } = await client.createRecord({ name, iso });
    await page.goto(image);
    await main(page).getByLabel('Image file').setInputFiles(iso);
    await throttle(page, rate);
    await main(page).getByRole('button', { name: 'Send the file' }).click();
    return { page, pieces };
  }
  const arrived = async (page) => {
    await page.locator('h1 .status', { hasText: 'Available' }).waitFor({ timeout: 60_000 });
    assert.equal((await page.locator('#sha256').innerText()).trim(), sha256sum(iso));
    noCspViolations(page);
  };
  const obstacle = (page) => main(page).locator('[data-hurdle]');

  test('UX 57: a limit of 1 MiB is found, named and got through; the page says how to lift it', async () => {
    const proxy = await startProxy(server);
    try {
      const { page, pieces } = await begin(proxy, 'limited', 2 * MIB);
      await obstacle(page).getByText('lets no request of 2 MiB through (answer 413). The upload goes on in pieces of 1 MiB').waitFor();
      await obstacle(page).getByText('How to lift this').press('Enter');
      await obstacle(page).getByText(/client_max_body_size 0;/).waitFor();
      await axe(page);
      await screenshot(page, 'upload-proxy');
      await page.setViewportSize({ width: 320, height: 800 });
      await onlyTablesScroll(page);
      await page.emulateMedia({ colorScheme: 'dark' });
      await axe(page, 'the obstacle, dark, 320 px');
      await throttle(page, 0);
      await arrived(page);
      assert.equal(pieces.filter(({ status }) => status === 413).length, 2, '4 and 2 MiB were tried');
      assert.ok(pieces.filter(({ status }) => status === 204).length >= 16);
      await page.context().close();
    } finally { await proxy.stop(); }
  });

  test('F-37: what cuts every connection before its piece is through is got past, without longer and longer pauses', async () => {
    const line = await startLine(server, 3_000);
    try {
      const { page, pieces } = await begin(line, 'cut', 2 * MIB);
      await arrived(page);
      // The browser itself sends a request again that was cut off; by then the service is further.
      assert.ok(pieces.some(({ status }) => status === 409), JSON.stringify(pieces));
      await page.context().close();
    } finally { await line.stop(); }
  });

  for (const program of PROXIES) {
    test(`${program} with the settings of docs/proxies.md: pieces are as large as without a proxy`, async () => {
      const proxy = await startProxy(server, { program, settings: 'documented' });
      try {
        const { page, pieces } = await begin(proxy, `documented ${program}`, 0);
        await arrived(page);
        assert.ok(pieces.length <= 4, `${pieces.length} pieces`);
        assert.ok(pieces.every(({ status }) => status === 204), JSON.stringify(pieces));
        await page.context().close();
      } finally { await proxy.stop(); }
    });

    test(`UX 52: a service that is away behind ${program} is said, and the upload goes on when it is back`, async () => {
      const proxy = await startProxy(server, { program, settings: 'documented' });
      try {
        const { page } = await begin(proxy, `away ${program}`, 2 * MIB);
        await page.waitForFunction(() => Number(/(\d+) %/.exec(document.querySelector('[data-progress-text]')?.textContent ?? '')?.[1]) > 20);
        await server.end('SIGKILL');
        await main(page).locator('[data-progress-text]').filter({ hasText: /next try in \d+ s/ }).waitFor();
        await axe(page);
        await server.start();
        await throttle(page, 0);
        await arrived(page);
        await page.context().close();
      } finally { await proxy.stop(); }
    });
  }
});
