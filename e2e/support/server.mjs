// One release binary on a free port, with everything it keeps below a temporary folder of its own.
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The project's folder. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const BINARY = process.env.VMIMG_BINARY ?? join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'release', 'vmimg');

/** Both databases: what a body that runs twice is given. */
export const DATABASES = ['sqlite', 'postgres'];

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until `check` answers something true, and answers it; never longer than `within` milliseconds. */
export async function until(what, check, within = 30_000) {
  const end = Date.now() + within;
  for (;;) {
    const found = await check();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${within / 1000} s in vain for: ${what}`);
    await sleep(100);
  }
}

export function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

/** Runs a statement on PostgreSQL. */
function psql(url, statement) {
  return execFileSync('psql', ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', url], { input: statement, encoding: 'utf8' }).trim();
}

function newDatabase() {
  const base = process.env.VMIMG_TEST_POSTGRES;
  if (!base) throw new Error('VMIMG_TEST_POSTGRES names no PostgreSQL: run `make e2e`, or `tests/tools/postgres with node --test e2e/`');
  const name = `e2e_${process.pid}_${Math.random().toString(36).slice(2, 8)}`;
  psql(`${base}postgres`, `CREATE DATABASE ${name}`);
  return {
    url: `${base}${name}`,
    drop: () => psql(`${base}postgres`, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
    away() {
      const allow = (yes) => psql(`${base}postgres`, `ALTER DATABASE ${name} ALLOW_CONNECTIONS ${yes}`);
      allow(false);
      psql(`${base}postgres`, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`);
      return () => allow(true);
    },
  };
}

/** @typedef {Awaited<ReturnType<typeof startServer>>} Server */

/**
 * Starts a server that nobody has set up yet.
 * @param {{database?: 'sqlite' | 'postgres', env?: Record<string, string>}} [options] env: more settings, such as VMIMG_MAX_UPLOAD
 */
export async function startServer({ database = 'sqlite', env = {} } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'vmimg-e2e-'));
  const roots = join(folder, 'media');
  mkdirSync(roots);
  const dataDir = join(folder, 'data');
  const db = database === 'postgres' ? newDatabase() : null;
  const port = await freePort();
  let log = '';
  let child = null;
  let exited = Promise.resolve();

  const server = {
    database,
    url: `http://127.0.0.1:${port}`,
    /** Where everything of this server lies. */
    folder,
    dataDir,
    /** Below it storages may lie. */
    roots,
    /** The one-time address printed at the last start, if one was. */
    setupUrl: null,
    get pid() { return child.pid; },
    get log() { return log; },
    async start() {
      let printed = '';
      child = spawn(BINARY, ['serve'], {
        cwd: folder,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: {
          PATH: process.env.PATH,
          HOME: folder,
          NO_COLOR: '1',
          VMIMG_DATA_DIR: dataDir,
          VMIMG_LISTEN: `127.0.0.1:${port}`,
          VMIMG_STORAGE_ROOTS: roots,
          VMIMG_LOG: 'info',
          VMIMG_METRICS_LISTEN: 'off',
          ...(db && { VMIMG_DATABASE_URL: db.url }),
          ...env,
        },
      });
      running.add(child);
      child.stdout.on('data', (bytes) => { printed += bytes; log += bytes; });
      child.stderr.on('data', (bytes) => { log += bytes; });
      let gone = null;
      exited = new Promise((resolve) => {
        child.once('error', (failed) => { gone = failed.message; resolve(); });
        child.once('exit', (code, signal) => { gone ??= `exit ${code ?? signal}`; running.delete(child); resolve(); });
      });
      await until('the server to answer', async () => {
        if (gone) throw new Error(`the server stopped (${gone}):\n${log}`);
        return fetch(`${server.url}/livez`).then((answer) => answer.ok, () => false);
      }, 30_000);
      server.setupUrl = /http:\/\/127\.0\.0\.1:\d+\/setup\?code=\S+/.exec(printed)?.[0] ?? null;
    },
    /** Ends it as a service manager does. */
    async end(signal = 'SIGTERM') {
      child.kill(signal);
      await exited;
      running.delete(child);
    },
    /** Ends it and removes everything it had. */
    async stop() {
      if (child && child.exitCode === null) {
        const late = setTimeout(() => child.kill('SIGKILL'), 10_000);
        await this.end();
        clearTimeout(late);
      }
      db?.drop();
      rmSync(folder, { recursive: true, force: true });
    },
    /** Runs statements on its database, to make what only time or many hands would make; answers what they print. */
    sql(statements) {
      if (db) return psql(db.url, statements);
      return execFileSync('sqlite3', ['-cmd', '.timeout 10000', join(dataDir, 'vmimg.db')], { input: statements, encoding: 'utf8' }).trim();
    },
    /** Nobody can reach the records (PostgreSQL) or change them (SQLite) until the answered function is called. */
    takeDatabaseAway() {
      if (db) return db.away();
      const holder = spawn('sqlite3', [join(dataDir, 'vmimg.db')], { stdio: ['pipe', 'ignore', 'inherit'] });
      holder.stdin.write('PRAGMA busy_timeout = 10000;\nBEGIN IMMEDIATE;\n');
      execFileSync('sleep', ['0.5']);
      return () => new Promise((resolve) => { holder.once('exit', resolve); holder.stdin.end('ROLLBACK;\n'); });
    },
    /** A fresh folder that can become a storage. */
    place(name) {
      const path = join(roots, name);
      mkdirSync(path, { recursive: true });
      return path;
    },
    /** The most memory it has had, in bytes. */
    mostMemory() {
      return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))[1]) * 1024;
    },
  };
  await server.start();
  return server;
}

// A test run that is interrupted leaves no server behind.
const running = new Set();
process.once('exit', () => { for (const child of running) child.kill('SIGKILL'); });
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
