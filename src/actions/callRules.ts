/** The rules that RPCs of every kind declare; the server enforces them before the call runs. */
import { REMOTE_PROTOCOLS } from './remoteProtocols.js';
import { needsDaemon } from './shape.js';
import type { ActionDef, PermissionDef, RefusalDef } from './types.js';

/** States that a session can be called in; STOPPING is that of a shutdown, not of a deletion. */
export type CallableState = 'CONFIG' | 'LAUNCHING' | 'READY' | 'STOPPING';

/** How a call names its session: in the metadata, in the field `id` of its request (or else the metadata), or not at all. */
export type SessionReference = 'metadata' | 'id' | 'none';

export interface CallRules {
  /** The action's name; for an RPC that is not an action, its own. */
  readonly name: string;
  readonly session: SessionReference;
  /** Whether it is answered even while the server drains. */
  readonly whileDraining: boolean;
  readonly permissions: readonly PermissionDef[];
  /** The flag without which the server does not offer it at all. */
  readonly offeredWith: '--debug-service' | undefined;
  /** Why it is always refused. */
  readonly refusal: RefusalDef | undefined;
  /** States of the session that allow it; undefined: all, even of one that is being deleted. */
  readonly states: readonly CallableState[] | undefined;
  /** Whether it changes something in the guest, appliance, session or server. */
  readonly mutating: boolean;
  /**
   * A call with a request ID is made once, however often it is repeated: whose IDs are looked at. Undefined: it changes
   * nothing, or can be repeated.
   */
  readonly once?: 'session' | 'identity' | undefined;
  /** It makes a session that outlives it: an attempt at it can have been made at another replica. */
  readonly createsSession?: boolean;
  /** It has no end of its own: that its client cancels it is no failure. */
  readonly endsWithClient?: boolean;
  /** Other replicas may call it on their own behalf. */
  readonly forReplicas?: boolean;
  /** What to use when its answer does not fit into one message, as the end of a sentence. */
  readonly insteadOfLargeAnswer?: string;
}

/** All states of a session that is not being deleted. */
export const ANY_STATE: readonly CallableState[] = ['CONFIG', 'LAUNCHING', 'READY', 'STOPPING'];

/** States in which an action is allowed. */
export function statesOf(action: ActionDef): readonly CallableState[] {
  if (action.configOnly === true) return ['CONFIG'];
  if (action.readyOnly === true || needsDaemon(action)) return ['READY'];
  return action.notLaunching === true ? ['CONFIG', 'READY'] : ANY_STATE;
}

/** The rules of an action's RPC. */
export function rulesOf(action: ActionDef): CallRules {
  return {
    name: action.name,
    session: 'metadata',
    whileDraining: false,
    permissions: action.permissions ?? [],
    offeredWith: action.visibility === 'debug' ? '--debug-service' : undefined,
    refusal: action.notOverNetwork,
    states: statesOf(action),
    mutating: action.mutating,
    once: action.mutating ? 'session' : undefined,
  };
}

/** What the drives and settings of a request to create a session need. */
const NEW_SESSION_PERMISSIONS: readonly PermissionDef[] = [
  {
    permission: 'network',
    purpose: 'with `network` in its settings',
    when: { field: 'settings.network', is: true },
  },
  {
    permission: 'remote-drives',
    purpose: 'with a drive that is `remote`',
    when: { field: 'drives.source.value.protocol', isOneOf: REMOTE_PROTOCOLS },
  },
];

const ofService = {
  permissions: [],
  offeredWith: undefined,
  refusal: undefined,
  states: undefined,
} as const;
const createsSession = {
  ...ofService,
  session: 'none',
  whileDraining: false,
  permissions: NEW_SESSION_PERMISSIONS,
} as const;
const asksForSession = { ...ofService, session: 'id', whileDraining: true, mutating: false } as const;

/** The rules of the RPCs that are not actions, by name. */
export const serviceRules = {
  CreateSession: { ...createsSession, name: 'CreateSession', mutating: true, once: 'identity', createsSession: true },
  GetSession: { ...asksForSession, name: 'GetSession' },
  ListSessions: {
    ...asksForSession,
    name: 'ListSessions',
    session: 'none',
    insteadOfLargeAnswer: 'ask for fewer sessions with page_size',
  },
  /** Its session is not there any more when it is repeated. */
  DeleteSession: { ...asksForSession, name: 'DeleteSession', mutating: true, once: 'identity' },
  CancelCall: { ...asksForSession, name: 'CancelCall', mutating: true, once: 'session' },
  GetLog: { ...asksForSession, name: 'GetLog' },
  Drain: {
    ...asksForSession,
    name: 'Drain',
    session: 'none',
    permissions: [{ permission: 'drain' }],
    mutating: true,
  },
  GetServerInfo: { ...asksForSession, name: 'GetServerInfo', session: 'none', forReplicas: true },
  Subscribe: { ...asksForSession, name: 'Subscribe', session: 'metadata', endsWithClient: true },
  /** Its session lives as long as the call, and its drives are read-only. */
  Inspect: { ...createsSession, name: 'Inspect', mutating: false },
} as const satisfies Readonly<Record<string, CallRules>>;
