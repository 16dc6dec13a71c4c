/** The methods of the generated service definitions. */
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import { pascalCase } from '../actions/names.js';
import type { ActionDef } from '../actions/types.js';

/**
 * The member of a service definition that is an action's RPC. It is found by its path, which is
 * the API's: the member's name is ts-proto's, which spells digits in its own way.
 */
export function methodOf(service: ServiceDefinition, action: ActionDef): { readonly key: string; readonly method: MethodDefinition<object, object> } {
  const rpc = pascalCase(action.name);
  for (const [key, method] of Object.entries(service)) {
    if (method.path.endsWith(`/${rpc}`)) return { key, method: method as MethodDefinition<object, object> };
  }
  throw new Error(`no RPC ${rpc}`);
}
