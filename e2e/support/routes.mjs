// Every address that the console mounts, read from where they are mounted, so that no test forgets one.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './server.mjs';

/** The patterns of all addresses that can be opened with GET. */
export function readableRoutes() {
  const source = readFileSync(join(ROOT, 'src', 'web', 'routes.rs'), 'utf8');
  const found = new Set();
  for (const [, path] of source.matchAll(/resource\("([^"]+)"\)\s*\.get\(/g)) found.add(path);
  for (const [, path] of source.matchAll(/\.route\("([^"]+)",\s*get\(\)/g)) found.add(path);
  const sections = /for section in \[([^\]]+)\]/.exec(source)?.[1].match(/"([^"]+)"/g)?.map((quoted) => quoted.slice(1, -1)) ?? [];
  for (const [, rest] of source.matchAll(/resource\(at\("([^"]*)"\)\)\s*\.get\(/g)) for (const section of sections) found.add(section + rest);
  return [...found].sort();
}
