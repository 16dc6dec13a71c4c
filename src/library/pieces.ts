/** Downloads as async iterables: turns a push source into a pull source, with a bounded buffer in between. */
import { inTime, onAbort } from '../common/waiting.js';
import type { DaemonCall } from '../protocol/daemonCall.js';
import type { Daemon } from '../session/daemon.js';

/** Size of the buffer, bytes: when it is full the daemon waits, and its contents are delivered at once. */
const ENOUGH = 64 * 1024;
/** How long small pieces are collected, after the first, milliseconds. */
const GATHER_MS = 10;

/** The error of a download whose consumer has stopped. */
const STOPPED = new Error('the rest of the file is not needed');

/** A buffer between one producer and one consumer. */
class Handover {
  #pieces: Buffer[] = [];
  #size = 0;
  #ended = false;
  #failure: { readonly cause: unknown } | undefined;
  #stopped: { readonly reason: unknown } | undefined;
  /** The consumer sleeps until this many bytes are buffered. */
  #wanted = 1;
  #wakeTaker: (() => void) | undefined;
  #wakePutter: (() => void) | undefined;

  /** Resolves when there is room for more; rejects when the consumer has stopped. */
  async put(pieces: readonly Buffer[]): Promise<void> {
    this.#throwIfStopped();
    for (const piece of pieces) {
      this.#pieces.push(piece);
      this.#size += piece.length;
    }
    if (this.#size >= this.#wanted) this.#wakeTaker?.();
    while (this.#size >= ENOUGH) {
      await new Promise<void>((resolve) => {
        this.#wakePutter = resolve;
      });
      this.#throwIfStopped();
    }
  }

  /** Called by the producer at the end. */
  end(failure?: { readonly cause: unknown }): void {
    this.#ended = true;
    this.#failure = failure;
    this.#wakeTaker?.();
  }

  /** Called by the consumer when it stops. */
  stop(reason: unknown): void {
    this.#stopped ??= { reason };
    this.#wakePutter?.();
  }

  /** Everything that is buffered, after another `gatherMs` if that is little; undefined at the end. */
  async take(gatherMs: number): Promise<Buffer | undefined> {
    await this.#sleep(1);
    if (gatherMs > 0) await this.#sleep(ENOUGH, gatherMs);
    if (this.#size === 0) {
      if (this.#failure) throw this.#failure.cause;
      return undefined;
    }
    const taken = this.#pieces.length === 1 ? this.#pieces[0] : Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#size = 0;
    this.#wakePutter?.();
    return taken;
  }

  #throwIfStopped(): void {
    if (this.#stopped) throw this.#stopped.reason;
  }

  /** Waits until that many bytes are buffered, the source ends, or the time is up. */
  async #sleep(wanted: number, limitMs?: number): Promise<void> {
    if (this.#ended || this.#size >= wanted) return;
    const woken = new Promise<void>((resolve) => {
      this.#wanted = wanted;
      this.#wakeTaker = resolve;
    });
    await (limitMs === undefined ? woken : inTime(limitMs, undefined, woken));
    this.#wakeTaker = undefined;
  }
}

/**
 * The bytes of a download. The first are delivered at once, later ones collected briefly. If the consumer is slow, the
 * daemon waits. When the consumer stops, the download is cancelled by the protocol, and the iteration ends once the
 * daemon has acknowledged that.
 */
export async function* pieces<Request>(
  { daemon, signal }: { readonly daemon: Daemon; readonly signal: AbortSignal },
  call: DaemonCall<Request, unknown>,
  request: Request,
): AsyncGenerator<Buffer, void, undefined> {
  const handover = new Handover();
  const stopListening = onAbort(signal, (reason) => handover.stop(reason));
  const download = daemon
    .download(call, request, (delivered) => handover.put(delivered))
    .then(
      () => handover.end(),
      (cause: unknown) => handover.end({ cause }),
    );
  try {
    for (let gatherMs = 0; ; gatherMs = GATHER_MS) {
      const bytes = await handover.take(gatherMs);
      if (bytes === undefined) return;
      yield bytes;
    }
  } finally {
    stopListening();
    handover.stop(STOPPED);
    await download;
  }
}
