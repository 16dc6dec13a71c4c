/**
 * Channelz: gRPC's standard service about connections and calls, with grpc-js's implementation, and with our dispatch
 * in front of it. Loaded only if the server offers it, since grpc-js parses its .proto file.
 */
import {
  getChannelzHandlers,
  getChannelzServiceDefinition,
  type MethodDefinition,
  type Server,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import { CHANNELZ_RPCS, channelzRules, type ChannelzRpc } from '../actions/channelzRules.js';
import { GuestfsError, badArgument } from '../common/errors.js';
import { Undecodable } from './decoding.js';
import type { Dispatch } from './dispatch.js';
import { rpcOf } from './methods.js';
import { plainRpc, type Rpc } from './rpc.js';

/** Entries of an answer, whatever the request says. */
const MOST_RESULTS = 500;

/** What grpc-js's handlers use of a call and of its callback. */
type Handler = (
  call: { readonly request: object },
  callback: (error: { readonly details?: string } | null, answer?: object) => void,
) => void;

/** A request without a limit gets grpc-js's own, which is lower. */
function bounded(request: object): object {
  const { max_results: most } = request as { readonly max_results?: string };
  if (most === undefined) return request;
  return { ...request, max_results: String(Math.min(Math.max(Number(most), 0), MOST_RESULTS)) };
}

function channelzRpc(name: ChannelzRpc, handler: Handler): Rpc {
  return plainRpc<object, object>(
    channelzRules(name),
    ({ request }) =>
      new Promise((resolve, reject) =>
        handler({ request: bounded(request) }, (error, answer) => {
          if (error === null && answer !== undefined) resolve(answer);
          // Its only error: nothing has the ID.
          else reject(new GuestfsError('ENOENT', error?.details ?? 'there is nothing with this ID'));
        }),
      ),
  );
}

/** The method, in a form in which a request that cannot be decoded is answered by the dispatch. */
function decodingSafely(method: MethodDefinition<object, object>): MethodDefinition<object, object> {
  return {
    ...method,
    requestDeserialize: (bytes) => {
      try {
        return method.requestDeserialize(bytes);
      } catch {
        return new Undecodable(badArgument('request', 'cannot be decoded'));
      }
    },
  };
}

/** Adds Channelz to a server. */
export function addChannelz(server: Pick<Server, 'addService'>, dispatch: Dispatch): void {
  const definition = getChannelzServiceDefinition() as unknown as ServiceDefinition;
  const handlers = getChannelzHandlers() as unknown as Readonly<Record<ChannelzRpc, Handler>>;
  for (const name of CHANNELZ_RPCS) {
    const { key, method } = rpcOf(definition, name);
    const handler = dispatch.handler(channelzRpc(name, handlers[name]), (answer) => answer);
    server.addService({ [key]: decodingSafely(method) }, { [key]: handler });
  }
}
