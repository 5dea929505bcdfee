// The creation wizard as a person walks it, with scripts and without.
import { basename } from 'node:path';
import { main } from './console.mjs';

const next = (page) => main(page).getByRole('button', { name: /^(Continue|Next)/ });

/** The first step. @param {import('playwright-core').Page} page */
export async function fillGeneral(page, { name, note }) {
  await page.fill('[name=name]', name);
  if (note !== undefined) await page.fill('[name=note]', note);
  await next(page).click();
  await page.waitForURL(/\/configuration/);
}

/** Chooses an operating system by typing, or from the plain list. @param {import('playwright-core').Page} page @param {string} os its name */
export async function chooseSystem(page, os) {
  const combo = page.getByRole('combobox', { name: /Operating system/ });
  if (await combo.evaluate((el) => el.tagName) === 'SELECT') {
    await combo.selectOption({ label: os });
    return;
  }
  await combo.click();
  await combo.fill(os);
  await page.getByRole('option').filter({ has: page.getByText(os, { exact: true }) }).click();
}

/** The field for the image's file. @param {import('playwright-core').Page} page */
export const fileField = (page) => main(page).locator('input[type=file]:enabled');

/** @param {import('playwright-core').Page} page @param {string} name */
export const storageChoice = (page, name) => main(page).locator('.pick label', { has: page.getByText(name, { exact: true }) }).locator('input[name=storage]');

/** The second step. @param {import('playwright-core').Page} page @param {{iso?: string, storage: string, os: string, javaScript?: boolean}} answers */
export async function fillConfiguration(page, { iso, storage, os, javaScript = true }) {
  if (iso && javaScript) {
    await fileField(page).setInputFiles(iso);
    await main(page).locator('[data-file-note][data-state=good]').waitFor();
  }
  await storageChoice(page, storage).check();
  await chooseSystem(page, os);
  await next(page).click();
  await page.waitForURL(/\/summary/);
}

/** The last step: creates the image. @param {import('playwright-core').Page} page */
export async function create(page, { iso, javaScript = true }) {
  if (iso && !javaScript) await fileField(page).setInputFiles(iso);
  await main(page).getByRole('button', { name: 'Create image' }).click();
  await page.waitForURL(/\/images\/[0-9a-f-]{36}$/, { timeout: 120_000, waitUntil: 'domcontentloaded' });
}

/** The whole wizard; ends on the image's page. @param {import('playwright-core').Page} page */
export async function createInBrowser(page, { name, note, iso, storage = 'isos', os = 'Debian 13 (trixie)', javaScript = true }) {
  await page.goto('/images/new');
  await page.waitForURL(/\/general/);
  await fillGeneral(page, { name: name ?? basename(iso), note });
  await fillConfiguration(page, { iso, storage, os, javaScript });
  await create(page, { iso, javaScript });
  return new URL(page.url()).pathname;
}
