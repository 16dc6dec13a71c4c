/** The names of RPCs in errors. */
import { allActions } from '../actions/areas.js';
import { serviceRules, type CallRules } from '../actions/callRules.js';
import { CHANNELZ_RPCS, channelzRules } from '../actions/channelzRules.js';
import { pascalCase } from '../actions/names.js';
import { hasRpc } from '../actions/shape.js';
import type { ActionDef } from '../actions/types.js';

/** One of our RPCs. */
export interface NamedRpc {
  /** The action's name; for an RPC that is not an action, its own. */
  readonly name: string;
  readonly action: ActionDef | undefined;
  /** Whether it changes something in the guest, appliance, session or server. */
  readonly mutating: boolean;
  /** That its client cancels it is no failure. */
  readonly endsWithClient: boolean;
}

const OURS = /^\/(?:guestfs\.v1\.\w+|grpc\.channelz\.v1\.Channelz)\/(\w+)$/;

const actions: ReadonlyMap<string, ActionDef> = new Map(
  allActions.filter(hasRpc).map((action) => [pascalCase(action.name), action]),
);

const services: ReadonlyMap<string, CallRules> = new Map([
  ...Object.entries<CallRules>(serviceRules),
  ...CHANNELZ_RPCS.map((name) => [name, channelzRules(name)] as const),
]);

/** By path; those of RPCs that exist. */
const known = new Map<string, NamedRpc>();

/** The RPC with this path; undefined if it is not one of ours. */
export function rpcAt(path: string): NamedRpc | undefined {
  return known.get(path) ?? find(path);
}

function find(path: string): NamedRpc | undefined {
  const rpc = OURS.exec(path)?.[1];
  if (rpc === undefined) return undefined;
  const action = actions.get(rpc);
  const rules = services.get(rpc);
  const { name, mutating } = action ?? rules ?? { name: rpc, mutating: false };
  const named = { name, action, mutating, endsWithClient: rules?.endsWithClient === true };
  if (action !== undefined || rules !== undefined) known.set(path, named);
  return named;
}
