/** Calls whose bytes are written by the test, on a separate HTTP/2 connection. */
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2';

/** Opens a call in session CONFIG, unless `headers` say otherwise; responses are read and discarded. */
export function openCall(on: ClientHttp2Session, path: string, headers: object = {}): ClientHttp2Stream {
  const stream = on.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    'guestfs-session': 'CONFIG',
    ...headers,
  });
  stream.on('error', () => undefined);
  stream.resume();
  return stream;
}
