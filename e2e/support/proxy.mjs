// An nginx before a server, with the settings of docs/proxies.md or with its own defaults.
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, freePort, until } from './server.mjs';

/** The lines of docs/proxies.md, as they stand, but for address and certificate. @param {number} port @param {string} upstream */
function documented(port, upstream) {
  const [, block] = /```nginx\n([\s\S]*?)```/.exec(readFileSync(join(ROOT, 'docs', 'proxies.md'), 'utf8'));
  return block.replace('listen 443 ssl', `listen 127.0.0.1:${port}`).replace('server_name images.example.org', 'server_name _').replace('http://127.0.0.1:8080', upstream);
}

const plain = (port, upstream) => `server { listen 127.0.0.1:${port}; location / { proxy_pass ${upstream}; proxy_set_header Host $http_host; } }`;

/** @param {import('./server.mjs').Server} server @param {{settings?: 'documented' | 'default'}} [options] */
export async function startProxy(server, { settings = 'default' } = {}) {
  const port = await freePort(), folder = join(server.folder, `nginx-${port}`), url = `http://127.0.0.1:${port}`;
  mkdirSync(folder);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/${name};`).join(' ');
  writeFileSync(join(folder, 'nginx.conf'), `daemon off; pid ${folder}/pid; error_log ${folder}/error.log; ${process.getuid() === 0 ? 'user root;' : ''}
events {} http { access_log off; ${temporary} ${(settings === 'documented' ? documented : plain)(port, server.url)} }\n`);
  const child = spawn('nginx', ['-p', folder, '-e', join(folder, 'error.log'), '-c', join(folder, 'nginx.conf')], { stdio: 'inherit', env: { PATH: `${process.env.PATH}:/usr/sbin` } });
  const end = () => child.kill('SIGTERM');
  process.once('exit', end);
  await until('nginx to answer', () => fetch(`${url}/livez`).then((answer) => answer.ok, () => false));
  return { url, async stop() { process.off('exit', end); const gone = new Promise((resolve) => { child.once('exit', resolve); }); end(); await gone; } };
}
