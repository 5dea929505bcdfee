// What needs no browser: how large a piece is, what an answer means, when the next try is, digests where the browser has none.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT } from './support.mjs';

/** A script of the console that imports nothing. @param {string} name */
const script = (name) => import(`data:text/javascript;base64,${readFileSync(join(ROOT, 'static', 'js', `${name}.js`)).toString('base64')}`);
const { Pace, FIRST, LEAST, MOST, SMALL } = await script('pace');
const { judge, delay } = await script('verdict');
const { blocks } = await script('digest');
const MIB = 2 ** 20;

test('pieces grow while they are quick, up to 64 MiB, and shrink to 1 MiB on a slow line', () => {
  const pace = new Pace();
  assert.equal(pace.size, FIRST);
  for (let i = 0; i < 10; i++) pace.arrived(pace.size, 800);
  assert.equal(pace.size, MOST);
  pace.arrived(pace.size, 15_000);
  assert.equal(pace.size, MOST, '10 to 20 s are right');
  for (let i = 0; i < 10; i++) pace.arrived(pace.size, 25_000);
  assert.equal(pace.size, SMALL);
  pace.arrived(1000, 1);
  assert.equal(pace.size, SMALL, 'the end of the file says nothing');
});

test('a limit of 1 MiB is found by halving, kept, and tried again after minutes only', () => {
  const pace = new Pace(), limit = MIB;
  let now = 1_000, refused = 0;
  for (let i = 0; i < 100; i++) {
    now += 500;
    if (pace.size > limit) { refused++; pace.failed('limit', pace.size, 413, now); } else pace.arrived(pace.size, 500, now);
  }
  assert.equal(pace.size, limit);
  assert.equal(refused, 2);
  assert.equal(pace.hurdle.kind, 'limit');
  assert.equal(pace.hurdle.bytes, 2 * MIB);
  now += 300_000;
  pace.arrived(pace.size, 500, now);
  assert.equal(pace.size, 2 * MIB, 'tried again');
  pace.arrived(pace.size, 500, now);
  assert.equal(pace.hurdle, null, 'it was lifted');
  assert.ok(pace.size > 2 * MIB);
});

test('only a limit makes pieces smaller than 1 MiB, and never smaller than 64 KiB', () => {
  const bad = new Pace(), small = new Pace();
  for (let i = 0; i < 20; i++) { bad.failed('stall', bad.size, 0); small.failed('limit', small.size, 413); }
  assert.equal(bad.size, SMALL);
  assert.equal(small.size, LEAST);
  for (let i = 0; i < 20; i++) bad.arrived(bad.size, 500);
  assert.equal(bad.size, MOST, 'a standstill is forgotten after some pieces');
  assert.equal(bad.hurdle, null);
});

test('answers of the service and of a proxy are told apart', () => {
  const answer = (status, more = {}) => judge({ status, offset: null, ours: true, code: '', stalled: false, ...more });
  const rows = [
    [answer(204, { offset: 5 }), 'ok'], [answer(0), 'lost'], [answer(0, { stalled: true }), 'stall'], [answer(401), 'signed-out'],
    [answer(413, { ours: false }), 'limit'], [answer(413, { code: 'file.too_large' }), 'refused'], [answer(502, { ours: false }), 'gateway'],
    [answer(504, { ours: false }), 'gateway'], [answer(503, { ours: false }), 'gateway'], [answer(503, { code: 'database_unavailable' }), 'wait'],
    [answer(409, { offset: 7, code: 'upload.offset' }), 'offset'], [answer(409, { code: 'upload.proof_needed', offset: 7 }), 'prove'],
    [answer(409, { code: 'storage.degraded' }), 'wait'], [answer(409, { code: 'image.complete' }), 'refused'], [answer(423, { code: 'upload.elsewhere' }), 'elsewhere'], [answer(423, { code: 'upload.locked' }), 'wait'], [answer(404), 'gone'], [answer(410), 'gone'],
    [answer(404, { ours: false }), 'gateway'], [answer(422, { code: 'iso.not_iso' }), 'refused'], [answer(507, { code: 'storage.full' }), 'stopped'],
    [answer(403, { code: 'forbidden' }), 'stopped'], [answer(429, { code: 'busy' }), 'wait'], [answer(500, { code: 'unexpected' }), 'wait'],
    [answer(408, { ours: false }), 'lost'], [answer(500, { ours: false }), 'lost'],
  ];
  for (const [found, wanted] of rows) assert.equal(found, wanted);
});

test('tries are further and further apart, at most about half a minute, and not the same for everybody', () => {
  assert.deepEqual([1, 2, 3, 4, 5, 6, 7, 8, 99].map((n) => delay(n, .5)), [0, 1, 3, 5, 10, 20, 30, 30, 30]);
  assert.equal(delay(9, 0), 24);
  assert.equal(delay(9, 1), 36);
});

test('digests of blocks are right, whoever computes them', async () => {
  for (const bytes of [0, 1, 55, 56, 63, 64, 65, 119, 120, 4 * MIB - 1, 4 * MIB, 4 * MIB + 17]) {
    const data = randomBytes(bytes), wanted = [];
    for (let at = 0; at < bytes; at += 4 * MIB) wanted.push(createHash('sha256').update(data.subarray(at, at + 4 * MIB)).digest('hex'));
    for (const slow of [true, false]) assert.deepEqual(await blocks(new Blob([data]), bytes, 4 * MIB, { slow }), wanted, `${bytes} bytes, slow: ${slow}`);
  }
});
