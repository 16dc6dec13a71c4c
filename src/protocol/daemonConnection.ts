/**
 * The conversation with one daemon over one byte stream.
 *
 * One call at a time: the caller sees to that. The shapes of a call are those of libguestfs's
 * lib/proto.c: request and reply; request, file chunks, reply (FileIn); request, reply, file
 * chunks (FileOut). Progress messages and flags may come in between at any moment. However a
 * call ends, the conversation is at rest again, or the connection is closed.
 */
import type { Duplex } from 'node:stream';
import { GuestfsError } from '../common/errors.js';
import { MAX_CHUNK_SIZE } from './constants.js';
import type { DaemonCall, NoValue } from './daemonCall.js';
import type { DaemonVersion } from './daemonVersion.js';
import { FrameDecoder, type Frame } from './frameDecoder.js';
import {
  answersCall,
  chunksSize,
  decodeChunk,
  decodeReply,
  encodeCall,
  encodeCancelFlag,
  encodeChunks,
  encodeLastChunk,
  ProtocolError,
  type ProgressMessage,
} from './messages.js';

/** Bytes from the daemon that may wait to be taken before reading pauses. */
const RECEIVE_LIMIT = 256 * 1024;
/** What a message that waits costs besides its bytes: without it, messages of no length would cost nothing. */
const MESSAGE_OVERHEAD = 256;
/** Bytes of a file that are handed on, or made into chunks, at once. */
const DELIVERY_SIZE = 128 * 1024;
/**
 * So long are chunks of a download gathered, after the first, that come one by one,
 * milliseconds: each delivery becomes a message to the client, which costs both ends more than
 * the bytes in it.
 */
const GATHER_MS = 5;
/**
 * A daemon that lists names sends each as a chunk of its own. Reading rests so long between
 * such chunks, milliseconds: each would wake this process, and qemu to wake it. The socket
 * holds a hundred of them or so; a longer rest would make qemu wait.
 */
const REST_MS = 2;
/** Chunks are such once a delivery has so many of them ... */
const SMALL_CHUNKS = 8;
/** ... and as long as there are so few bytes in each, on average. */
const SMALL_CHUNK_SIZE = 512;

export interface ConnectionEvents {
  onProgress(progress: ProgressMessage): void;
}

export interface CallOptions {
  /** Total size of an upload, bytes, where it is known. */
  readonly progressHint?: bigint;
  /** Told the serial number of the call once it is on its way. */
  readonly onSent?: (serial: number) => void;
}

export interface TransferOptions extends CallOptions {
  /** Ends the transfer by the protocol; its reason is what the call then fails with. */
  readonly signal: AbortSignal;
}

export interface UploadOptions extends TransferOptions {
  /**
   * Of an upload that the daemon may take whole and never answer: a call that it does answer,
   * sent behind it. An answer to that one alone is the daemon's refusal.
   */
  readonly followUp?: DaemonCall<NoValue, unknown>;
}

/**
 * Thrown by whom a download is delivered to, when what came shows that the daemon sends no more of
 * it: neither the rest nor an end.
 */
export class NothingMoreComes extends Error {
  /** @param failure what the call then fails with */
  constructor(readonly failure: GuestfsError) {
    super(failure.message, { cause: failure });
  }
}

/** How a file ended: whole, by the daemon's wish, or by this side's. */
type FileEnd =
  | { readonly kind: 'complete' }
  | { readonly kind: 'refused' }
  | { readonly kind: 'abandoned'; readonly cause: unknown };

/** The chunk that cancels a file, without its length word. */
const CANCEL_CHUNK = encodeLastChunk(true).subarray(4);
/** Only the chunks that end a file are so short. */
const END_LENGTH = CANCEL_CHUNK.length;

const INTERRUPTED = Symbol('interrupted');

/** Serial numbers are 32 bits, not zero. */
const SERIAL_MAX = 0x7fffffff;

export class DaemonConnection {
  readonly #channel: Duplex;
  #events: ConnectionEvents;
  readonly #decoder = new FrameDecoder();
  /** Messages that came and were not taken yet. */
  readonly #messages: Buffer[] = [];
  #waitingBytes = 0;
  #wake: (() => void) | undefined;
  /** Ends the wait for more chunks, once so much is there. */
  #gathering: { readonly enough: number; readonly wake: () => void } | undefined;
  /** Ends the wait for the next piece of an upload, or for whom a download is delivered to. */
  #interrupt: (() => void) | undefined;
  /** Ends the wait for room in the channel. */
  #unblockWrite: (() => void) | undefined;
  /** The daemon may send a second cancel chunk for the download that was cancelled last. */
  #spareCancelChunk = false;
  /** A call is under way, so that messages are expected. */
  #busy = false;
  #launched = false;
  #serial = 0;
  /** Aborted when the daemon asks to end the upload under way. */
  #uploadRefused = new AbortController();
  #failure: GuestfsError | undefined;
  readonly #closed: Promise<void>;
  #resolveClosed: () => void = () => undefined;

  constructor(channel: Duplex, events: ConnectionEvents) {
    this.#channel = channel;
    this.#events = events;
    this.#closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    channel.on('data', (bytes: Buffer) => this.#receive(bytes)).resume();
    channel.on('error', (error) =>
      this.#fail(new GuestfsError('APPLIANCE_GONE', 'the connection to the appliance broke', { cause: error })),
    );
    channel.on('close', () => this.#fail(new GuestfsError('APPLIANCE_GONE', 'the appliance closed its connection')));
    channel.on('end', () => this.#fail(new GuestfsError('APPLIANCE_GONE', 'the appliance closed its connection')));
    // Of what happened before there is no event any more.
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

  /** The conversation with a daemon that said long ago that it is up: before its machine was saved. */
  static resume(channel: Duplex, events: ConnectionEvents): DaemonConnection {
    const connection = new DaemonConnection(channel, events);
    connection.#launched = true;
    return connection;
  }

  /** From here on `events` is told. */
  follow(events: ConnectionEvents): this {
    this.#events = events;
    return this;
  }

  /** Resolves when the daemon says that it is up. */
  async awaitLaunch(): Promise<void> {
    while (!this.#launched) {
      if (this.#failure) throw this.#failure;
      await this.#nextWake();
    }
  }

  /** Closes the connection; a call under way fails. */
  close(): void {
    this.#fail(new GuestfsError('APPLIANCE_GONE', 'the appliance was stopped'));
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
      this.#uploadRefused = new AbortController();
      const serial = await this.#sendRequest(call, request, daemon, options);
      const ended = await this.#sendFile(source, options.signal);
      if (ended.kind === 'complete' && options.followUp !== undefined)
        return this.#replyOrSilence(call, serial, options.followUp, daemon);
      if (ended.kind === 'complete' || ended.kind === 'refused') return this.#reply(call, serial);
      await this.#reply(call, serial).catch((error: unknown) => {
        // The daemon answers a cancelled upload with an error, which says less than the cause.
        if (this.#failure || error instanceof ProtocolError) throw error;
      });
      throw ended.cause;
    });
  }

  /**
   * Request, reply, file. `deliver` gets the pieces in order, at most {@link DELIVERY_SIZE}
   * bytes at a time, and holds back the daemon while it has not resolved. What it throws ends the
   * download by the protocol, but for {@link NothingMoreComes}.
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
      const ended = await this.#receiveFile(deliver, options.signal);
      if (ended.kind === 'abandoned') throw ended.cause;
      if (ended.kind === 'refused') {
        throw new GuestfsError(
          'DAEMON_ERROR',
          `${call.action}: the daemon could not send the whole file; the log of the session has its reason`,
        );
      }
    });
  }

  async #exclusively<Value>(body: () => Promise<Value>): Promise<Value> {
    if (this.#busy) throw new Error('two calls at once on one connection');
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
      if (this.#messages.length > 0) this.#fail(brokenProtocol(new ProtocolError('a message that answers no call')));
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
    await this.#write(message);
    return serial;
  }

  /** From here on the call was sent: an appliance that is gone leaves the outcome unknown. */
  async #reply<Response>(call: DaemonCall<never, Response>, serial: number): Promise<Response> {
    return decodeReply(call, serial, await this.#nextMessage());
  }

  /** As {@link #reply}, to a call that the daemon may not answer. */
  async #replyOrSilence<Response>(
    call: DaemonCall<never, Response>,
    serial: number,
    followUp: DaemonCall<NoValue, unknown>,
    daemon: DaemonVersion,
  ): Promise<Response> {
    const following = await this.#sendRequest(followUp, {}, daemon, {});
    const answer = await this.#nextMessage();
    if (answersCall(following, answer)) {
      decodeReply(followUp, following, answer);
      throw new GuestfsError('DAEMON_ERROR', `${call.action}: the daemon refuses the file, and does not say why`);
    }
    decodeReply(followUp, following, await this.#nextMessage());
    return decodeReply(call, serial, answer);
  }

  async #sendFile(source: AsyncIterable<Buffer>, signal: AbortSignal): Promise<FileEnd> {
    const refused = this.#uploadRefused.signal;
    const iterator = source[Symbol.asyncIterator]();
    const interrupt = (): void => this.#interrupt?.();
    const scratch = Buffer.allocUnsafeSlow(chunksSize(DELIVERY_SIZE));
    signal.addEventListener('abort', interrupt);
    refused.addEventListener('abort', interrupt);
    let ended: FileEnd | undefined;
    try {
      while (ended === undefined) {
        const next = signal.aborted || refused.aborted ? INTERRUPTED : await this.#unlessInterrupted(iterator.next());
        if (this.#failure) throw this.#outcomeUnknown();
        if (refused.aborted) ended = { kind: 'refused' };
        else if (signal.aborted || next === INTERRUPTED) ended = { kind: 'abandoned', cause: signal.reason };
        else if (next.done) ended = { kind: 'complete' };
        else await this.#writeChunks(next.value, scratch, () => signal.aborted || refused.aborted);
      }
    } catch (error) {
      if (this.#failure) throw error;
      ended = { kind: 'abandoned', cause: error };
    } finally {
      signal.removeEventListener('abort', interrupt);
      refused.removeEventListener('abort', interrupt);
      // A source that waits for its client cannot be waited for here.
      if (ended?.kind !== 'complete') void iterator.return?.().catch(() => undefined);
    }
    await this.#write(encodeLastChunk(ended.kind !== 'complete'));
    return ended;
  }

  /** Sends a piece of a file, unless it is to end in the middle of it. */
  async #writeChunks(piece: Buffer, scratch: Buffer, ended: () => boolean): Promise<void> {
    for (let start = 0; start < piece.length && !ended(); start += DELIVERY_SIZE) {
      await this.#writeOut(encodeChunks(piece.subarray(start, start + DELIVERY_SIZE), scratch));
    }
  }

  async #receiveFile(deliver: (pieces: readonly Buffer[]) => Promise<void>, signal: AbortSignal): Promise<FileEnd> {
    let abandoned: (FileEnd & { readonly kind: 'abandoned' }) | undefined;
    const abandon = (why: unknown): void => {
      if (abandoned) return;
      abandoned = { kind: 'abandoned', cause: why ?? new GuestfsError('CANCELLED', 'the transfer was cancelled') };
      // The daemon may be busy, or gone, which shows when the next chunk is waited for.
      this.#write(encodeCancelFlag()).catch(() => undefined);
      this.#interrupt?.();
    };
    const aborted = (): void => abandon(signal.reason);
    signal.addEventListener('abort', aborted);
    try {
      if (signal.aborted) aborted();
      let small = false;
      for (let begun = false; ; begun = true) {
        const first = await this.#nextMessage();
        // The beginning is not to wait: it may be all that comes for a long time.
        if (begun && first.length > END_LENGTH && !abandoned)
          await (small ? this.#rest() : this.#gather(DELIVERY_SIZE - first.length));
        const { pieces, size, end } = this.#takeChunks(first);
        small = (small || pieces.length >= SMALL_CHUNKS) && size < pieces.length * SMALL_CHUNK_SIZE;
        if (!abandoned && pieces.length > 0) {
          let taken: unknown;
          try {
            taken = await this.#unlessInterrupted(deliver(pieces));
          } catch (error) {
            if (error instanceof NothingMoreComes && end === undefined)
              return { kind: 'abandoned', cause: error.failure };
            abandon(error instanceof NothingMoreComes ? error.failure : error);
          }
          if (taken === INTERRUPTED && !abandoned) throw this.#outcomeUnknown();
        }
        if (end === undefined) continue;
        if (abandoned && end === 'refused') this.#expectSpareCancelChunk();
        return abandoned ?? { kind: end };
      }
    } finally {
      signal.removeEventListener('abort', aborted);
    }
  }

  /**
   * Some procedures of the daemon (internal_readdir, internal_filesystem_walk, internal_find_inode,
   * internal_yara_scan) send the cancel chunk twice: once where they see the flag, and once more
   * at their end. It comes before anything else, if it comes.
   */
  #expectSpareCancelChunk(): void {
    const [next] = this.#messages;
    if (next === undefined) this.#spareCancelChunk = true;
    else if (next.equals(CANCEL_CHUNK)) this.#takeMessage();
  }

  /** The chunk in `first`, and those after it that are there already. */
  #takeChunks(first: Buffer): { pieces: Buffer[]; size: number; end: 'complete' | 'refused' | undefined } {
    const pieces: Buffer[] = [];
    let size = 0;
    let message: Buffer | undefined = first;
    while (message !== undefined) {
      const chunk = decodeChunk(message);
      if (chunk.cancel) return { pieces, size, end: 'refused' };
      if (chunk.data.length === 0) return { pieces, size, end: 'complete' };
      pieces.push(chunk.data);
      size += chunk.data.length;
      message = size + MAX_CHUNK_SIZE <= DELIVERY_SIZE ? this.#takeMessage() : undefined;
    }
    return { pieces, size, end: undefined };
  }

  async #write(bytes: Buffer): Promise<void> {
    if (this.#failure) throw this.#outcomeUnknown();
    if (this.#channel.write(bytes)) return;
    await new Promise<void>((resolve) => {
      this.#channel.once('drain', resolve);
      this.#unblockWrite = resolve;
    });
    if (this.#failure) throw this.#outcomeUnknown();
  }

  /** As {@link #write}, but resolves when the bytes are out of the buffer, which can then be used again. */
  async #writeOut(bytes: Buffer): Promise<void> {
    if (this.#failure) throw this.#outcomeUnknown();
    await new Promise<void>((resolve) => {
      this.#unblockWrite = resolve;
      this.#channel.write(bytes, () => resolve());
    });
    if (this.#failure) throw this.#outcomeUnknown();
  }

  /**
   * What `pending` gives, or INTERRUPTED. Not Promise.race: that would leave a reaction behind
   * for every piece of a file.
   */
  #unlessInterrupted<Value>(pending: Promise<Value>): Promise<Value | typeof INTERRUPTED> {
    return new Promise((resolve, reject) => {
      this.#interrupt = () => resolve(INTERRUPTED);
      pending.then(resolve, reject);
    });
  }

  #takeMessage(): Buffer | undefined {
    const message = this.#messages.shift();
    if (message === undefined) return undefined;
    this.#waitingBytes -= message.length + MESSAGE_OVERHEAD;
    if (this.#waitingBytes < RECEIVE_LIMIT && this.#channel.isPaused()) this.#channel.resume();
    return message;
  }

  async #nextMessage(): Promise<Buffer> {
    for (;;) {
      const message = this.#takeMessage();
      if (message !== undefined) return message;
      if (this.#failure) throw this.#outcomeUnknown();
      await this.#nextWake();
    }
  }

  /** Waits a little until so many bytes wait, or the end of the file does. */
  async #gather(enough: number): Promise<void> {
    if (this.#failure || this.#waitingBytes >= enough || this.#messages.at(-1)?.length === END_LENGTH) return;
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

  /** Lets what the daemon sends wait in the socket for a moment, unless the end of the file is here. */
  async #rest(): Promise<void> {
    if (this.#failure || this.#messages.at(-1)?.length === END_LENGTH) return;
    this.#channel.pause();
    await new Promise((resolve) => setTimeout(resolve, REST_MS));
    if (this.#waitingBytes < RECEIVE_LIMIT) this.#channel.resume();
  }

  #nextWake(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #receive(bytes: Buffer): void {
    if (this.#failure) return;
    try {
      for (const frame of this.#decoder.push(bytes)) this.#accept(frame);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#fail(brokenProtocol(error));
    }
    if (this.#waitingBytes >= RECEIVE_LIMIT) this.#channel.pause();
  }

  #accept(frame: Frame): void {
    switch (frame.kind) {
      case 'launch':
        if (this.#launched) throw new ProtocolError('a second launch flag');
        this.#launched = true;
        this.#notify();
        break;
      case 'progress':
        this.#events.onProgress(frame.progress);
        break;
      case 'cancel':
        // Outside an upload it is a late one: the daemon sends it just before its reply.
        this.#uploadRefused.abort();
        break;
      case 'message': {
        if (!this.#launched) throw new ProtocolError('a message before the launch flag');
        const spare = this.#spareCancelChunk && frame.bytes.equals(CANCEL_CHUNK);
        this.#spareCancelChunk = false;
        if (spare) break;
        if (!this.#busy) throw new ProtocolError('a message that answers no call');
        this.#messages.push(frame.bytes);
        this.#waitingBytes += frame.bytes.length + MESSAGE_OVERHEAD;
        this.#notify();
        if (
          this.#gathering !== undefined &&
          (this.#waitingBytes >= this.#gathering.enough || frame.bytes.length === END_LENGTH)
        )
          this.#gathering.wake();
        break;
      }
    }
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  /** Of a call that found the connection closed. */
  #neverSent(failure: GuestfsError): GuestfsError {
    if (failure.reason === 'APPLIANCE_GONE') return failure;
    return new GuestfsError('APPLIANCE_GONE', 'the appliance was stopped before the call was sent to it', {
      cause: failure,
    });
  }

  #outcomeUnknown(): GuestfsError {
    const failure = this.#failure;
    if (failure?.reason === 'PROTOCOL_ERROR') return failure;
    return new GuestfsError(
      'OUTCOME_UNKNOWN',
      'the appliance ended before it answered: whether the call had an effect is unknown',
      { cause: failure },
    );
  }

  #fail(failure: GuestfsError): void {
    if (this.#failure) return;
    this.#failure = failure;
    this.#channel.destroy();
    this.#notify();
    this.#gathering?.wake();
    this.#interrupt?.();
    this.#unblockWrite?.();
    this.#resolveClosed();
  }
}

function brokenProtocol(error: ProtocolError): GuestfsError {
  return new GuestfsError('PROTOCOL_ERROR', `the appliance broke the protocol (${error.message}); it was stopped`, {
    cause: error,
  });
}
