/** Two ends of a byte stream in memory, each with the buffers and backpressure of a socket. */
import { Duplex } from 'node:stream';

/** Approximate number of bytes in transit in one direction. */
const IN_FLIGHT = 64 * 1024;

class End extends Duplex {
  #peer: End | undefined;
  /** Acknowledges what the peer wrote, once it has been read here. */
  #read: (() => void) | undefined;

  constructor() {
    super({ readableHighWaterMark: IN_FLIGHT, writableHighWaterMark: IN_FLIGHT });
  }

  connect(peer: End): void {
    this.#peer = peer;
  }

  /** The peer's bytes; `taken` is called when there is room for more. */
  receive(bytes: Buffer, taken: () => void): void {
    if (this.push(bytes)) taken();
    else this.#read = taken;
  }

  receiveEnd(): void {
    if (!this.readableEnded && !this.destroyed) this.push(null);
  }

  override _read(): void {
    const taken = this.#read;
    this.#read = undefined;
    taken?.();
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#peer === undefined || this.#peer.destroyed)
      done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
    else this.#peer.receive(Buffer.from(bytes), done); // a socket has copied the data that it accepted
  }

  override _final(done: () => void): void {
    this.#peer?.receiveEnd();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#peer?.receiveEnd();
    this._read();
    done(error);
  }
}

/** A connected pair. */
export function duplexPair(): readonly [Duplex, Duplex] {
  const [one, other] = [new End(), new End()];
  one.connect(other);
  other.connect(one);
  return [one, other];
}

/**
 * Resolves when all work that does not wait for external input is done: every promise, every tick
 * and every pass of the event loop that one of them requires.
 */
export async function quiet(): Promise<void> {
  for (let pass = 0; pass < 50; pass += 1) {
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
  }
}
