/** RPCs, as their errors name them. */
import { allActions } from '../actions/areas.js';
import { pascalCase } from '../actions/names.js';
import { hasRpc } from '../actions/shape.js';
import type { ActionDef } from '../actions/types.js';

/** One of our RPCs. */
export interface NamedRpc {
  /** The action's name; of one that is no action, the RPC's own. */
  readonly name: string;
  readonly action: ActionDef | undefined;
}

const OURS = /^\/guestfs\.v1\.\w+\/(\w+)$/;

const actions: ReadonlyMap<string, ActionDef> = new Map(
  allActions.filter(hasRpc).map((action) => [pascalCase(action.name), action]),
);

/** The RPC that has a path; undefined if it is not one of ours. */
export function rpcAt(path: string): NamedRpc | undefined {
  const rpc = OURS.exec(path)?.[1];
  if (rpc === undefined) return undefined;
  const action = actions.get(rpc);
  return { name: action?.name ?? rpc, action };
}
