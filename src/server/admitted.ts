/** An admitted call. Its getters do only the work that the call needs: most calls need little of it. */
import type { Metadata } from '@grpc/grpc-js';
import type { CallRules } from '../actions/callRules.js';
import type { ActionDef } from '../actions/types.js';
import type { DiskQuota } from '../images/diskQuota.js';
import type { Access } from '../security/access.js';
import { requireFound } from '../security/policy.js';
import type { Daemon } from '../session/daemon.js';
import type { Session } from '../session/session.js';
import type { CallRecord } from './callRecord.js';
import type { CallScope } from './callScope.js';
import type { Forwarded } from './replicas/forwarded.js';
import type { ActionCall, AdmittedCall, Rpc } from './rpc.js';
import type { Transport } from './transports.js';

/** The call as it arrived. */
export interface Arrived {
  readonly rpc: Rpc;
  readonly scope: CallScope;
  readonly transport: Transport;
  readonly request: object;
  readonly metadata: Metadata;
}

/** What the dispatch found about it. */
export type Found = Pick<AdmittedCall, 'identity' | 'client' | 'access' | 'disk' | 'session' | 'forwarded'>;

export class Admitted implements AdmittedCall {
  readonly request: object;
  readonly metadata: Metadata;
  readonly identity: string | undefined;
  readonly client: string;
  readonly access: Access;
  readonly disk: DiskQuota;
  readonly session: Session | undefined;
  readonly forwarded: Forwarded | undefined;
  readonly #rpc: Rpc;
  readonly #scope: CallScope;
  readonly #transport: Transport;
  readonly #record: CallRecord;
  #daemon: Daemon | undefined;

  constructor({ rpc, scope, transport, request, metadata }: Arrived, record: CallRecord, found: Found) {
    this.request = request;
    this.metadata = metadata;
    this.identity = found.identity;
    this.client = found.client;
    this.access = found.access;
    this.disk = found.disk;
    this.session = found.session;
    this.forwarded = found.forwarded;
    this.#rpc = rpc;
    this.#scope = scope;
    this.#transport = transport;
    this.#record = record;
  }

  get rules(): CallRules {
    return this.#rpc.rules;
  }

  get signal(): AbortSignal {
    return this.#scope.signal;
  }

  get chunks(): AsyncIterable<Buffer> {
    return this.#transport.chunks;
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
    return this as AdmittedCall as ActionCall;
  }

  get requireFound(): AdmittedCall['requireFound'] {
    return (permission) => requireFound(this.rules, permission, this.access);
  }

  get note(): AdmittedCall['note'] {
    return (fields) => this.#record.note(fields);
  }
}
