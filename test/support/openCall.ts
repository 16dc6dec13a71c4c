/** Calls of which the test writes the bytes, on an HTTP/2 connection of its own. */
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2';

/** Opens a call in session CONFIG, unless `headers` say otherwise; what comes back is read and dropped. */
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
