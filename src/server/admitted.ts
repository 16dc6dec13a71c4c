/** An admitted call. Its getters do only the work that the call needs: most calls need little of it. */
import type { Metadata } from '@grpc/grpc-js';
import type { CallRules } from '../actions/callRules.js';
import type { ActionDef } from '../actions/types.js';
import type { DiskQuota } from '../images/diskQuota.js';
import type { Access } from '../security/access.js';
import { requireFound } from '../security/policy.js';
import type { Daemon } from '../session/daemon.js';
import type { Caller } from '../session/runningCalls.js';
import type { Session } from '../session/session.js';
import type { GuestfsError } from '../common/errors.js';
import type { CallRecord } from './callRecord.js';
import type { CallLife } from './callScope.js';
import type { Forwarded } from './replicas/forwarded.js';
import type { ActionCall, AdmittedCall, Rpc } from './rpc.js';

/** The call as it arrived. */
export interface Arrived {
  readonly rpc: Rpc;
  readonly life: CallLife;
  /** The file of a client stream. */
  readonly chunks: AsyncIterable<Buffer>;
  readonly request: object;
  readonly metadata: Metadata;
  /** What its client calls it by. */
  readonly requestId: string | undefined;
}

/** What the dispatch found about it. */
export type Found = Pick<AdmittedCall, 'identity' | 'client' | 'access' | 'disk' | 'session' | 'forwarded'>;

export class Admitted implements AdmittedCall, Caller {
  readonly request: object;
  readonly metadata: Metadata;
  readonly identity: string | undefined;
  readonly client: string;
  readonly access: Access;
  readonly disk: DiskQuota;
  readonly session: Session | undefined;
  readonly forwarded: Forwarded | undefined;
  readonly #rpc: Rpc;
  readonly #life: CallLife;
  readonly chunks: AsyncIterable<Buffer>;
  readonly requestId: string | undefined;
  readonly #record: CallRecord;
  #daemon: Daemon | undefined;

  constructor({ rpc, life, chunks, request, metadata, requestId }: Arrived, record: CallRecord, found: Found) {
    this.request = request;
    this.metadata = metadata;
    this.identity = found.identity;
    this.client = found.client;
    this.access = found.access;
    this.disk = found.disk;
    this.session = found.session;
    this.forwarded = found.forwarded;
    this.#rpc = rpc;
    this.#life = life;
    this.chunks = chunks;
    this.requestId = requestId;
    this.#record = record;
  }

  get rules(): CallRules {
    return this.#rpc.rules;
  }

  get signal(): AbortSignal {
    return this.#life.signal;
  }

  get isAbandoned(): boolean {
    return this.#life.isAbandoned;
  }

  cancel(reason: GuestfsError): void {
    this.#life.cancel(reason);
  }

  /** The call may have changed something from now on. */
  begun(): void {
    this.#record.begun();
    this.#life.begun?.();
  }

  /** Whoever waits for a call that goes on without its client needs its true end. */
  get toTheEnd(): boolean {
    return this.#life.outlivesClients === true;
  }

  get action(): ActionDef {
    const { action, rules } = this.#rpc;
    if (action === undefined) throw new Error(`${rules.name} is not an action`);
    return action;
  }

  get daemon(): Daemon {
    if (this.#daemon === undefined) throw new Error(`${this.rules.name} has no turn`);
    return this.#daemon;
  }

  /** The call of an action of a session, in its turn; without `daemon`, it needs no turn. */
  inTurn(daemon: Daemon | undefined): ActionCall {
    this.#daemon = daemon;
    this.begun();
    return this as AdmittedCall as ActionCall;
  }

  get claimed(): AdmittedCall['claimed'] {
    return async () => this.#life.claimed?.();
  }

  get requireFound(): AdmittedCall['requireFound'] {
    return (permission) => requireFound(this.rules, permission, this.access);
  }

  get note(): AdmittedCall['note'] {
    return (fields) => this.#record.note(fields);
  }
}
