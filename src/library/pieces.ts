/** Downloads as async iterables: from what is pushed to what is pulled, with a bound between them. */
import { inTime, onAbort } from '../common/waiting.js';
import type { DaemonCall } from '../protocol/daemonCall.js';
import type { Daemon } from '../session/daemon.js';

/** Bytes that may wait before the daemon has to, and that are handed on without waiting for more. */
const ENOUGH = 64 * 1024;
/** So long are bytes gathered, after the first, that come in small pieces; milliseconds. */
const GATHER_MS = 10;

/** What the download fails with when nobody wants the rest of it. */
const STOPPED = new Error('the rest of the file is not wanted');

/** Between one that puts and one that takes. */
class Handover {
  #pieces: Buffer[] = [];
  #size = 0;
  #ended = false;
  #failure: { readonly cause: unknown } | undefined;
  #stopped: { readonly reason: unknown } | undefined;
  /** The taker sleeps until there are so many bytes. */
  #wanted = 1;
  #wakeTaker: (() => void) | undefined;
  #wakePutter: (() => void) | undefined;

  /** Resolves when there is room for more; rejects when no more is wanted. */
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

  /** No more comes. */
  end(failure?: { readonly cause: unknown }): void {
    this.#ended = true;
    this.#failure = failure;
    this.#wakeTaker?.();
  }

  /** No more is wanted. */
  stop(reason: unknown): void {
    this.#stopped ??= { reason };
    this.#wakePutter?.();
  }

  /** All that is there, after `gatherMs` more unless that is enough; undefined at the end. */
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

  /** Until there are so many bytes, or no more come, or the time is over. */
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
 * The bytes of a download. The first come as soon as they are there, later ones gathered a
 * little; the daemon waits while the consumer does. When the consumer stops, the download ends
 * by the protocol, and this ends when it has.
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
