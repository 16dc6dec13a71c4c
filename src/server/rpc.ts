/** An RPC as the dispatch sees it: its rules, and what it does for a call that keeps them. */
import type { Metadata } from '@grpc/grpc-js';
import type { CallRules } from '../actions/callRules.js';
import type { ActionDef, Permission } from '../actions/types.js';
import type { LogFields } from '../common/logger.js';
import type { Daemon } from '../session/daemon.js';
import type { Session } from '../session/session.js';

/** A call that was let in. */
export interface AdmittedCall<Request = object> {
  readonly rules: CallRules;
  readonly request: Request;
  /** What the client sent beside the request. */
  readonly metadata: Metadata;
  /** Who calls; undefined: nobody that is known. */
  readonly identity: string | undefined;
  /** The session that the call names; undefined: the rules say that it names none. */
  readonly session: Session | undefined;
  /** Aborts when the client is gone, its deadline has passed, or it cancelled. */
  readonly signal: AbortSignal;
  /** The pieces of the file that a client stream carries; none for other calls. */
  readonly chunks: AsyncIterable<Buffer>;
  /**
   * Asks for a permission that the RPC declares for what it may find.
   * @throws GuestfsError NOT_ALLOWED
   */
  readonly requireFound: (permission: Permission) => void;
  /** Adds fields to the record of the call. */
  readonly note: (fields: LogFields) => void;
}

/** A call that names a session. */
export interface SessionCall<Request = object> extends AdmittedCall<Request> {
  readonly session: Session;
}

/** A call of an action, in its turn. */
export interface ActionCall extends SessionCall {
  readonly action: ActionDef;
  /**
   * The daemon; only for the actions that need it.
   * @throws Error for any other action
   */
  readonly daemon: Daemon;
}

/** The messages of a server stream. */
export interface AnswerStream {
  /** Tells the client that its call was taken, before there is a message. */
  opened(): void;
  /** Resolves when there is room for another message; rejects when the client is gone. */
  write(message: object): Promise<void>;
  /** Trailers for when the call ends with OK. */
  endWith(trailers: Metadata): void;
}

/** How requests come and answers go. */
export type RpcKind = 'unary' | 'clientStream' | 'serverStream';

interface AnyRpc {
  readonly kind: RpcKind;
  readonly rules: CallRules;
}

/** The RPC of an action. */
export interface ActionRpc extends AnyRpc {
  readonly action: ActionDef;
  /**
   * Checks what the record does not declare: how a file is to be verified.
   * @throws GuestfsError BAD_ARGUMENT
   */
  readonly check?: (request: object, metadata: Metadata) => void;
  /** The answer; of a server stream it is ignored, and what was written is the answer. */
  readonly perform: (call: ActionCall, answers: AnswerStream) => Promise<object>;
}

/** An RPC that is no action: it needs no turn. */
export interface ServiceRpc extends AnyRpc {
  readonly action?: undefined;
  /** As of an {@link ActionRpc}. */
  readonly perform: (call: AdmittedCall, answers: AnswerStream) => Promise<object>;
}

export type Rpc = ActionRpc | ServiceRpc;

/** A unary RPC that names no session; the types are those of its messages. */
export function plainRpc<Request, Response extends object>(
  rules: CallRules,
  perform: (call: AdmittedCall<Request>) => Promise<Response>,
): ServiceRpc {
  return { kind: 'unary', rules, perform: (call) => perform(call as AdmittedCall<Request>) };
}

/** A unary RPC that names a session. */
export function sessionRpc<Request, Response extends object>(
  rules: CallRules,
  perform: (call: SessionCall<Request>) => Promise<Response>,
): ServiceRpc {
  return { kind: 'unary', rules, perform: (call) => perform(call as SessionCall<Request>) };
}

/** An RPC that answers in a stream. */
export function streamingRpc<Call extends AdmittedCall<unknown>>(
  rules: CallRules,
  perform: (call: Call, answers: AnswerStream) => Promise<void>,
): ServiceRpc {
  return {
    kind: 'serverStream',
    rules,
    perform: async (call, answers) => {
      await perform(call as AdmittedCall<unknown> as Call, answers);
      return {};
    },
  };
}
