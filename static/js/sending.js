// One upload from this document: piece after piece, for as long as the page lives. It knows nothing of how it is shown; `onchange` is
// called whenever something about it is new.
import { blocks, native } from './digest.js';
import { Pace } from './pace.js';
import * as tus from './tus.js';
import { delay, judge } from './verdict.js';

/**
 * queued      waits for its turn
 * comparing   compares the chosen file with the part already sent
 * sending     sends
 * waiting     waits to try again; `left` counts the seconds
 * paused, signed-out, elsewhere (another device sends it), stopped (refused, may pass)   until somebody acts
 * checking    everything is there; the service checks it
 * done, over  Available; ended for good, `sentence` says why
 * @typedef {'queued' | 'comparing' | 'sending' | 'waiting' | 'paused' | 'signed-out' | 'elsewhere' | 'stopped' | 'checking' | 'done' | 'over'} State
 */

/** Uploads that send at the same time: browsers keep six connections to a server, and pages need some of them. */
const AT_ONCE = 3;
const BLOCK = 4 * 2 ** 20;
/** Milliseconds between two looks at an upload that is paused here, or that another device sends. */
const LOOK = 3_000;

let busy = 0;
/** @type {(() => void)[]} */
const line = [];

/** Waits for a turn; answers how to give it back. @param {AbortSignal} signal @returns {Promise<() => void>} */
async function turn(signal) {
  if (busy >= AT_ONCE) {
    await new Promise((resolve) => {
      line.push(() => resolve(undefined));
      const mine = line.at(-1);
      signal.addEventListener('abort', () => { if (line.includes(mine)) line.splice(line.indexOf(mine), 1); resolve(undefined); });
    });
  }
  busy++;
  return () => { busy--; if (busy < AT_ONCE) line.shift()?.(); };
}

export class Sending {
  /** @type {State} */ state = 'queued';
  /** Bytes that the service has, as far as is known; null before it was asked. @type {number | null} */ offset = null;
  /** The same with what is on its way. */ sent = 0;
  /** Bytes a second. */ speed = 0;
  /** Bytes that were compared, while comparing. */ compared = 0;
  /** Seconds until the next try. */ left = 0;
  /** What was refused, or what the service said. */ sentence = '';
  /** The code of a refusal. */ code = '';
  /** Until when the part is kept, in milliseconds. */ expires = 0;
  /** When bytes last moved, by `performance.now()`. */ moved = performance.now();
  pace = new Pace();
  onchange = () => {};

  /** Nobody else sends it any more: it can be taken over. */ free = false;
  /** Where the chosen file differs, or how long it should be. @type {number | null} */ differs = null;

  /** The file is the one that was begun with. */ #proved = false;
  /** Bytes that were handed out from here: the service may have them though its answer was lost. */ #handed = 0;
  /** The furthest that the service is known to have come. */ #reached = 0;
  #tries = 0;
  #cuts = 0;
  #stop = new AbortController();
  #running = false;
  #before = Promise.resolve();
  #looking = false;
  #wake = () => {};
  #mark = [0, 0];

  /** @param {{id: string, image: string, name: string, file: File, fresh: boolean}} what fresh: nothing of it was sent before */
  constructor({ id, image, name, file, fresh }) {
    this.id = id; this.image = image; this.name = name; this.file = file; this.fresh = fresh;
  }

  /** It will go on by itself. */
  get active() { return ['queued', 'comparing', 'sending', 'waiting', 'checking'].includes(this.state); }
  /** There are bytes that only this page can send. */
  get unsent() { return !['checking', 'done', 'over', 'elsewhere'].includes(this.state); }
  get ended() { return this.state === 'done' || this.state === 'over'; }

  /** @param {State} state @param {Partial<Sending>} [more] */
  #set(state, more = {}) {
    Object.assign(this, { sentence: '', code: '', left: 0 }, more);
    this.state = state;
    this.onchange();
  }

  /** Begins, or goes on after a pause. */
  go() {
    if (this.state === 'waiting') { this.#wake(); return; }
    if (this.ended || this.state === 'checking' || (this.#running && !this.#stop.signal.aborted)) return;
    if (this.state === 'elsewhere') this.#proved = false;
    this.free = false;
    this.#tries = 0;
    this.#set('queued');
    this.#before = this.#before.then(() => this.state === 'queued' ? this.#run() : undefined);
  }

  pause() {
    if (!this.active || this.state === 'checking') return;
    this.#stop.abort();
    this.#until();
    this.#set('paused');
    this.#tellPause();
  }

  /** The service may have more than it could say: the truth is shown a moment later. */
  async #tellPause() {
    for (let tries = 0; tries < 3 && this.state === 'paused' && !this.fresh; tries++) {
      const answer = await tus.pause(this.id);
      if (this.state !== 'paused') return;
      if (answer.status < 300 && answer.offset !== null) this.#set('paused', { sent: answer.offset, expires: answer.expires || this.expires });
      if (answer.status !== 423) break;
    }
    this.#look();
  }

  /** While nothing is sent from here: how much there is, and whether somebody else goes on with it. */
  #look() {
    if (this.#looking || this.fresh) return;
    this.#looking = true;
    setTimeout(async () => {
      this.#looking = false;
      if (this.state !== 'paused' && this.state !== 'elsewhere') return;
      const { status, body } = await tus.state(this.id);
      if (this.state !== 'paused' && this.state !== 'elsewhere') return;
      if (status === 200 && body) {
        const others = body.status === 'uploading' && !body.mine, free = body.status === 'pending' || body.may_take_over === true;
        const expires = Date.parse(body.expires ?? '') || this.expires;
        if (this.state === 'paused' && others) this.#set('elsewhere', { sent: body.offset, expires, free });
        else this.#set(this.state, { sent: body.offset, expires, free, sentence: this.sentence, code: this.code });
      }
      this.#look();
    }, LOOK);
  }

  /** Ends it and drops what was sent. @returns {Promise<boolean>} whether the service knows */
  async cancel() {
    this.#stop.abort();
    this.#set('over', { code: 'cancelled' });
    const { status } = await tus.end(this.id);
    return status > 0 && status < 500 && status !== 401;
  }

  async #run() {
    this.#running = true;
    const { signal } = this.#stop = new AbortController(), giveBack = await turn(signal);
    try { while (!signal.aborted && await this.#step(signal)) { /* the next one */ } } catch (error) {
      if (!signal.aborted) { console.error(error); this.#set('stopped', { sentence: 'Something went wrong on this page. What was sent is kept.' }); }
    } finally { giveBack(); this.#running = false; }
  }

  /** One request. @param {AbortSignal} signal @returns {Promise<boolean>} whether there is another */
  async #step(signal) {
    if (this.fresh) return this.#create(signal);
    if (this.offset === null) {
      const answer = await tus.offset(this.id, signal);
      if (signal.aborted) return false;
      if (judge(answer) !== 'ok' || answer.offset === null) return this.#otherwise(answer, signal);
      if (answer.length !== null && answer.length !== this.file.size) return this.#over('upload.other_size', '', answer.length);
      // More than was sent from here: somebody else went on meanwhile.
      if (answer.offset > this.#handed) this.#proved = false;
      this.#at(answer.offset);
      this.expires = answer.expires || this.expires;
    }
    if (this.offset >= this.file.size) return this.#finish(signal);
    if (this.offset > 0 && !this.#proved) return this.#compare(signal);
    return this.#send(signal);
  }

  /** @param {AbortSignal} signal */
  async #create(signal) {
    const answer = await tus.create(this.id, this.file, signal);
    if (signal.aborted) return false;
    if (judge(answer) !== 'ok') return this.#otherwise(answer, signal);
    this.fresh = false;
    // Something is there where an answer was lost, or where it was begun before.
    this.#proved = !answer.offset;
    this.expires = answer.expires;
    return true;
  }

  /** @param {number | null} offset */
  #at(offset) {
    // Whoever gets further need not wait longer each time, however often a piece is cut off.
    if (offset !== null && offset > this.#reached) { this.#reached = offset; this.#tries = 0; }
    this.offset = offset;
    this.sent = offset ?? this.sent;
  }

  /** @param {AbortSignal} signal */
  async #send(signal) {
    const at = this.offset ?? 0, piece = this.file.slice(at, Math.min(at + this.pace.size, this.file.size)), last = at + piece.size === this.file.size;
    const began = this.moved = performance.now();
    this.#handed = Math.max(this.#handed, at + piece.size);
    this.#mark = [began, at];
    if (this.state !== 'sending') this.#set('sending');
    const answer = await tus.send(this.id, at, piece, {
      signal, last, onbytes: (sent) => this.#progress(at + sent), onsent: () => { this.#progress(at + piece.size); if (last) this.#set('checking'); },
    });
    if (signal.aborted) return false;
    const verdict = judge(answer);
    if (verdict === 'ok' && answer.offset !== null) {
      this.pace.arrived(piece.size, performance.now() - began);
      this.#tries = this.#cuts = 0;
      this.expires = answer.expires || this.expires;
      this.#at(answer.offset);
      // The answer to the last piece comes when the file is checked and in place.
      if (answer.offset === this.file.size) { this.#set('done'); return false; }
      return true;
    }
    if (verdict === 'limit' || verdict === 'gateway' || verdict === 'stall') this.pace.failed(verdict, piece.size, answer.status);
    // A limit that is met with a closed connection looks like a cut: told from a bad line by the service being there right after it.
    // Or the browser itself sent the piece again, and the service had a part of it by then.
    const isCut = verdict === 'offset' ? (answer.offset ?? 0) > at : verdict === 'lost' && await this.#isThere(signal);
    if (isCut && ++this.#cuts > 1) this.pace.failed('cut', piece.size, 0);
    return this.#otherwise(answer, signal);
  }

  /** @param {AbortSignal} signal */
  async #isThere(signal) {
    return judge(await tus.offset(this.id, signal)) === 'ok';
  }

  /** @param {number} sent */
  #progress(sent) {
    const now = performance.now(), [then, before] = this.#mark;
    this.sent = sent;
    this.moved = now;
    if (now - then >= 500) {
      const speed = (sent - before) / ((now - then) / 1000);
      this.speed = this.speed ? this.speed * .8 + speed * .2 : speed;
      this.#mark = [now, sent];
    }
    this.onchange();
  }

  /** @param {AbortSignal} signal */
  async #compare(signal) {
    const length = this.offset ?? 0;
    this.compared = 0;
    this.#set('comparing');
    let digests;
    try {
      digests = await blocks(this.file, length, BLOCK, { signal, onbytes: (done) => { this.compared = done; this.onchange(); } });
    } catch (error) {
      if (signal.aborted) return false;
      return this.#over('file.unreadable');
    }
    const answer = await tus.prove(this.id, { offset: length, block: BLOCK, length: this.file.size, name: this.file.name, digests }, signal);
    if (signal.aborted) return false;
    if (judge(answer) === 'ok') {
      this.#proved = true;
      if (answer.offset !== null && answer.offset !== this.offset) this.#at(null);
      return true;
    }
    if (answer.code === 'upload.other_file') return this.#over(answer.code, answer.sentence, answer.differsAt);
    return this.#otherwise(answer, signal);
  }

  /** @param {string} code @param {string} [sentence] @param {number | null} [differs] */
  #over(code, sentence = '', differs = null) {
    this.differs = differs;
    this.#set('over', { code, sentence });
    return false;
  }

  /** Everything is there: what became of it. @param {AbortSignal} signal */
  async #finish(signal) {
    this.#set('checking');
    const answer = await tus.state(this.id, signal), { body } = answer;
    if (signal.aborted) return false;
    if (judge(answer) !== 'ok') return this.#otherwise(answer, signal);
    if (body?.status === 'available') { this.#set('done'); return false; }
    if (body && body.offset < this.file.size) {
      if (body.status === 'pending' && body.stopped) return this.#over(body.stopped.code, body.stopped.sentence);
      this.#at(null);
      return true;
    }
    if (body?.phase === 'checking') { await pause(1500, signal); return true; }
    // All of it is durable and nobody checks it: the service was killed in that moment. An empty piece asks for it.
    const asked = await tus.send(this.id, this.file.size, new Blob([]), { signal, last: true, onbytes: () => {}, onsent: () => {} });
    if (signal.aborted) return false;
    if (judge(asked) === 'ok') { this.#set('done'); return false; }
    return this.#otherwise(asked, signal);
  }

  /** An answer that is not the wanted one. @param {tus.Answer} answer @param {AbortSignal} signal @returns {Promise<boolean>} */
  async #otherwise(answer, signal) {
    const { sentence, code } = answer;
    switch (judge(answer)) {
      case 'offset':
        if ((answer.offset ?? 0) > this.#handed) this.#proved = false;
        this.#at(answer.offset);
        return this.#tries++ < 3 || this.#wait('', 0, signal);
      case 'prove': this.#proved = false; return this.#tries++ < 3 || this.#wait(sentence, 0, signal);
      case 'signed-out': this.#set('signed-out'); return this.#until();
      case 'elsewhere': this.#set('elsewhere', { sentence, code, free: false }); this.#look(); return this.#until();
      case 'stopped': this.#set('stopped', { sentence, code }); return this.#until();
      case 'gone': {
        // Refused, cancelled or expired: the state knows why.
        const { body } = answer.status === 410 ? await tus.state(this.id, signal) : answer;
        return !signal.aborted && (body?.stopped ? this.#over(body.stopped.code, body.stopped.sentence) : this.#over('gone'));
      }
      case 'refused': return this.#over(code || `answer ${answer.status}`, sentence);
      case 'limit': if (this.pace.hurdle && this.pace.hurdle.times < 8) { this.#at(null); return true; } return this.#wait('', 0, signal);
      case 'wait': return this.#wait(sentence, answer.retryAfter, signal);
      default: {
        // A file that was moved or changed cannot be read any more, which looks just like a lost connection.
        try { await this.file.slice(this.sent, this.sent + 1).arrayBuffer(); } catch { return this.#over('file.unreadable'); }
        return this.#wait('', answer.retryAfter, signal);
      }
    }
  }

  /** Ends this run; go() begins another. */
  #until() {
    this.#at(this.offset);
    this.offset = null;
    this.speed = 0;
    return false;
  }

  /** @param {string} sentence what the service said @param {number} seconds that it asks for @param {AbortSignal} signal */
  async #wait(sentence, seconds, signal) {
    const least = delay(++this.#tries);
    this.sent = this.offset ?? this.sent;
    this.offset = null;
    this.speed = 0;
    for (let left = Math.max(seconds, least); left > 0 && !signal.aborted; left--) {
      this.#set('waiting', { sentence, left });
      if (await this.#second(signal)) break;
    }
    return !signal.aborted;
  }

  /** @param {AbortSignal} signal @returns {Promise<boolean>} whether somebody asked to go on at once */
  #second(signal) {
    return new Promise((resolve) => {
      const timer = setTimeout(() => end(false), 1000);
      /** @param {boolean} now */
      const end = (now) => { clearTimeout(timer); removeEventListener('online', wake); signal.removeEventListener('abort', wake); resolve(now); };
      const wake = () => end(true);
      this.#wake = wake;
      addEventListener('online', wake);
      signal.addEventListener('abort', wake);
    });
  }
}

/** Whether comparing is slow here, because the page is no secure context. */
export const comparesSlowly = () => !native();

/** @param {number} ms @param {AbortSignal} signal */
const pause = (ms, signal) => new Promise((resolve) => { setTimeout(resolve, ms); signal.addEventListener('abort', resolve); });
