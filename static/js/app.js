// Starts every module on the page, and again on content that swap.js or live.js bring in.
// Each module exports start(root); all pages work without any of this.
import { each, withJs } from './dom.js';
import * as guard from './guard.js';
import * as swap from './swap.js';
import * as live from './live.js';
import * as upload from './upload.js';
import * as resume from './resume.js';
import * as wizard from './wizard.js';
import * as theme from './theme.js';
import * as copy from './copy.js';
import * as time from './time.js';
import * as menu from './menu.js';
import * as select from './select.js';
import * as shortcuts from './shortcuts.js';
import * as password from './password.js';
import * as session from './session.js';
import * as os from './os.js';
import * as count from './count.js';

const modules = [live, guard, upload, resume, wizard, swap, theme, copy, time, menu, select, shortcuts, password, session, os, count];

/** @param {ParentNode} root */
function start(root) {
  withJs(root);
  for (const module of modules) {
    try { module.start(root); } catch (error) { console.error(error); } // one broken module leaves the others working
  }
}

swap.onSwap(start);
start(document);
document.addEventListener('vmimg:added', (event) => start(/** @type {CustomEvent} */ (event).detail));
each(document, '#main .error-summary', 'first', (box) => box.focus());
