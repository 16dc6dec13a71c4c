/** Which gRPC service has which RPC. */
import { areas } from './areas.js';
import { CHANNELZ, CHANNELZ_RPCS } from './channelzRules.js';
import { serviceRules } from './callRules.js';
import { hasRpc } from './shape.js';

const EVENT_RPCS: ReadonlySet<string> = new Set([serviceRules.Subscribe.name]);

/** By its name, as in its rules, the service of an RPC. */
export const serviceOfRpc: ReadonlyMap<string, string> = new Map([
  ...Object.keys(serviceRules).map((name) => [name, EVENT_RPCS.has(name) ? 'EventService' : 'SessionService'] as const),
  ...CHANNELZ_RPCS.map((name) => [name, CHANNELZ] as const),
  ...areas.flatMap(({ service, actions, compositeRpcs = [] }) =>
    service === undefined
      ? []
      : [...actions.filter(hasRpc), ...compositeRpcs].map(({ name }) => [name, service] as const),
  ),
]);
