/**
 * Writes to a daemon with backpressure, for one writer at a time. Once the outbox is closed, every write fails.
 */
import type { Duplex } from 'node:stream';
import type { GuestfsError } from '../common/errors.js';

export class Outbox {
  readonly #channel: Duplex;
  /** Ends the wait for room in the channel. */
  #unblock: (() => void) | undefined;
  #closed: GuestfsError | undefined;

  constructor(channel: Duplex) {
    this.#channel = channel;
  }

  /**
   * Resolves when there is room for more.
   * @throws GuestfsError the error with which the outbox was closed
   */
  async write(bytes: Buffer): Promise<void> {
    if (this.#closed) throw this.#closed;
    if (this.#channel.write(bytes)) return;
    await new Promise<void>((resolve) => {
      this.#channel.once('drain', resolve);
      this.#unblock = resolve;
    });
    this.#requireOpen();
  }

  /** Like {@link write}, but resolves when the buffer has been consumed and can be reused. */
  async writeThrough(bytes: Buffer): Promise<void> {
    if (this.#closed) throw this.#closed;
    await new Promise<void>((resolve) => {
      this.#unblock = resolve;
      this.#channel.write(bytes, () => resolve());
    });
    this.#requireOpen();
  }

  /** Ends the wait of a write: what it wrote may never be taken, and nothing must be written after it. */
  giveUp(): void {
    this.#unblock?.();
  }

  /** Closes the outbox: a current or later write fails with `error`. */
  close(error: GuestfsError): void {
    this.#closed = error;
    this.#unblock?.();
  }

  /** It may have been closed during a wait, which the compiler does not see. */
  #requireOpen(): void {
    if (this.#closed) throw this.#closed;
  }
}
