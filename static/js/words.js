// What pages say about an upload: its state, why it was refused, what stands in its way and how to lift that.
import { duration, make, size, sizeOf } from './dom.js';
import { LEAST } from './pace.js';
import { comparesSlowly } from './sending.js';

/** @typedef {import('./sending.js').Sending} Sending */

/** Milliseconds without a byte after which that is said. */
const STILL = 8_000;

/** @param {Sending} upload */
export const percent = ({ sent, file }) => Math.floor(sent / file.size * 100);
const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'long' });
/** @param {number} at */
export const until = (at) => at ? ` until ${day.format(at)}` : '';

/** One line: where it is. @param {Sending} upload */
export function words(upload) {
  const { state, sent, file, left, sentence, expires } = upload, sure = `${percent(upload)} % is sent`;
  switch (state) {
    case 'queued': return sent ? `Waits for its turn. ${sure}.` : 'Waits for its turn.';
    case 'comparing': return `Comparing the file with what was sent: ${sizeOf(upload.compared, sent)}${comparesSlowly() ? '. This takes longer here, because the page was not opened by https.' : ''}`;
    case 'sending': {
      const still = performance.now() - upload.moved;
      if (still > STILL) return `Waiting for connection… nothing has gone out for ${Math.round(still / 1000)} s. ${sure}.`;
      const parts = [sizeOf(sent, file.size), `${percent(upload)} %`];
      if (upload.speed > 0) parts.push(`${size(Math.round(upload.speed))}/s`, `${duration((file.size - sent) / upload.speed)} left`);
      return parts.join(' · ');
    }
    case 'waiting': return `${sentence || 'Waiting for connection…'} ${sentence ? 'Next' : 'next'} try in ${Math.max(1, left)} s. ${sure}.`;
    case 'paused': return `Paused at ${percent(upload)} %. ${sizeOf(sent, file.size)} are kept${until(expires)}.`;
    case 'signed-out': return `You are signed out. ${sure} and kept${until(expires)}. Sign in in a new tab, then press Resume here.`;
    case 'elsewhere': return upload.free ? `Another device sent a part of it and has stopped. ${sure}; you can go on from here.` : `It is being uploaded from another device. ${sure}.`;
    case 'stopped': return `${sentence || 'The service does not take it now.'} ${sure} and kept.`;
    case 'checking': return 'Checking the file…';
    case 'done': return `${upload.name} has arrived.`;
    default: return refusal(upload);
  }
}

/** Why it ended. @param {Sending} upload */
export function refusal({ code, sentence, differs, file, name, sent }) {
  switch (code) {
    case 'cancelled': return `The upload of ${name} is cancelled. Nothing of it was kept.`;
    case 'upload.other_size': return `This is another file: it has ${size(file.size)}, and the one that was begun with has ${exactly(differs ?? 0, file.size)}. Nothing was sent. Choose that file, or start again with this one.`;
    case 'upload.other_file': {
      const where = differs === null ? '' : `: it differs from what was sent ${differs ? `at ${size(differs)} (byte ${differs.toLocaleString('en')})` : 'from its first byte on'}`;
      return `This is another file${where}. Nothing was sent. Choose the file that was begun with, or start again with this one.`;
    }
    case 'file.unreadable': return `The file on this device cannot be read any more; it may have been moved or changed. ${sent ? 'What was sent is kept. ' : ''}Choose it again.`;
    case 'gone': return `The upload of ${name} does not exist any more: it was cancelled, it was not continued in time, or the image was deleted.`;
    default: return sentence ? `${name} was not accepted. ${sentence}` : `${name} was not accepted (${code}).`;
  }
}

/** @param {number} bytes @param {number} other */
const exactly = (bytes, other) => size(bytes) === size(other) ? `${bytes.toLocaleString('en')} bytes, not ${other.toLocaleString('en')}` : size(bytes);

const SETTINGS = [
  ['nginx', 'client_max_body_size 0;\nproxy_request_buffering off;\nproxy_http_version 1.1;\nproxy_read_timeout 600s;\nproxy_send_timeout 600s;'],
  ['haproxy', 'timeout client 10m\ntimeout server 10m\n# and no option http-buffer-request'],
  ['Caddy', 'reverse_proxy 127.0.0.1:8080 {\n  transport http {\n    response_header_timeout 10m\n  }\n}\n# and no request_body max_size'],
];

/** What stands in the way, in one sentence; '' where nothing does. @param {Sending} upload */
export function hurdle({ pace }) {
  const found = pace.hurdle;
  if (!found) return '';
  const pieces = `The upload goes on in pieces of ${size(pace.size)}`;
  switch (found.kind) {
    case 'limit': return found.bytes <= LEAST
      ? `A proxy between this browser and the service lets not even ${size(LEAST)} through (answer 413). The upload waits until it does.`
      : `A proxy between this browser and the service lets no request of ${size(found.bytes)} through (answer 413). ${pieces}, which is slower.`;
    case 'gateway': return found.times < 2 ? '' : `The proxy before the service answered ${found.status}: it ${found.status === 504 ? 'gave up waiting for the service' : 'cannot reach the service, which may be starting again'}. ${pieces}.`;
    case 'stall': return `Nothing moved for a while although the connection stood: something on the way holds the bytes back. ${pieces}.`;
    default: return `The connection was cut in the middle of a request, again and again, although the service is there: something on the way does not let it through. ${pieces}.`;
  }
}

/** How to lift it. */
export const remedy = () => make('details', { className: 'remedy' }, make('summary', {}, 'How to lift this'),
  make('p', { className: 'hint' }, 'Whoever runs the proxy puts this into its settings, and loads them again:'),
  ...SETTINGS.flatMap(([name, text]) => [make('h3', {}, name), make('pre', {}, text)]));
