/**
 * A QMP client: greeting, commands whose responses are matched by id, events.
 */
import type { Duplex } from 'node:stream';
import { unlessAborted } from '../common/waiting.js';
import { QmpFramer, QmpProtocolError, type QmpMessage } from './qmpFramer.js';

/** qemu refused a command. */
export class QmpError extends Error {
  override readonly name = 'QmpError';
  constructor(
    readonly command: string,
    /** qemu's error class, such as `GenericError`. */
    readonly errorClass: string,
    /** qemu's error description. */
    readonly description: string,
  ) {
    super(`${command}: ${description}`);
  }
}

/** The QMP connection is closed: qemu has exited, or one side closed the connection. */
export class QmpClosedError extends Error {
  override readonly name = 'QmpClosedError';
}

/** An asynchronous event of qemu. */
export interface QmpEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

const CLOSED = 'the QMP connection closed';

interface Pending {
  readonly command: string;
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export class QmpClient {
  readonly #stream: Duplex;
  readonly #framer: QmpFramer;
  readonly #pending = new Map<number, Pending>();
  readonly #listeners = new Set<(event: QmpEvent) => void>();
  readonly #greeting: Promise<void>;
  #greeted: (() => void) | undefined;
  #refused: (error: Error) => void = () => undefined;
  #lastId = 0;
  #ended: Error | undefined;
  #lastAnswer = performance.now();

  private constructor(stream: Duplex, framer: QmpFramer) {
    this.#stream = stream;
    this.#framer = framer;
    this.#greeting = new Promise((resolve, reject) => {
      this.#greeted = resolve;
      this.#refused = reject;
    });
    this.#greeting.catch(() => undefined);
    stream.on('data', (bytes: Buffer) => this.#take(bytes)).resume();
    stream.once('error', (error) => this.#end(new QmpClosedError(CLOSED, { cause: error })));
    stream.once('close', () => this.#end(new QmpClosedError(CLOSED)));
    stream.once('end', () => this.#end(new QmpClosedError(CLOSED)));
    // If qemu exited immediately, the stream may have closed before these listeners were added.
    if (stream.destroyed || stream.readableEnded) this.#end(new QmpClosedError(CLOSED));
  }

  /**
   * Waits for the greeting and completes capabilities negotiation.
   * @throws QmpClosedError, QmpProtocolError, or the reason of `signal`; the stream is closed then
   */
  static async connect(stream: Duplex, signal: AbortSignal, framer: QmpFramer = new QmpFramer()): Promise<QmpClient> {
    const client = new QmpClient(stream, framer);
    try {
      await unlessAborted(client.#greeting, signal);
      await client.execute('qmp_capabilities', undefined, signal);
      return client;
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /**
   * Executes a command and resolves with its return value.
   *
   * An aborted command may still run, since QMP cannot cancel it. Its response is dropped.
   * @param write sends the line, where that takes more than writing to the stream
   * @throws QmpError if qemu refuses, QmpClosedError, or the reason of `signal`
   */
  async execute(
    command: string,
    args?: Readonly<Record<string, unknown>>,
    signal?: AbortSignal,
    write: (line: string) => void = (line) => void this.#stream.write(line),
  ): Promise<unknown> {
    signal?.throwIfAborted();
    if (this.#ended !== undefined) throw this.#ended;
    const id = ++this.#lastId;
    const answer = new Promise<unknown>((resolve, reject) => this.#pending.set(id, { command, resolve, reject }));
    write(`${JSON.stringify({ execute: command, ...(args === undefined ? {} : { arguments: args }), id })}\n`);
    return signal === undefined ? answer : unlessAborted(answer, signal);
  }

  /** When qemu last answered a command, on the clock of `performance`. */
  get lastAnswer(): number {
    return this.#lastAnswer;
  }

  /** Calls `listener` for each event; returns a function that removes it. */
  onEvent(listener: (event: QmpEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Resolves with the next event that `accepts` matches; call it before the command that causes the event.
   * @throws QmpClosedError or the reason of `signal`
   */
  async waitForEvent(accepts: (event: QmpEvent) => boolean, signal: AbortSignal): Promise<QmpEvent> {
    signal.throwIfAborted();
    if (this.#ended !== undefined) throw this.#ended;
    let stop = (): void => undefined;
    const event = new Promise<QmpEvent>((resolve, reject) => {
      const stopListening = this.onEvent((one) => {
        if (accepts(one)) resolve(one);
      });
      const closed = (): void => reject(this.#ended ?? new QmpClosedError(CLOSED));
      this.#stream.once('close', closed);
      stop = () => {
        stopListening();
        this.#stream.removeListener('close', closed);
      };
    });
    return unlessAborted(event, signal).finally(() => stop());
  }

  /** Closes the connection; pending commands fail. Can be called twice. */
  close(): void {
    this.#end(new QmpClosedError('the QMP connection was closed'));
  }

  #take(bytes: Buffer): void {
    if (this.#ended !== undefined) return;
    try {
      for (const message of this.#framer.push(bytes)) this.#handle(message);
    } catch (error) {
      this.#end(error instanceof Error ? error : new QmpProtocolError(String(error)));
    }
  }

  #handle(message: QmpMessage): void {
    if ('QMP' in message) {
      if (this.#greeted === undefined) throw new QmpProtocolError('qemu sent a second QMP greeting');
      this.#greeted();
      this.#greeted = undefined;
    } else if (typeof message['event'] === 'string') {
      const event: QmpEvent = { event: message['event'], data: asObject(message['data']) };
      for (const listener of [...this.#listeners]) listener(event);
    } else {
      this.#answer(message);
    }
  }

  #answer(message: QmpMessage): void {
    this.#lastAnswer = performance.now();
    const { id } = message;
    const pending = typeof id === 'number' ? this.#pending.get(id) : undefined;
    if (pending === undefined) throw new QmpProtocolError('qemu sent a QMP response to no pending command');
    this.#pending.delete(id as number);
    if ('return' in message) {
      pending.resolve(message['return']);
    } else {
      const error = asObject(message['error']);
      pending.reject(
        new QmpError(pending.command, text(error['class'], 'GenericError'), text(error['desc'], 'no description')),
      );
    }
  }

  #end(error: Error): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    this.#refused(error);
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
    this.#stream.destroy();
    // Later errors of the stream are ignored: the connection has failed already.
    this.#stream.on('error', () => undefined);
  }
}

function asObject(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function text(value: unknown, fallback: string): string {
  return typeof value === 'string' ? value : fallback;
}
