/** A web server that changes the content of its file after it has been read once. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { DiskServer } from './diskServers.js';

export interface ChangingWebServer extends DiskServer {
  /** How often its first byte was read. */
  reads(): number;
}

/**
 * Serves one file, under any path, in ranges.
 * @param later the start of the file from the second read of its first byte on
 */
export async function changingWebServer(image: Buffer, later: Buffer): Promise<ChangingWebServer> {
  let reads = 0;
  const changed = Buffer.concat([later, image.subarray(later.length)]);
  const server = createServer((request, response) => {
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
    const start = Number(first ?? 0);
    const end = Math.min(last === undefined || last === '' ? image.length - 1 : Number(last), image.length - 1);
    const size = {
      'Accept-Ranges': 'bytes',
      'Content-Length': String(request.method === 'HEAD' ? image.length : end - start + 1),
    };
    if (request.method === 'HEAD') {
      response.writeHead(200, size).end();
      return;
    }
    if (start === 0) reads += 1;
    const shown = start < later.length && reads > 1 ? changed : image;
    response
      .writeHead(206, { ...size, 'Content-Range': `bytes ${start}-${end}/${image.length}` })
      .end(shown.subarray(start, end + 1));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    log: () => '',
    reads: () => reads,
    stop: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
