/** EventService: a stream of a session's events. */
import { EventType, type SubscribeRequest, type SubscribeResponse } from '../../gen/proto/guestfs/v1/event.js';
import { serviceRules } from '../actions/callRules.js';
import { badArgument, GuestfsError } from '../common/errors.js';
import type { DeliveredEvent } from '../events/eventSubscription.js';
import type { EventKind, SessionEvent } from '../events/sessionEvent.js';
import { beating } from './heartbeat.js';
import { streamingRpc, type AnswerStream, type Rpc, type SessionCall } from './rpc.js';

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

/** Removes from a text what clients must not see. */
type Hide = (text: string) => string;

/** Kinds whose messages come from the server itself, or from its qemu; the others quote the client. */
const OWN_WORDS: ReadonlySet<EventKind> = new Set(['library', 'warning', 'appliance']);

function detailOf(event: SessionEvent, hide: Hide): SubscribeResponse['detail'] {
  if ('message' in event)
    return { $case: 'message', value: OWN_WORDS.has(event.kind) ? hide(event.message) : event.message };
  if ('progress' in event) {
    const { requestId, ...progress } = event.progress;
    return { $case: 'progress', value: { ...progress, request_id: requestId } };
  }
  if ('call' in event) {
    const { action, number, errorReason, requestId } = event.call;
    return { $case: 'call', value: { action, number, error_reason: errorReason, request_id: requestId } };
  }
  return undefined;
}

function toMessage({ event, time, sequence, lost }: DeliveredEvent, hide: Hide): SubscribeResponse {
  return { type: TYPES[event.kind], time, sequence, lost, detail: detailOf(event, hide) };
}

function kindsOf(request: SubscribeRequest): EventKind[] {
  return request.types.map((type, index) => {
    const kind = KINDS.get(type);
    if (kind === undefined) throw badArgument(`types[${index}]`, `unknown event type ${type}`);
    return kind;
  });
}

function heartbeat(): SubscribeResponse {
  return { type: EventType.HEARTBEAT, time: new Date(), sequence: 0n, lost: 0n, detail: undefined };
}

async function subscribe(
  { request, session, signal }: SessionCall<SubscribeRequest>,
  answers: AnswerStream,
  hide: Hide,
): Promise<void> {
  const subscription = session.events.subscribe(kindsOf(request));
  const end = (): void => subscription.end();
  signal.addEventListener('abort', end, { once: true });
  answers.opened(); // lets the client know that it is subscribed
  const heart = beating(answers, heartbeat);
  try {
    for await (const event of subscription) await heart.write(toMessage(event, hide));
  } finally {
    heart.stop();
    signal.removeEventListener('abort', end);
    subscription.end();
  }
  if (signal.aborted) throw GuestfsError.from(signal.reason);
}

/** The RPCs of EventService. */
export function eventRpcs(hide: Hide): readonly Rpc[] {
  return [
    streamingRpc<SessionCall<SubscribeRequest>>(serviceRules.Subscribe, (call, answers) =>
      subscribe(call, answers, hide),
    ),
  ];
}
