/** A file that the service sends, in the form that its reader needs. */
import { Readable } from 'node:stream';

/** A file as it arrives: to be read once. The call is made when its first bytes are requested. */
export class Download implements AsyncIterable<Buffer>, AsyncDisposable {
  readonly #chunks: AsyncGenerator<Buffer>;
  readonly #cancel: () => void;

  /**
   * @param chunks what arrives
   * @param cancel ends the call, even while it is waited for
   */
  constructor(chunks: AsyncGenerator<Buffer>, cancel: () => void) {
    this.#chunks = chunks;
    this.#cancel = cancel;
  }

  /**
   * Its chunks, no faster than they are requested. Leaving the loop cancels the call.
   * @throws GuestfsRpcError
   */
  [Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    return this.#chunks;
  }

  /** As a stream of Node; destroying it cancels the call. */
  node(): Readable {
    const next = (): Promise<Buffer | undefined> => this.#next();
    return new Readable({
      read() {
        next().then(
          (chunk) => this.push(chunk ?? null),
          (error: Error) => this.destroy(error),
        );
      },
      destroy: (error, callback) => {
        this.cancel();
        callback(error);
      },
    });
  }

  /** As a web stream of bytes; cancelling it cancels the call. */
  web(): ReadableStream<Uint8Array> {
    return new ReadableStream({
      type: 'bytes',
      pull: async (controller) => {
        const chunk = await this.#next();
        // The stream takes the memory that it is given, and chunks share theirs.
        if (chunk !== undefined) return controller.enqueue(new Uint8Array(chunk));
        controller.close();
        // Without it, a reader with a buffer of its own would wait for ever.
        controller.byobRequest?.respond(0);
      },
      cancel: () => this.cancel(),
    });
  }

  /**
   * All of it, in memory.
   * @throws GuestfsRpcError
   */
  async bytes(): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for await (const chunk of this.#chunks) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  /** The next bytes; undefined at the end. Streams would wait for ever after an empty chunk. */
  async #next(): Promise<Buffer | undefined> {
    for (;;) {
      const next: IteratorResult<Buffer, unknown> = await this.#chunks.next();
      if (next.done === true) return undefined;
      if (next.value.length > 0) return next.value;
    }
  }

  /** Ends the call; who waits for bytes gets CANCELLED. */
  cancel(): void {
    this.#cancel();
  }

  /** {@link cancel}, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.cancel();
  }
}
