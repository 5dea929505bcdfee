// What holds on every page, as functions that throw a readable sentence when it does not.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { faultsOf } from './browser.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];

/** axe finds nothing to complain of. @param {import('playwright-core').Page} page @param {string} [where] */
export async function axe(page, where = page.url()) {
  // Colours on their way from one to another have no contrast to speak of.
  await page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.finished.catch(() => {}))));
  await page.evaluate(AXE);
  const { violations } = await page.evaluate((tags) => globalThis.axe.run(document, { runOnly: tags, resultTypes: ['violations'] }), TAGS);
  const lines = violations.flatMap(({ id, help, nodes }) =>
    nodes.slice(0, 5).map((node) => `${id} (${help}): ${node.html.slice(0, 160)} — ${node.failureSummary.split('\n').slice(1).join(' ').trim().slice(0, 200)}`));
  assert.deepEqual(lines, [], `axe at ${where}`);
}

/** No breach of the content security policy, no script error, no request that left the origin. */
export function noCspViolations(page, where = page.url()) {
  assert.deepEqual(faultsOf(page), [], `faults at ${where}`);
}

/** Begins to note what a screen reader is told, for `heard`. @param {import('playwright-core').Page} page */
export const listen = (page) => page.evaluate(() => {
  globalThis.said = [];
  new MutationObserver((list) => {
    for (const { target } of list) {
      const live = (target.nodeType === 1 ? target : target.parentElement)?.closest('[aria-live], [role=status], [role=alert]');
      if (live) globalThis.said.push(live.textContent);
    }
  }).observe(document.body, { subtree: true, childList: true, characterData: true });
});

/** What was said since. @param {import('playwright-core').Page} page @returns {Promise<string[]>} */
export const heard = (page) => page.evaluate(() => globalThis.said);

/** Only tables scroll sideways, inside a region that can be focused and has a name. */
export async function onlyTablesScroll(page, where = page.url()) {
  const wide = await page.evaluate(() => {
    const found = [];
    const root = document.scrollingElement;
    if (root.scrollWidth > innerWidth + 1) {
      const culprits = [...document.querySelectorAll('body *')].filter((el) => {
        const box = el.getBoundingClientRect();
        return box.width > 0 && box.right > innerWidth + 1 && !el.closest('.scroll, .visually-hidden');
      });
      found.push(`the page is ${root.scrollWidth} px wide in ${innerWidth}: ${culprits.slice(0, 3).map((el) => el.outerHTML.slice(0, 100)).join(' | ')}`);
    }
    for (const el of document.querySelectorAll('body *')) {
      const style = getComputedStyle(el);
      if (!/auto|scroll/.test(style.overflowX) || el.scrollWidth <= el.clientWidth + 1 || el.matches('textarea, input, select, dialog') || !el.checkVisibility()) continue;
      const named = el.tabIndex === 0 && el.getAttribute('role') === 'region' && (el.ariaLabel || el.getAttribute('aria-labelledby'));
      if (!el.querySelector('table')) found.push(`no table, but scrolls sideways: ${el.outerHTML.slice(0, 120)}`);
      else if (!named) found.push(`scrolls without focus or name: ${el.outerHTML.slice(0, 120)}`);
    }
    return found;
  });
  assert.deepEqual(wide, [], `sideways scrolling at ${where}`);
}

/** Spacing as in WCAG 1.4.12 cuts off and overlaps nothing. */
export async function textSpacingBreaksNothing(page, where = page.url()) {
  const cut = await page.evaluate(() => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync('* { line-height: 1.5 !important; letter-spacing: .12em !important; word-spacing: .16em !important } p { margin-bottom: 2em !important }');
    const before = document.adoptedStyleSheets;
    document.adoptedStyleSheets = [...before, sheet];
    const found = [];
    for (const el of document.querySelectorAll('main :is(button, a, label, th, td, dt, dd, h1, h2, p, legend, summary, .status, .chip)')) {
      const style = getComputedStyle(el);
      if (el.closest('.visually-hidden, .visually-hidden-focusable') || !el.checkVisibility()) continue;
      const hides = /hidden|clip/.test(style.overflow) && style.textOverflow !== 'ellipsis';
      if (hides && (el.scrollHeight > el.clientHeight + 2 || el.scrollWidth > el.clientWidth + 2)) found.push(el.outerHTML.slice(0, 120));
    }
    if (document.scrollingElement.scrollWidth > innerWidth + 1) found.push(`the page became ${document.scrollingElement.scrollWidth} px wide`);
    document.adoptedStyleSheets = before;
    return found;
  });
  assert.deepEqual(cut, [], `text spacing at ${where}`);
}

/**
 * Presses Tab through the page: every stop shows a ring of at least 2 px with enough contrast, and is not covered.
 * @param {import('playwright-core').Page} page
 */
export async function focusIsSeen(page, where = page.url(), most = 80) {
  await page.evaluate(() => { document.activeElement?.blur(); scrollTo(0, 0); });
  const found = [];
  for (let stop = 0; stop < most; stop++) {
    await page.keyboard.press('Tab');
    const seen = await page.evaluate(() => {
      const el = document.activeElement;
      if (!el || el === document.body) return { end: true };
      for (const animation of document.getAnimations()) animation.finish();
      const rgb = (text) => {
        const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
        canvas.fillStyle = text;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
      };
      const light = ([r, g, b]) => {
        const [x, y, z] = [r, g, b].map((c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
      };
      const ground = (node) => {
        for (let at = node; at; at = at.parentElement) {
          const colour = rgb(getComputedStyle(at).backgroundColor);
          if (colour[3] > 250) return colour;
        }
        return [255, 255, 255, 255];
      };
      const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((m, n) => n - m); return (x + 0.05) / (y + 0.05); };
      const name = el.outerHTML.slice(0, 110);
      if (el.dataset.seenByTest) return { end: true };
      el.dataset.seenByTest = '1';
      let ring = null;
      for (let at = el, up = 0; at && up < 4 && !ring; at = at.parentElement, up++) {
        const style = getComputedStyle(at);
        if (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2) ring = { at, colour: rgb(style.outlineColor) };
      }
      if (!ring) return { fault: `no ring of 2 px: ${name}` };
      const inside = parseFloat(getComputedStyle(ring.at).outlineOffset) < 0;
      const contrast = ratio(ring.colour, ground(inside ? ring.at : ring.at.parentElement ?? ring.at));
      if (contrast < 3) return { fault: `ring has a contrast of ${contrast.toFixed(2)}: ${name}` };
      const box = ring.at.getBoundingClientRect();
      const [x, y] = [box.left + Math.min(box.width / 2, 20), box.top + box.height / 2];
      const tall = box.height > innerHeight || box.width > innerWidth * 2;
      if (!tall && (x < 0 || y < 0 || x > innerWidth || y > innerHeight)) return { fault: `focused outside of the window: ${name}` };
      const top = tall ? null : document.elementFromPoint(x, y);
      for (let at = top; at && !at.contains(ring.at) && !ring.at.contains(at); at = at.parentElement) {
        if (/sticky|fixed/.test(getComputedStyle(at).position)) return { fault: `covered by ${at.outerHTML.slice(0, 60)}: ${name}` };
      }
      return {};
    });
    if (seen.fault) found.push(seen.fault);
    if (seen.end) break;
  }
  await page.evaluate(() => { for (const el of document.querySelectorAll('[data-seen-by-test]')) delete el.dataset.seenByTest; });
  assert.deepEqual(found, [], `focus at ${where}`);
}

/** With less motion asked for, nothing moves. */
export async function nothingMoves(page, where = page.url()) {
  const moving = await page.evaluate(() => [...document.querySelectorAll('*')].flatMap((el) => {
    const seconds = (list) => Math.max(0, ...list.split(',').map((part) => parseFloat(part) * (part.trim().endsWith('ms') ? 0.001 : 1) || 0));
    return [null, '::before', '::after'].flatMap((pseudo) => {
      const style = getComputedStyle(el, pseudo);
      const turns = style.animationName !== 'none' && seconds(style.animationDuration) > 0.02 && style.animationIterationCount !== '1';
      const slow = seconds(style.transitionDuration) > 0.02 || (style.animationName !== 'none' && seconds(style.animationDuration) > 0.02);
      return turns || slow ? [`${el.outerHTML.slice(0, 80)}${pseudo ?? ''} ${style.transitionDuration} ${style.animationName} ${style.animationDuration}`] : [];
    });
  }).slice(0, 5));
  assert.deepEqual(moving, [], `motion at ${where}`);
}

/** One h1, a title that begins with it and ends with the product, landmarks, a skip link that comes first. */
export async function hasOutline(page, { signedIn = true, where = page.url() } = {}) {
  const found = await page.evaluate(() => ({
    h1: document.querySelectorAll('h1').length,
    main: document.querySelectorAll('main').length,
    header: document.querySelectorAll('header, [role=banner]').length,
    nav: document.querySelectorAll('nav').length,
    current: document.querySelectorAll('nav [aria-current="page"]').length,
    title: document.title,
    lang: document.documentElement.lang,
    levels: [...document.querySelectorAll('main :is(h1, h2, h3, h4)')].filter((el) => el.offsetParent).map((el) => Number(el.tagName[1])),
  }));
  assert.equal(found.h1, 1, `h1 at ${where}`);
  assert.equal(found.main, 1, `main at ${where}`);
  assert.equal(found.lang, 'en', `lang at ${where}`);
  assert.match(found.title, / – vmimg$/, `title at ${where}`);
  found.levels.reduce((before, level) => {
    assert.ok(level <= before + 1, `headings jump from ${before} to ${level} at ${where}`);
    return level;
  }, 1);
  if (signedIn) {
    assert.ok(found.header >= 1 && found.nav >= 1, `header and nav at ${where}`);
    assert.ok(found.current <= 3, `aria-current at ${where}`);
  }
}

/** What cannot be done stays visible and focusable, and says why. */
export async function impossibleSaysWhy(page, where = page.url()) {
  const mute = await page.evaluate(() => [...document.querySelectorAll('[aria-disabled="true"]')].filter((el) => !el.closest('.pager, [aria-busy]')).flatMap((el) => {
    const by = (el.getAttribute('aria-describedby') ?? '').split(' ').map((id) => document.getElementById(id)?.textContent.trim()).join('');
    const told = by || el.querySelector('small')?.textContent.trim() || el.title;
    const hidden = el.closest('details:not([open])') === null && getComputedStyle(el).visibility === 'hidden';
    const focusable = el.tabIndex >= 0 && !el.matches(':disabled, a:not([href]):not([tabindex])');
    return told && focusable && !hidden ? [] : [el.outerHTML.slice(0, 140)];
  }));
  assert.deepEqual(mute, [], `impossible actions at ${where}`);
}

/** Times are <time> with a machine-readable moment and the zone one key press or hover away. */
export async function timesAreExact(page, where = page.url()) {
  const vague = await page.evaluate(() => [...document.querySelectorAll('main time')].flatMap((el) => {
    const sound = !Number.isNaN(new Date(el.getAttribute('datetime') ?? '').getTime());
    const exact = /UTC|GMT|CES?T/.test(`${el.title} ${el.textContent}`) && (!el.dataset.relative || el.tabIndex === 0);
    return sound && exact ? [] : [el.outerHTML.slice(0, 140)];
  }));
  assert.deepEqual(vague, [], `times at ${where}`);
}
