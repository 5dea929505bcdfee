// Everything that the browser tests share. Each part has a file of its own in support/.
export * from './support/server.mjs';
export * from './support/browser.mjs';
export * from './support/checks.mjs';
export * from './support/media.mjs';
export * from './support/console.mjs';
export * from './support/client.mjs';
export * from './support/wizard.mjs';
export * from './support/routes.mjs';
export * from './support/proxy.mjs';
export * from './support/line.mjs';
export * from './support/disk.mjs';
