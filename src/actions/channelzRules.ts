/** The rules of gRPC's own Channelz, which shows who is connected: an operator's tool, for whom the server says. */
import type { CallRules } from './callRules.js';

/** The service, in policies. */
export const CHANNELZ = 'Channelz';

export const CHANNELZ_RPCS = [
  'GetTopChannels',
  'GetServers',
  'GetServer',
  'GetServerSockets',
  'GetChannel',
  'GetSubchannel',
  'GetSocket',
] as const;
export type ChannelzRpc = (typeof CHANNELZ_RPCS)[number];

/** The rules of its RPCs. A role that may call everything, or all that changes nothing, needs the permission as well. */
export function channelzRules(name: ChannelzRpc): CallRules {
  return {
    name,
    session: 'none',
    whileDraining: true,
    permissions: [{ permission: 'channelz' }],
    offeredWith: undefined,
    refusal: undefined,
    states: undefined,
    mutating: false,
  };
}
