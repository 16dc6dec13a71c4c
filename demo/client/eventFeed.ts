/** The events of a session, handed to a listener as they come. */
import { EventServiceService, type EventType, type SubscribeResponse } from '../../gen/proto/guestfs/v1/event.js';
import type { GuestfsClient } from './guestfsClient.js';
import { asRpcError } from './rpcError.js';

export interface EventFeed {
  /** Resolves when the stream has ended, as it does with its session. */
  readonly ended: Promise<void>;
  cancel(): void;
}

/** Subscribes; resolves when the server has confirmed it, so that no later event is missed. */
export async function subscribe(
  session: GuestfsClient,
  types: readonly EventType[],
  listener: (event: SubscribeResponse) => void,
): Promise<EventFeed> {
  const call = session.open(EventServiceService.subscribe, { types: [...types] });
  const ended = new Promise<void>((resolve) => {
    call.on('end', resolve);
    call.on('error', () => resolve());
  });
  await new Promise<void>((resolve, reject) => {
    call.once('metadata', () => resolve());
    call.once('error', (error) => reject(asRpcError('EventService/Subscribe', error) as Error));
  });
  call.on('data', listener);
  return { ended, cancel: () => call.cancel() };
}
