// Installation media: real ones that Debian packages, and ones made to measure.
import { execFileSync } from 'node:child_process';
import { createCipheriv, createHash, randomBytes } from 'node:crypto';
import { closeSync, createReadStream, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';

const MEMTEST = '/usr/lib/memtest86+';

/** Real media. */
export const REAL = {
  memtest: join(MEMTEST, readdirSync(MEMTEST).find((name) => /64.*\.iso$/.test(name)) ?? 'memtest86+x64.iso'),
  ipxe: '/usr/lib/ipxe/ipxe.iso',
  grub: '/usr/lib/grub-rescue/grub-rescue-cdrom.iso',
};

/** The digest of a file, as sha256sum prints it. */
export function sha256sum(path) {
  return execFileSync('sha256sum', [path], { encoding: 'utf8' }).split(' ')[0].replace('\\', '');
}

/** The digest of a file, computed here. */
export async function sha256(path) {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/**
 * Makes an ISO 9660 image with Joliet and Rock Ridge.
 * @param {string} path
 * @param {{label?: string, kib?: number, mib?: number, bytes?: number}} [options] kib or mib of random content; bytes: the file's whole
 *   size, the rest being a hole
 */
export function makeIso(path, { label = 'VMIMG_TEST', kib = 64, mib = 0, bytes = 0 } = {}) {
  mkdirSync(dirname(path), { recursive: true });
  const content = mkdtempSync(join(tmpdir(), 'vmimg-iso-'));
  try {
    for (let left = mib * 1024 + kib, part = 0; left > 0; left -= 65_536, part++) {
      writeFileSync(join(content, `part${part}.bin`), randomBytes(Math.min(left, 65_536) * 1024));
    }
    rmSync(path, { force: true });
    execFileSync('xorriso', ['-as', 'mkisofs', '-quiet', '-V', label, '-J', '-R', '-o', path, content], { stdio: 'pipe' });
  } finally {
    rmSync(content, { recursive: true });
  }
  if (bytes) {
    if (bytes < statSync(path).size) throw new Error(`${path} is larger than ${bytes} bytes already`);
    truncateSync(path, bytes);
  }
  return path;
}

/**
 * Fills a file's holes here and there. The same seed gives the same bytes at the same places.
 * @param {string} path @param {string} seed @param {{pieces?: number, bytes?: number, from?: number}} [options] from: what lies before it stays as it is
 */
export function sow(path, seed, { pieces = 256, bytes = 2 ** 20, from = 2 ** 22 } = {}) {
  const stream = createCipheriv('aes-256-ctr', createHash('sha256').update(seed).digest(), Buffer.alloc(16)), random = (count) => stream.update(Buffer.alloc(count));
  const room = BigInt(statSync(path).size - bytes - from), file = openSync(path, 'r+');
  for (let piece = 0; piece < pieces; piece++) {
    const place = from + Number(random(8).readBigUInt64BE() % room);
    writeSync(file, random(bytes), 0, bytes, place);
  }
  closeSync(file);
  return path;
}

/** Makes a UDF volume without any ISO 9660 in it. */
export function makeUdf(path, { label = 'UDF_TEST', mib = 4 } = {}) {
  writeFileSync(path, '');
  truncateSync(path, mib * 1024 * 1024);
  execFileSync('/usr/sbin/mkudffs', ['-b', '2048', '--media-type=hd', `--label=${label}`, path], { stdio: 'pipe' });
  return path;
}

/** Paths of the image files below a storage's folder that have this digest. */
export function filesWithDigest(folder, digest) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .filter((path) => sha256sum(path) === digest);
}
