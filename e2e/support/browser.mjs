// Debian's Chromium, and pages that are watched: what they request, what they print, what they throw.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { ROOT } from './server.mjs';

const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'];

/** @param {string[]} [more] arguments of the browser */
export const launch = (more = []) => chromium.launch({ executablePath: process.env.VMIMG_CHROMIUM ?? '/usr/bin/chromium', args: [...ARGS, ...more] });

/** What each page did that it should not. @type {WeakMap<import('playwright-core').Page, string[]>} */
const faults = new WeakMap();

/**
 * A page in a browser context of its own.
 * @param {import('playwright-core').Browser} browser
 * @param {{url: string}} server
 * @param {{javaScript?: boolean, theme?: 'light' | 'dark', width?: number, height?: number, context?: import('playwright-core').BrowserContext}
 *   & import('playwright-core').BrowserContextOptions} [options] context: another tab of that one
 */
export async function newPage(browser, server, { javaScript = true, theme = 'light', width = 1280, height = 900, context, ...more } = {}) {
  context ??= await browser.newContext({
    baseURL: server.url, javaScriptEnabled: javaScript, colorScheme: theme, viewport: { width, height }, reducedMotion: 'no-preference',
    timezoneId: 'Europe/Berlin', ...more,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  watch(page, server.url);
  return page;
}

/** Notes every request to elsewhere, every breach of the content security policy, every error of a script. */
function watch(page, origin) {
  const list = [];
  faults.set(page, list);
  page.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith(`${origin}/`) && !/^(data|blob|about|chrome-error):/.test(url)) list.push(`request to ${url}`);
    if (/^data:/.test(url) && request.resourceType() !== 'image') list.push(`data: ${request.resourceType()}`);
  });
  page.on('console', (message) => {
    const text = message.text();
    if (/content.security.policy/i.test(text)) list.push(`console: ${text}`);
    // The browser itself prints refused answers as errors; those are looked at where they are meant.
    else if (message.type() === 'error' && !/Failed to load resource|ERR_/.test(text)) list.push(`console: ${text}`);
  });
  page.on('pageerror', (error) => list.push(`script: ${error.message}`));
}

/** What the page did that it should not, since the last call. @param {import('playwright-core').Page} page @returns {string[]} */
export function faultsOf(page) {
  return (faults.get(page) ?? []).splice(0);
}

/** @type {WeakMap<import('playwright-core').Page, import('playwright-core').CDPSession>} */
const sessions = new WeakMap();

/** Makes the page's uploads slow. @param {import('playwright-core').Page} page @param {number} bytesPerSecond 0: as fast as can be */
export const throttle = (page, bytesPerSecond) => network(page, { uploadThroughput: bytesPerSecond || -1 });
/** Pulls the page's cable. @param {import('playwright-core').Page} page */
export const unplug = (page) => network(page, { offline: true });

async function network(page, conditions) {
  // One session for each page: what each sets, holds until it ends.
  const session = sessions.get(page) ?? await page.context().newCDPSession(page);
  sessions.set(page, session);
  await session.send('Network.enable');
  await session.send('Network.emulateNetworkConditions', { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: -1, ...conditions });
}

/** A picture for README.md, taken only when asked for. */
export async function screenshot(page, name, options = {}) {
  if (!process.env.VMIMG_SCREENSHOTS) return;
  const folder = join(ROOT, 'docs', 'screenshots');
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`), ...options });
}
