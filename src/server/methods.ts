/** The methods of the generated service definitions. */
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import { pascalCase } from '../actions/names.js';
import type { Rpc } from './rpc.js';

export interface ServiceMember {
  readonly key: string;
  readonly method: MethodDefinition<object, object>;
}

/**
 * Finds the member of a service definition for an RPC, by its path, which is part of the API. The
 * member's name depends on ts-proto, which treats digits specially.
 */
export function rpcOf(service: ServiceDefinition, rpc: string): ServiceMember {
  for (const [key, method] of Object.entries(service)) {
    if (method.path.endsWith(`/${rpc}`)) return { key, method: method as MethodDefinition<object, object> };
  }
  throw new Error(`no RPC ${rpc}`);
}

/** The name of an RPC in its service. */
export function rpcNameOf({ action, rules }: Pick<Rpc, 'action' | 'rules'>): string {
  return action === undefined ? rules.name : pascalCase(action.name);
}
