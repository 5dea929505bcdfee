// The line between clients and a server: it can be cut, and counts what each machine sends through it.
import { connect, createServer } from 'node:net';

/** @param {{url: string}} server @param {number} [lasts] milliseconds after which each connection is cut, whatever goes through it */
export async function startLine(server, lasts) {
  const { hostname, port } = new URL(server.url);
  /** Open connections, and the bytes of closed ones, by the address they come from. @type {Map<import('node:net').Socket, string>} */
  const open = new Map();
  /** @type {Map<string, number>} */
  const closed = new Map();
  let isCut = false;
  const listener = createServer((near) => {
    const from = near.remoteAddress ?? '';
    if (isCut) { near.resetAndDestroy(); return; }
    const far = connect({ host: hostname, port: Number(port), localAddress: from });
    open.set(near, from);
    near.once('close', () => { open.delete(near); closed.set(from, (closed.get(from) ?? 0) + near.bytesRead); far.destroy(); });
    far.once('close', () => near.destroy());
    for (const end of [near, far]) { end.setNoDelay(true); end.on('error', () => {}); }
    if (lasts) { const end = setTimeout(() => near.resetAndDestroy(), lasts); near.once('close', () => clearTimeout(end)); }
    near.pipe(far).pipe(near);
  });
  await new Promise((resolve) => { listener.listen(0, '127.0.0.1', resolve); });
  return {
    url: `http://127.0.0.1:${listener.address().port}`,
    /** Nothing gets through until the answered function is called: not what is on its way either. */
    cut() {
      isCut = true;
      for (const near of open.keys()) near.resetAndDestroy();
      return () => { isCut = false; };
    },
    /** Bytes that came in from a machine, headers and all. @param {string} from its address */
    sent: (from) => [...open].reduce((sum, [near, address]) => sum + (address === from ? near.bytesRead : 0), closed.get(from) ?? 0),
    stop() {
      for (const near of open.keys()) near.destroy();
      return new Promise((resolve) => { listener.close(resolve); });
    },
  };
}
