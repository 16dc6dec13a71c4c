/** Downloads that are needed in one piece. */
import type { DaemonCall } from '../protocol/daemonCall.js';
import type { Daemon } from '../session/daemon.js';

/**
 * Receives a complete file.
 * @param tooLarge creates the error for more than `limit` bytes; the download is then cancelled
 */
export async function collect<Request>(
  daemon: Daemon,
  call: DaemonCall<Request, unknown>,
  request: Request,
  limit: number,
  tooLarge: () => Error,
): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  await daemon.download(call, request, async (delivered) => {
    for (const piece of delivered) size += piece.length;
    if (size > limit) throw tooLarge();
    pieces.push(...delivered);
  });
  return Buffer.concat(pieces);
}
