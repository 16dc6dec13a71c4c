/** Connections to the HTTP server for probes and metrics. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { keepShort } from '../../../src/server/shortConnections.js';

const MOST = 4;
const LASTS_MS = 500;

let server: Server;
let port: number;
const sockets: Socket[] = [];
beforeEach(async () => {
  server = createServer((_request, response) => void response.end('ok'));
  keepShort(server, MOST, LASTS_MS);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  ({ port } = server.address() as AddressInfo);
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

async function silent(): Promise<{ readonly closed: Promise<unknown> }> {
  const socket = connect(port, '127.0.0.1');
  sockets.push(socket);
  socket.on('error', () => undefined);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await once(socket, 'connect');
  socket.write('GET / HTTP/1.1\r\nhost: ');
  return { closed };
}

describe('connections that send no request', () => {
  it('keep none out that do', async () => {
    for (let count = 0; count < 3 * MOST; count++) await silent();
    const answer = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } });
    expect(await answer.text()).toBe('ok');
  });

  it('are closed after a while, also if they send a little now and then', async () => {
    const { closed } = await silent();
    const sending = setInterval(() => sockets[0]?.write('x'), 50);
    await closed;
    clearInterval(sending);
  });
});
