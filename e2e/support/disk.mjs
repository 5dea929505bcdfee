// A disk for one storage: an ext4 of its own on a loop device, below which every byte that is written is counted, journal and all.
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';

const run = (program, ...words) => execFileSync(program, words, { encoding: 'utf8', env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` } }).trim();

/**
 * @param {string} file where its bytes lie
 * @param {string} place the folder on which it is mounted
 * @param {number} bytes
 * @param {{claims?: boolean}} [options] claims: space can be claimed before it is written
 */
export function mountDisk(file, place, bytes, { claims = true } = {}) {
  writeFileSync(file, '');
  truncateSync(file, bytes);
  let device = '', mounted = false;
  const stop = () => {
    process.off('exit', stop);
    // Lazily: whoever still has a file open is being ended.
    if (mounted) run('umount', '--lazy', place);
    if (device) run('losetup', '--detach', device);
    rmSync(file, { force: true });
  };
  process.once('exit', stop);
  try {
    run('mkfs.ext4', '-q', '-E', 'lazy_itable_init=0,lazy_journal_init=0', ...(claims ? [] : ['-O', '^extent,^64bit']), file);
    device = run('losetup', '--find', '--show', file);
    run('mount', device, place);
    mounted = true;
  } catch (error) {
    stop();
    error.message += '\nA disk of its own for the storage needs root and loop devices, as the crash laboratory does.';
    throw error;
  }
  return {
    /** Bytes that reached the device since it was made; what waits in the cache is written first. */
    written() {
      run('sync', '--file-system', place);
      return Number(readFileSync(`/sys/block/${basename(device)}/stat`, 'utf8').trim().split(/\s+/)[6]) * 512;
    },
    stop,
  };
}
