/**
 * Limits of an HTTP server whose requests are tiny, such as probes: a new connection is always accepted, in place of
 * the oldest if need be, and none lasts long. Whoever opens connections and sends nothing keeps no prober out.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** Longer than any answer takes. */
const LASTS_MS = 30_000;

/** @param most connections at a time */
export function keepShort(server: Server, most: number, lastsMs: number = LASTS_MS): void {
  /** The oldest first. */
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    const over = setTimeout(() => socket.destroy(), lastsMs).unref();
    sockets.add(socket);
    socket.once('close', () => {
      clearTimeout(over);
      sockets.delete(socket);
    });
    const [oldest] = sockets;
    if (sockets.size <= most || oldest === undefined) return;
    // Before its 'close', which comes later.
    sockets.delete(oldest);
    oldest.destroy();
  });
}
