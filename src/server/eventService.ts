/** EventService: a stream of a session's events. */
import { Metadata, type ServerWritableStream } from '@grpc/grpc-js';
import {
  EventType,
  type EventServiceServer,
  type SubscribeRequest,
  type SubscribeResponse,
} from '../../gen/proto/guestfs/v1/event.js';
import { badArgument, GuestfsError } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import type { DeliveredEvent } from '../events/eventSubscription.js';
import type { EventKind, SessionEvent } from '../events/sessionEvent.js';
import type { SessionRegistry } from '../session/sessionRegistry.js';
import { answerWriter } from './answerWriter.js';
import { identityOf, signalOf } from './callScope.js';
import { Undecodable } from './decoding.js';
import { beating } from './heartbeat.js';
import { sessionIdOf } from './sessionHeader.js';
import { toStatus } from './statusMapping.js';

const TYPES: Record<EventKind, EventType> = {
  close: EventType.CLOSE,
  subprocess_quit: EventType.SUBPROCESS_QUIT,
  launch_done: EventType.LAUNCH_DONE,
  progress: EventType.PROGRESS,
  appliance: EventType.APPLIANCE,
  library: EventType.LIBRARY,
  trace: EventType.TRACE,
  enter: EventType.ENTER,
  warning: EventType.WARNING,
  heartbeat: EventType.HEARTBEAT,
  queued: EventType.QUEUED,
  started: EventType.STARTED,
  finished: EventType.FINISHED,
};
const KINDS = new Map(Object.entries(TYPES).map(([kind, type]) => [type, kind as EventKind]));

function detailOf(event: SessionEvent): SubscribeResponse['detail'] {
  if ('message' in event) return { $case: 'message', value: event.message };
  if ('progress' in event) return { $case: 'progress', value: event.progress };
  if ('call' in event)
    return {
      $case: 'call',
      value: { action: event.call.action, number: event.call.number, error_reason: event.call.errorReason },
    };
  return undefined;
}

function toMessage({ event, time, sequence, lost }: DeliveredEvent): SubscribeResponse {
  return { type: TYPES[event.kind], time, sequence, lost, detail: detailOf(event) };
}

function kindsOf(request: SubscribeRequest): EventKind[] {
  return request.types.map((type, index) => {
    const kind = KINDS.get(type);
    if (kind === undefined) throw badArgument(`types[${index}]`, `there is no event type ${type}`);
    return kind;
  });
}

/** Handlers of EventService. */
export function eventService({
  registry,
  logger,
}: {
  readonly registry: SessionRegistry;
  readonly logger: Logger;
}): EventServiceServer {
  const stream = async (call: ServerWritableStream<SubscribeRequest, SubscribeResponse>): Promise<void> => {
    if (call.request instanceof Undecodable) throw call.request.error;
    const session = registry.get(sessionIdOf(call.metadata), identityOf(call));
    const subscription = session.events.subscribe(kindsOf(call.request));
    const signal = signalOf(call);
    signal.addEventListener('abort', () => subscription.end(), { once: true });
    call.sendMetadata(new Metadata()); // tells the client that it is subscribed
    const heart = beating(
      answerWriter(call, signal),
      (): SubscribeResponse => ({
        type: EventType.HEARTBEAT,
        time: new Date(),
        sequence: 0n,
        lost: 0n,
        detail: undefined,
      }),
    );
    try {
      for await (const event of subscription) await heart.write(toMessage(event));
    } finally {
      heart.stop();
      subscription.end();
    }
    if (signal.aborted) throw GuestfsError.from(signal.reason);
  };
  return {
    subscribe: (call) => {
      stream(call).then(
        () => call.end(),
        (error: unknown) => call.emit('error', toStatus(error, { action: 'Subscribe' }, logger)),
      );
    },
  };
}
