/** The spans of calls to the daemon, and of the files that they transfer. */
import { GuestfsError } from '../common/errors.js';
import { spanBehind, within, type Span } from '../common/spans.js';
import type { DaemonCall } from '../protocol/daemonCall.js';

/** Reason of an upload that the daemon did not want to the end. */
const CUT_OFF = 'CANCELLED';

type Direction = 'upload' | 'download';

/** Makes a call to the daemon, with a span if `signal` belongs to one. */
export function spanned<Value>(
  signal: AbortSignal,
  { action }: Pick<DaemonCall<never, unknown>, 'action'>,
  call: (span: Span | undefined) => Promise<Value>,
): Promise<Value> {
  const span = spanBehind(signal);
  if (span === undefined) return call(undefined);
  return within(
    span.child(`guestfsd ${action}`, 'client', { 'rpc.system.name': 'guestfsd', 'rpc.method': action }),
    call,
  );
}

function transferSpan(span: Span, direction: Direction): Span {
  return span.child('transfer', 'internal', { 'guestfs.transfer.direction': direction });
}

/** The file that a call sends. Its span ends with the file, or when the call wants no more of it. */
export function sending(span: Span, source: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  return {
    [Symbol.asyncIterator]: () => {
      const pieces = source[Symbol.asyncIterator]();
      const transfer = transferSpan(span, 'upload');
      let bytes = 0;
      let over = false;
      const end = (reason?: string): void => {
        if (over) return;
        over = true;
        transfer.set({ 'guestfs.transfer.bytes': bytes });
        transfer.end(reason);
      };
      return {
        next: async () => {
          try {
            const next = await pieces.next();
            if (next.done === true) end();
            else bytes += next.value.length;
            return next;
          } catch (error) {
            end(GuestfsError.from(error).reason);
            throw error;
          }
        },
        return: async () => {
          end(CUT_OFF);
          return (await pieces.return?.()) ?? { done: true, value: undefined };
        },
      };
    },
  };
}

/** Makes a call that receives a file. */
export function receiving<Value>(
  span: Span,
  deliver: (pieces: readonly Buffer[]) => Promise<void>,
  call: (deliver: (pieces: readonly Buffer[]) => Promise<void>) => Promise<Value>,
): Promise<Value> {
  return within(transferSpan(span, 'download'), async (transfer) => {
    let bytes = 0;
    try {
      return await call((pieces) => {
        for (const { length } of pieces) bytes += length;
        return deliver(pieces);
      });
    } finally {
      transfer.set({ 'guestfs.transfer.bytes': bytes });
    }
  });
}
