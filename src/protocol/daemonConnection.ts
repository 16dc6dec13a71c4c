/**
 * The connection to one daemon, over one byte stream.
 *
 * One call at a time, which the caller ensures. The forms of a call are those of libguestfs's
 * lib/proto.c: request and reply; request, file chunks, reply (FileIn); request, reply, file
 * chunks (FileOut). Progress messages and flags may arrive at any time. After a call the
 * connection is either idle again, or closed for good.
 */
import type { Duplex } from 'node:stream';
import { GuestfsError } from '../common/errors.js';
import type { DaemonCall, NoValue } from './daemonCall.js';
import type { DaemonVersion } from './daemonVersion.js';
import { FileTransfer } from './fileTransfer.js';
import { FrameDecoder, type Frame } from './frameDecoder.js';
import { Inbox } from './inbox.js';
import { answersCall, decodeReply, encodeCall, ProtocolError, type ProgressMessage } from './messages.js';
import { Outbox } from './outbox.js';

export interface ConnectionEvents {
  onProgress(progress: ProgressMessage): void;
}

export interface CallOptions {
  /** Total size of an upload, bytes, where it is known. */
  readonly progressHint?: bigint;
  /** Called with the serial number once the call has been sent. */
  readonly onSent?: (serial: number) => void;
}

export interface TransferOptions extends CallOptions {
  /** Cancels the transfer as the protocol defines it; the call then fails with the signal's reason. */
  readonly signal: AbortSignal;
}

export interface UploadOptions extends TransferOptions {
  /**
   * For an upload that the daemon may accept completely but never answer: a call that it does answer,
   * sent after it. If only that one is answered, the daemon has refused the upload.
   */
  readonly followUp?: DaemonCall<NoValue, unknown>;
}

/** Serial numbers are 32 bits, not zero. */
const SERIAL_MAX = 0x7fffffff;

export class DaemonConnection {
  readonly #channel: Duplex;
  #events: ConnectionEvents;
  readonly #decoder = new FrameDecoder();
  readonly #inbox: Inbox;
  readonly #outbox: Outbox;
  readonly #transfer: FileTransfer;
  /** Whether a call is in flight, so that messages are expected. */
  #busy = false;
  #launched = false;
  /** Ends the wait for the launch flag. */
  #wakeLaunch: () => void = () => undefined;
  #serial = 0;
  #failure: GuestfsError | undefined;
  #lastAnswer = performance.now();
  readonly #closed: Promise<void>;
  #resolveClosed: () => void = () => undefined;

  constructor(channel: Duplex, events: ConnectionEvents) {
    this.#channel = channel;
    this.#events = events;
    this.#inbox = new Inbox(channel);
    this.#outbox = new Outbox(channel);
    this.#transfer = new FileTransfer(this.#inbox, this.#outbox);
    this.#closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    channel.on('data', (bytes: Buffer) => this.#receive(bytes)).resume();
    channel.on('error', (error) =>
      this.#fail(new GuestfsError('APPLIANCE_GONE', 'the connection to the appliance failed', { cause: error })),
    );
    channel.on('close', () => this.#fail(new GuestfsError('APPLIANCE_GONE', 'the appliance closed its connection')));
    channel.on('end', () => this.#fail(new GuestfsError('APPLIANCE_GONE', 'the appliance closed its connection')));
    // A channel that was destroyed earlier emits no more events.
    if (channel.destroyed) this.#fail(new GuestfsError('APPLIANCE_GONE', 'the appliance closed its connection'));
  }

  /** Resolves when the connection is closed, by whatever cause. */
  get closed(): Promise<void> {
    return this.#closed;
  }

  /** Why the connection is closed; undefined while it is open. */
  get failure(): GuestfsError | undefined {
    return this.#failure;
  }

  /** A connection to the daemon of a clone, whose launch flag was sent before the machine was saved as a template. */
  static resume(channel: Duplex, events: ConnectionEvents): DaemonConnection {
    const connection = new DaemonConnection(channel, events);
    connection.#launched = true;
    return connection;
  }

  /** Starts delivery to `events`. */
  follow(events: ConnectionEvents): this {
    this.#events = events;
    return this;
  }

  /** Resolves when the daemon reports that it is up. */
  async awaitLaunch(): Promise<void> {
    while (!this.#launched) {
      if (this.#failure) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wakeLaunch = resolve;
      });
    }
  }

  /** When the daemon last sent anything, on the clock of `performance`. */
  get lastAnswer(): number {
    return this.#lastAnswer;
  }

  /** Closes the connection; a call in flight fails. */
  close(failure = new GuestfsError('APPLIANCE_GONE', 'the appliance was stopped')): void {
    this.#fail(failure);
  }

  /** Request and reply. */
  async call<Request, Response>(
    call: DaemonCall<Request, Response>,
    request: Request,
    daemon: DaemonVersion,
    options: CallOptions = {},
  ): Promise<Response> {
    return this.#exclusively(async () => {
      const serial = await this.#sendRequest(call, request, daemon, options);
      return this.#reply(call, serial);
    });
  }

  /**
   * Request, file, reply. Ends early when the daemon refuses more, when the source fails or
   * when the signal aborts; in each case the daemon's reply is awaited.
   */
  async upload<Request, Response>(
    call: DaemonCall<Request, Response>,
    request: Request,
    daemon: DaemonVersion,
    source: AsyncIterable<Buffer>,
    options: UploadOptions,
  ): Promise<Response> {
    return this.#exclusively(async () => {
      this.#transfer.expectUpload();
      const serial = await this.#sendRequest(call, request, daemon, options);
      const ended = await this.#transfer.upload(source, options.signal);
      if (ended.kind === 'complete' && options.followUp !== undefined)
        return this.#replyOrSilence(call, serial, options.followUp, daemon);
      if (ended.kind === 'answered') return this.#earlyReply(call, serial, ended.begun);
      if (ended.kind === 'complete' || ended.kind === 'refused') return this.#reply(call, serial);
      await this.#reply(call, serial).catch((error: unknown) => {
        // The daemon answers a cancelled upload with an error that is less specific than the cause.
        if (this.#failure || error instanceof ProtocolError) throw error;
      });
      throw ended.cause;
    });
  }

  /**
   * Request, reply, file. `deliver` gets the pieces in order, at most 128 KiB
   * at a time, and exerts backpressure on the daemon until it resolves. What it throws cancels
   * the download as the protocol defines it, except for {@link NothingMoreComes}.
   */
  async download<Request>(
    call: DaemonCall<Request, unknown>,
    request: Request,
    daemon: DaemonVersion,
    deliver: (pieces: readonly Buffer[]) => Promise<void>,
    options: TransferOptions,
  ): Promise<void> {
    return this.#exclusively(async () => {
      const serial = await this.#sendRequest(call, request, daemon, options);
      await this.#reply(call, serial);
      const ended = await this.#transfer.download(deliver, options.signal);
      if (ended.kind === 'abandoned') throw ended.cause;
      if (ended.kind === 'refused') {
        throw new GuestfsError(
          'DAEMON_ERROR',
          `${call.action}: the daemon could not send the whole file; GetLog may show why`,
        );
      }
    });
  }

  async #exclusively<Value>(body: () => Promise<Value>): Promise<Value> {
    if (this.#busy) throw new Error('concurrent calls on one connection');
    this.#busy = true;
    try {
      return await body();
    } catch (error) {
      if (error instanceof ProtocolError) {
        const failure = brokenProtocol(error);
        this.#fail(failure);
        throw failure;
      }
      throw error;
    } finally {
      this.#busy = false;
      if (!this.#inbox.isEmpty) this.#fail(brokenProtocol(new ProtocolError('a message that answers no call')));
    }
  }

  async #sendRequest<Request>(
    call: DaemonCall<Request, unknown>,
    request: Request,
    daemon: DaemonVersion,
    options: CallOptions,
  ): Promise<number> {
    if (this.#failure) throw this.#neverSent(this.#failure);
    this.#serial = this.#serial >= SERIAL_MAX ? 1 : this.#serial + 1;
    const serial = this.#serial;
    const message = encodeCall(call, request, { serial, progressHint: options.progressHint ?? 0n, daemon });
    options.onSent?.(serial);
    await this.#outbox.write(message);
    return serial;
  }

  /** Marks the call as sent: if the appliance ends from now on, the outcome is unknown. */
  async #reply<Response>(call: DaemonCall<never, Response>, serial: number): Promise<Response> {
    return decodeReply(call, serial, await this.#inbox.next());
  }

  /**
   * As {@link #reply}, to an upload that the daemon answers before it has read the file. If parts of the file have
   * already been sent, it treats them as calls, and its answers to those would be mistaken for answers to later calls.
   * Therefore the connection is closed.
   */
  async #earlyReply<Response>(call: DaemonCall<never, Response>, serial: number, begun: boolean): Promise<Response> {
    const outcome = await this.#reply(call, serial).then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    );
    if (this.#failure) throw this.#failure;
    if (begun) {
      const broken = brokenProtocol(new ProtocolError(`an answer to ${call.action} before the end of its file`));
      this.#fail(broken);
      if (!('error' in outcome) || !(outcome.error instanceof GuestfsError)) throw broken;
      const { reason, message } = outcome.error;
      throw new GuestfsError(reason, `${message}; ${broken.message}`, { cause: outcome.error });
    }
    if ('error' in outcome) throw outcome.error;
    return outcome.value;
  }

  /** As {@link #reply}, to a call that the daemon may not answer. */
  async #replyOrSilence<Response>(
    call: DaemonCall<never, Response>,
    serial: number,
    followUp: DaemonCall<NoValue, unknown>,
    daemon: DaemonVersion,
  ): Promise<Response> {
    const following = await this.#sendRequest(followUp, {}, daemon, {});
    const answer = await this.#inbox.next();
    if (answersCall(following, answer)) {
      decodeReply(followUp, following, answer);
      throw new GuestfsError(
        'DAEMON_ERROR',
        `${call.action}: the daemon refused the file and gave no reason; GetLog may show more`,
      );
    }
    decodeReply(followUp, following, await this.#inbox.next());
    return decodeReply(call, serial, answer);
  }

  #receive(bytes: Buffer): void {
    if (this.#failure) return;
    try {
      for (const frame of this.#decoder.push(bytes)) this.#accept(frame);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#fail(brokenProtocol(error));
    }
    this.#inbox.holdBack();
  }

  #accept(frame: Frame): void {
    this.#lastAnswer = performance.now();
    switch (frame.kind) {
      case 'launch':
        if (this.#launched) throw new ProtocolError('a second launch flag');
        this.#launched = true;
        this.#wakeLaunch();
        break;
      case 'progress':
        this.#events.onProgress(frame.progress);
        break;
      case 'cancel':
        this.#transfer.refuse();
        break;
      case 'message':
        if (!this.#launched) throw new ProtocolError('a message before the launch flag');
        if (this.#transfer.isSpareCancelChunk(frame.bytes)) break;
        if (!this.#busy) throw new ProtocolError('a message that answers no call');
        this.#inbox.push(frame.bytes);
        this.#transfer.noteMessage();
        break;
    }
  }

  /** The error of a call on a closed connection. */
  #neverSent(failure: GuestfsError): GuestfsError {
    if (failure.reason === 'APPLIANCE_GONE') return failure;
    return new GuestfsError('APPLIANCE_GONE', 'the appliance was stopped before the call was sent to it', {
      cause: failure,
    });
  }

  #fail(failure: GuestfsError): void {
    if (this.#failure) return;
    this.#failure = failure;
    this.#channel.destroy();
    const outcome = outcomeOf(failure);
    this.#inbox.close(outcome);
    this.#outbox.close(outcome);
    this.#transfer.close(outcome);
    this.#wakeLaunch();
    this.#resolveClosed();
  }
}

/** The error of a call in flight when the connection fails. */
function outcomeOf(failure: GuestfsError): GuestfsError {
  // The messages of these already state that the outcome is unknown.
  if (failure.reason === 'PROTOCOL_ERROR' || failure.reason === 'UNRESPONSIVE') return failure;
  return new GuestfsError(
    'OUTCOME_UNKNOWN',
    'the appliance ended before it answered: whether the call had an effect is unknown',
    { cause: failure },
  );
}

function brokenProtocol(error: ProtocolError): GuestfsError {
  return new GuestfsError('PROTOCOL_ERROR', `the appliance violated the protocol (${error.message}); it was stopped`, {
    cause: error,
  });
}
