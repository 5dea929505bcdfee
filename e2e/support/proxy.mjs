// A reverse proxy before a server: nginx, haproxy or Caddy with the settings of docs/proxies.md, or nginx with its own defaults.
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, freePort, until } from './server.mjs';

/** Those that docs/proxies.md has settings for. */
export const PROXIES = ['nginx', 'haproxy', 'caddy'];

/** The lines of docs/proxies.md, as they stand, but for addresses and certificate. @param {string} program @param {[string, string][]} addresses */
function documented(program, addresses) {
  const [, block] = new RegExp(`\`\`\`${program}\n([\\s\\S]*?)\`\`\``).exec(readFileSync(join(ROOT, 'docs', 'proxies.md'), 'utf8'));
  return addresses.reduce((lines, [written, here]) => {
    if (!lines.includes(written)) throw new Error(`docs/proxies.md has no “${written}” for ${program}`);
    return lines.replace(written, here);
  }, block);
}

const plain = (port, upstream) => `server { listen 127.0.0.1:${port}; location / { proxy_pass http://${upstream}; proxy_set_header Host $http_host; } }`;

/** How each is started with its settings in a file. @type {Record<string, (folder: string, port: number, upstream: string, settings: string) => {lines: string, args: string[]}>} */
const HOW = {
  nginx(folder, port, upstream, settings) {
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/${name};`).join(' ');
    const server = settings === 'default' ? plain(port, upstream)
      : documented('nginx', [['listen 443 ssl', `listen 127.0.0.1:${port}`], ['server_name images.example.org', 'server_name _'], ['127.0.0.1:8080', upstream]]);
    return {
      lines: `daemon off; pid ${folder}/pid; error_log ${folder}/error.log; ${process.getuid() === 0 ? 'user root;' : ''}
events {} http { access_log off; ${temporary} ${server} }\n`,
      args: ['-p', folder, '-e', join(folder, 'error.log'), '-c', join(folder, 'settings')],
    };
  },
  haproxy: (folder, port, upstream) => ({
    lines: documented('haproxy', [[':443 ssl crt /etc/haproxy/images.pem', `127.0.0.1:${port}`], ['127.0.0.1:8080', upstream]]),
    args: ['-db', '-f', join(folder, 'settings')],
  }),
  caddy: (folder, port, upstream) => ({
    lines: `{\nadmin off\n}\n${documented('caddy', [['images.example.org', `http://127.0.0.1:${port}`], ['127.0.0.1:8080', upstream]])}`,
    args: ['run', '--adapter', 'caddyfile', '--config', join(folder, 'settings')],
  }),
};

/** @param {import('./server.mjs').Server} server @param {{program?: string, settings?: 'documented' | 'default'}} [options] the defaults are nginx's */
export async function startProxy(server, { program = 'nginx', settings = 'default' } = {}) {
  const port = await freePort(), folder = join(server.folder, `${program}-${port}`), url = `http://127.0.0.1:${port}`;
  mkdirSync(folder);
  const { lines, args } = HOW[program](folder, port, server.url.replace('http://', ''), settings);
  writeFileSync(join(folder, 'settings'), lines);
  const log = join(folder, 'log'), out = openSync(log, 'w');
  const child = spawn(program, args, { stdio: ['ignore', out, out], env: { PATH: `${process.env.PATH}:/usr/sbin`, HOME: folder } });
  closeSync(out);
  const end = () => child.kill('SIGTERM');
  process.once('exit', end);
  await until(`${program} to answer`, () => fetch(`${url}/livez`).then((answer) => answer.ok, () => false))
    .catch((failed) => { throw new Error(`${failed.message}; it said: ${readFileSync(log, 'utf8')}`); });
  return { url, async stop() { process.off('exit', end); const gone = new Promise((resolve) => { child.once('exit', resolve); }); end(); await gone; } };
}
