/**
 * The one way of an action call:
 *  1. find the session that the metadata names, and check that the caller may use it;
 *  2. turn cancellation and deadline into a signal;
 *  3. check state and arguments;
 *  4. run the action in the session's turn (daemon) or aside (library);
 *  5. answer, or turn the error into a status: `statusMapping.ts`.
 * The four kinds of gRPC calls differ only in how the request comes and the answer goes.
 */
import type {
  handleClientStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  ServerReadableStream,
  ServerWritableStream,
  UntypedHandleCall,
} from '@grpc/grpc-js';
import type { LibraryActions } from '../../gen/libraryActions.js';
import { isFileIn, isFileOut, isStreamedAnswer, needsDaemon, takesAnySize } from '../actions/shape.js';
import type { ActionDef } from '../actions/types.js';
import { badArgument } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import type { ForeignImageProbe } from '../images/foreignProbe.js';
import type { LibraryContext } from '../library/context.js';
import { libraryActions } from '../library/index.js';
import type { AnyDaemonCall } from '../protocol/daemonCall.js';
import type { ServerPolicy } from '../security/policy.js';
import type { Daemon } from '../session/daemon.js';
import type { Session } from '../session/session.js';
import type { SessionRegistry } from '../session/sessionRegistry.js';
import { identityOf, scopeOf, type ServerCall } from './callScope.js';
import { checkArguments } from './checkArguments.js';
import { Undecodable } from './decoding.js';
import { fileChunks, readArguments } from './fileIn.js';
import { FilePieces, type FileMessage } from './fileMessages.js';
import { answerWriter, type AnswerWriter } from './answerWriter.js';
import { whileHeld } from './largeRequests.js';
import type { HeldMessage } from './requestFlow.js';
import { sessionIdOf } from './sessionHeader.js';
import { toStatus } from './statusMapping.js';

export interface InvokerOptions {
  readonly registry: SessionRegistry;
  readonly policy: ServerPolicy;
  readonly probe: ForeignImageProbe;
  readonly logger: Logger;
}

/** Library actions as the invoker calls them; the types are those of `LibraryActions`. */
type AnyLibraryAction = (context: LibraryContext, request: object) => Promise<object> | AsyncIterable<object>;

export class ActionInvoker {
  readonly #registry: SessionRegistry;
  readonly #policy: ServerPolicy;
  readonly #probe: ForeignImageProbe;
  readonly #logger: Logger;

  constructor(options: InvokerOptions) {
    this.#registry = options.registry;
    this.#policy = options.policy;
    this.#probe = options.probe;
    this.#logger = options.logger;
  }

  /** The handler of an action's RPC. */
  handler(action: ActionDef, call: AnyDaemonCall | undefined): UntypedHandleCall {
    if (action.impl === 'library') {
      const implementation = libraryActions[action.name as keyof LibraryActions] as AnyLibraryAction;
      return isStreamedAnswer(action)
        ? this.#libraryStream(action, implementation)
        : this.#libraryUnary(action, implementation);
    }
    if (call === undefined) throw new Error(`no codec for ${action.name}`);
    if (isFileIn(action)) return this.#fileIn(action, call);
    if (isFileOut(action)) return this.#fileOut(action, call);
    return this.#unary(action, call);
  }

  #session(call: ServerCall): Session {
    this.#registry.refuseWhileDraining();
    return this.#registry.get(sessionIdOf(call.metadata), identityOf(call));
  }

  /** Runs `body` with all that a call needs, and makes any error a status. */
  async #run<Value>(
    action: ActionDef,
    call: ServerCall,
    body: (session: Session, signal: AbortSignal) => Promise<Value>,
  ): Promise<{ value: Value } | { failure: ReturnType<typeof toStatus> }> {
    let session: Session | undefined;
    const scope = scopeOf(call);
    try {
      session = this.#session(call);
      if (action.configOnly) session.requireState(['CONFIG'], action.name);
      return { value: await body(session, scope.signal) };
    } catch (error) {
      return {
        failure: toStatus(error, { action: action.name, ...(session ? { state: session.state } : {}) }, this.#logger),
      };
    } finally {
      scope.end();
    }
  }

  #checked(action: ActionDef, request: unknown): object {
    if (request instanceof Undecodable) throw request.error;
    checkArguments(action, request as object);
    return request as object;
  }

  #unary(action: ActionDef, codec: AnyDaemonCall): handleUnaryCall<unknown, object> {
    return (call, callback) => {
      void this.#run(action, call, async (session, signal) => {
        const request = this.#checked(action, call.request);
        return session.perform(action, request, signal, (daemon) => daemon.call(codec, request)) as Promise<object>;
      }).then((result) => ('failure' in result ? callback(result.failure) : callback(null, result.value)));
    };
  }

  #fileIn(action: ActionDef, codec: AnyDaemonCall): handleClientStreamingCall<unknown, object> {
    return (call, callback) => {
      void this.#run(action, call, async (session, signal) => {
        const messages = call as ServerReadableStream<HeldMessage<FileMessage | Undecodable>, object>;
        const stream = messages[Symbol.asyncIterator]() as AsyncIterator<HeldMessage<FileMessage | Undecodable>>;
        session.requireState(['READY'], action.name);
        const request = await readArguments(stream, signal);
        checkArguments(action, request);
        const size = request.progress_hint;
        if (size !== undefined && size < 0n) throw badArgument('progress_hint', 'must not be negative');
        return session.perform(action, request, signal, (daemon) =>
          daemon.upload(codec, request, fileChunks(stream), size),
        ) as Promise<object>;
      }).then((result) => ('failure' in result ? callback(result.failure) : callback(null, result.value)));
    };
  }

  #fileOut(action: ActionDef, codec: AnyDaemonCall): handleServerStreamingCall<unknown, object> {
    return (call) =>
      this.#answerStream(action, call, async (session, signal, writer) => {
        const request = this.#checked(action, call.request);
        await session.perform(action, request, signal, (daemon) =>
          daemon.download(codec, request, (pieces) => writer.write(new FilePieces(pieces))),
        );
      });
  }

  #libraryUnary(action: ActionDef, implementation: AnyLibraryAction): handleUnaryCall<unknown, object> {
    const work = (context: LibraryContext, request: object): Promise<object> =>
      implementation(context, request) as Promise<object>;
    const perform = takesAnySize(action)
      ? (context: LibraryContext, request: object): Promise<object> => whileHeld(request, () => work(context, request))
      : work;
    return (call, callback) => {
      void this.#run(action, call, async (session, signal) => {
        const request = this.#checked(action, call.request);
        return this.#perform(action, session, signal, request, (context) => perform(context, request));
      }).then((result) => ('failure' in result ? callback(result.failure) : callback(null, result.value)));
    };
  }

  #libraryStream(action: ActionDef, implementation: AnyLibraryAction): handleServerStreamingCall<unknown, object> {
    return (call) =>
      this.#answerStream(action, call, async (session, signal, writer) => {
        const request = this.#checked(action, call.request);
        await this.#perform(action, session, signal, request, async (context) => {
          for await (const batch of implementation(context, request) as AsyncIterable<object>)
            await writer.write(batch);
        });
      });
  }

  #answerStream(
    action: ActionDef,
    call: ServerWritableStream<unknown, object>,
    body: (session: Session, signal: AbortSignal, writer: AnswerWriter) => Promise<void>,
  ): void {
    void this.#run(action, call, async (session, signal) => {
      const writer = answerWriter(call, signal);
      await body(session, signal, writer);
      await writer.flushed();
    }).then((result) => {
      if ('failure' in result) call.emit('error', result.failure);
      else call.end();
    });
  }

  /** Runs a library-side action: in the session's turn if it talks to the daemon. */
  #perform<Value>(
    action: ActionDef,
    session: Session,
    signal: AbortSignal,
    request: object,
    body: (context: LibraryContext) => Promise<Value>,
  ): Promise<Value> {
    const context = { action, session, signal, policy: this.#policy, probe: this.#probe };
    if (needsDaemon(action)) return session.perform(action, request, signal, (daemon) => body({ ...context, daemon }));
    return session.performAside(action, request, () =>
      body({
        ...context,
        get daemon(): Daemon {
          throw new Error(`${action.name} has no turn`);
        },
      }),
    );
  }
}
