/**
 * Queue of the messages received from a daemon.
 *
 * Bounded: above the limit the channel is paused, which exerts backpressure on the daemon. There is one reader at a time.
 * Once the inbox is closed, queued messages can still be taken; after them every read fails.
 */
import type { Duplex } from 'node:stream';
import type { GuestfsError } from '../common/errors.js';
import { FILE_END_LENGTH } from './messages.js';

/** Bytes from the daemon that may wait to be taken before reading pauses. */
const RECEIVE_LIMIT = 256 * 1024;
/** Overhead counted for each queued message, so that empty messages are bounded as well. */
const MESSAGE_OVERHEAD = 256;
/**
 * How long chunks of a download that arrive one by one are collected, after the first, milliseconds: each delivery
 * becomes a message to the client, which costs both sides more than the bytes in it.
 */
const GATHER_MS = 5;
/**
 * A daemon that lists names sends each in a separate chunk, and each would wake qemu and this process. Reading pauses
 * for this long between such chunks, milliseconds. The socket holds about a hundred; a longer pause would block qemu.
 */
const REST_MS = 2;

export class Inbox {
  readonly #channel: Duplex;
  readonly #messages: Buffer[] = [];
  #waitingBytes = 0;
  #wake: (() => void) | undefined;
  /** Ends the wait for more chunks once enough bytes are queued. */
  #gathering: { readonly enough: number; readonly wake: () => void } | undefined;
  #closed: GuestfsError | undefined;

  /** @param channel the source of the messages, which is paused while too many are waiting */
  constructor(channel: Duplex) {
    this.#channel = channel;
  }

  get isEmpty(): boolean {
    return this.#messages.length === 0;
  }

  /** The next message, without removing it. */
  peek(): Buffer | undefined {
    return this.#messages[0];
  }

  push(message: Buffer): void {
    this.#messages.push(message);
    this.#waitingBytes += message.length + MESSAGE_OVERHEAD;
    this.#notify();
    const gathering = this.#gathering;
    if (gathering && (this.#waitingBytes >= gathering.enough || message.length === FILE_END_LENGTH)) gathering.wake();
  }

  /** Pauses the channel if enough is waiting; must be called when everything that was read has been pushed. */
  holdBack(): void {
    if (this.#waitingBytes >= RECEIVE_LIMIT) this.#channel.pause();
  }

  /** Removes and returns the next message, if there is one. */
  take(): Buffer | undefined {
    const message = this.#messages.shift();
    if (message === undefined) return undefined;
    this.#waitingBytes -= message.length + MESSAGE_OVERHEAD;
    if (this.#waitingBytes < RECEIVE_LIMIT && this.#channel.isPaused()) this.#channel.resume();
    return message;
  }

  /**
   * Removes and returns the next message; waits for one.
   * @throws GuestfsError the error that the inbox was closed with
   */
  async next(): Promise<Buffer> {
    for (;;) {
      const message = this.take();
      if (message !== undefined) return message;
      if (this.#closed) throw this.#closed;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Waits briefly until `enough` bytes or the end of a file are queued. */
  async gather(enough: number): Promise<void> {
    if (this.#closed || this.#waitingBytes >= enough || this.#hasFileEnd()) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => this.#gathering?.wake(), GATHER_MS);
      this.#gathering = {
        enough,
        wake: () => {
          clearTimeout(timer);
          this.#gathering = undefined;
          resolve();
        },
      };
    });
  }

  /** Leaves the daemon's output in the socket for a moment, unless the end of a file is queued. */
  async rest(): Promise<void> {
    if (this.#closed || this.#hasFileEnd()) return;
    this.#channel.pause();
    await new Promise((resolve) => setTimeout(resolve, REST_MS));
    if (this.#waitingBytes < RECEIVE_LIMIT) this.#channel.resume();
  }

  /** Closes the inbox: a current or later wait fails with `error`. */
  close(error: GuestfsError): void {
    this.#closed = error;
    this.#notify();
    this.#gathering?.wake();
  }

  #hasFileEnd(): boolean {
    return this.#messages.at(-1)?.length === FILE_END_LENGTH;
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
