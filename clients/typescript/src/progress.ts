/** The progress of calls, from the events of their session. */
import { EventType, type SubscribeResponse } from '../../../gen/proto/guestfs/v1/event.js';
import type { EventStream } from './events.js';
import type { ActionCallOptions } from './options.js';

/** How far a call is. */
export interface CallProgress {
  /** libguestfs name of the action. */
  readonly action: string;
  /** In units that depend on the action; for transfers, bytes. */
  readonly position: bigint;
  /** The position at which the call is complete. */
  readonly total: bigint;
  /** The request ID of the call; empty if it has none, or the service is older. */
  readonly requestId: string;
}

/** Subscribes to the events of a session. */
export type Subscribe = (types: readonly EventType[], options: ActionCallOptions) => Promise<EventStream>;

/** The progress that an event reports; undefined for another event. */
export function progressOf({ detail }: SubscribeResponse): CallProgress | undefined {
  if (detail?.$case !== 'progress') return undefined;
  const { action, position, total, request_id: requestId } = detail.value;
  return { action, position, total, requestId };
}

/** Whether this is the progress of the call with these options, as far as the service tells. */
function isOf(progress: CallProgress, { action, requestId }: ActionCallOptions): boolean {
  if (action !== undefined && progress.action !== action) return false;
  return progress.requestId === '' || requestId === undefined || progress.requestId === requestId;
}

/** What watches the progress of a call. */
export interface Watched {
  /** Options for the call: its signal aborts if the callback fails. */
  readonly options: ActionCallOptions;
  /** To be called when the call has ended. @throws what the callback threw */
  readonly done: () => void;
}

/** Subscribes to the progress of a call that asks for it, before it is made. */
export async function watchProgress(subscribe: Subscribe, given: ActionCallOptions): Promise<Watched> {
  const { onProgress, ...options } = given;
  if (onProgress === undefined) return { options, done: () => undefined };
  const { signal, deadline } = options;
  const events = await subscribe([EventType.PROGRESS], { signal, deadline });
  const controller = new AbortController();
  const abort = (): void => controller.abort(signal?.reason);
  signal?.addEventListener('abort', abort, { once: true });
  if (signal?.aborted) abort();
  let failed: { readonly thrown: unknown } | undefined;
  const watch = async (): Promise<void> => {
    for await (const event of events) {
      const progress = progressOf(event);
      if (progress === undefined || !isOf(progress, options)) continue;
      try {
        onProgress(progress);
      } catch (thrown) {
        failed = { thrown };
        controller.abort(thrown);
        return;
      }
    }
  };
  // The events end with the call, or fail as it does: it says why.
  watch().catch(() => undefined);
  const done = (): void => {
    signal?.removeEventListener('abort', abort);
    events.cancel();
    if (failed !== undefined) throw failed.thrown;
  };
  return { options: { ...options, signal: controller.signal }, done };
}
