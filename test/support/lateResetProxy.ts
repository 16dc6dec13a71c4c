/** An HTTP/2 proxy that forwards the end of a client's stream at once, and a reset after a delay. */
import { once } from 'node:events';
import { connect, constants, createServer, type ClientHttp2Session, type Http2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';

export interface LateResetProxy {
  /** Where clients connect to. */
  readonly address: string;
  close(): Promise<void>;
}

export interface LateResetOptions {
  /** Delay of a reset, milliseconds. */
  readonly delayMs: number;
  /** When a client disconnects, its stream is ended as if the client had done so, before it is reset. */
  readonly endsWhatIsLost: boolean;
}

/** A proxy to a server at an address of the form host:port. */
export async function lateResetProxy(address: string, options: LateResetOptions): Promise<LateResetProxy> {
  const upstream: ClientHttp2Session = connect(`http://${address}`);
  upstream.on('error', () => undefined);
  const sessions = new Set<Http2Session>();
  const timers = new Set<NodeJS.Timeout>();
  const server = createServer();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('error', () => undefined);
  });
  server.on('stream', (client, headers) => {
    const passed = Object.fromEntries(
      Object.entries(headers).filter(([name]) => !name.startsWith(':') || name === ':method' || name === ':path'),
    );
    const request = upstream.request(passed, { endStream: false });
    for (const stream of [client, request]) stream.on('error', () => undefined);
    client.on('data', (bytes: Buffer) => request.write(bytes));
    let ended = false;
    client.on('end', () => {
      if (client.closed) return;
      ended = true;
      request.end();
    });
    client.on('close', () => {
      if (request.closed) return;
      if (!ended && options.endsWhatIsLost) request.end();
      const timer = setTimeout(() => request.close(constants.NGHTTP2_CANCEL), options.delayMs);
      timers.add(timer);
    });
    request.on('response', (response) => {
      if (client.closed) return;
      const shown = Object.fromEntries(Object.entries(response).filter(([name]) => name !== ':status'));
      client.respond({ ':status': 200, ...shown }, { waitForTrailers: true });
    });
    let trailers: object = {};
    request.on('trailers', (received) => {
      trailers = received;
    });
    client.on('wantTrailers', () => client.sendTrailers({ ...trailers }));
    request.on('data', (bytes: Buffer) => {
      if (!client.closed) client.write(bytes);
    });
    request.on('end', () => {
      if (!client.closed) client.end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      for (const timer of timers) clearTimeout(timer);
      for (const session of sessions) session.destroy();
      upstream.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
