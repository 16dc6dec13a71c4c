/** An RPC, for the dispatch: its rules and its implementation. */
import type { Metadata } from '@grpc/grpc-js';
import type { CallRules } from '../actions/callRules.js';
import type { ActionDef, Permission } from '../actions/types.js';
import type { LogFields } from '../common/logger.js';
import type { DiskQuota } from '../images/diskQuota.js';
import type { Access } from '../security/access.js';
import type { Daemon } from '../session/daemon.js';
import type { Session } from '../session/session.js';
import type { Forwarded } from './replicas/forwarded.js';

/** An admitted call. */
export interface AdmittedCall<Request = object> {
  readonly rules: CallRules;
  readonly request: Request;
  /** The client's metadata. */
  readonly metadata: Metadata;
  /** Identity of the client; undefined if it has none. */
  readonly identity: string | undefined;
  /** The client that limits count against: its identity, or its address. */
  readonly client: string;
  /** What the client may do. */
  readonly access: Access;
  /** What it may write to files of the host. */
  readonly disk: DiskQuota;
  /** The session of the call; undefined for RPCs without one. */
  readonly session: Session | undefined;
  /** What the replica says that passed on the call; undefined if it came from its client. */
  readonly forwarded: Forwarded | undefined;
  /** Aborts when the client cancels or disconnects, or when the deadline passes. */
  readonly signal: AbortSignal;
  /** What the client calls it by; undefined: it has given no ID. */
  readonly requestId: string | undefined;
  /** Resolves when somebody is there to be answered; if nobody comes in time, {@link signal} has aborted then. */
  readonly claimed: () => Promise<void>;
  /** The chunks of the file in a client stream; none for other calls. */
  readonly chunks: AsyncIterable<Buffer>;
  /**
   * Requires a permission that the RPC declares as needed only in cases that the implementation detects.
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
  /** How the call ends is of interest even when its client has gone. */
  readonly toTheEnd: boolean;
  /**
   * The daemon; only for the actions that need it.
   * @throws Error for any other action
   */
  readonly daemon: Daemon;
}

/** The response of a call: its metadata, and the messages of a server stream. */
export interface AnswerStream {
  /** Sends the initial metadata, which lets the client know that its call was accepted before there is a message. */
  opened(metadata?: Metadata): void;
  /** Resolves when there is room for another message; rejects when the client has disconnected. */
  write(message: object): Promise<void>;
  /** Sets the trailers to send if the call ends with OK. */
  endWith(trailers: Metadata): void;
}

/** The gRPC kind of the RPC. */
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
  /** Returns the answer; ignored for a server stream, whose answer is what was written. */
  readonly perform: (call: ActionCall, answers: AnswerStream) => Promise<object>;
}

/** An RPC that is not an action: it needs no turn. */
export interface ServiceRpc extends AnyRpc {
  readonly action?: undefined;
  /** As in {@link ActionRpc}. */
  readonly perform: (call: AdmittedCall, answers: AnswerStream) => Promise<object>;
}

export type Rpc = ActionRpc | ServiceRpc;

/** A unary RPC that names no session; the types are those of its messages. */
export function plainRpc<Request, Response extends object>(
  rules: CallRules,
  perform: (call: AdmittedCall<Request>, answers: AnswerStream) => Promise<Response>,
): ServiceRpc {
  return { kind: 'unary', rules, perform: (call, answers) => perform(call as AdmittedCall<Request>, answers) };
}

/** A unary RPC that names a session. */
export function sessionRpc<Request, Response extends object>(
  rules: CallRules,
  perform: (call: SessionCall<Request>, answers: AnswerStream) => Promise<Response>,
): ServiceRpc {
  return { kind: 'unary', rules, perform: (call, answers) => perform(call as SessionCall<Request>, answers) };
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
