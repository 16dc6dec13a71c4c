/** Tells of a call and its result to those who want to know, as libguestfs does. */
import type { ActionDef } from '../actions/types.js';
import type { EventBus } from '../events/eventBus.js';
import { traceCall, traceError, traceResult } from '../events/trace.js';

/**
 * Runs `body` between the events that tell of it.
 * @param trace whether arguments and result are told, too
 */
export async function traced<Value>(
  events: EventBus,
  trace: boolean,
  action: ActionDef,
  request: object,
  body: () => Promise<Value>,
): Promise<Value> {
  events.emit({ kind: 'enter', message: action.name });
  if (!trace) return body();
  events.emit({ kind: 'trace', message: traceCall(action, request) });
  try {
    const value = await body();
    events.emit({ kind: 'trace', message: traceResult(action, value) });
    return value;
  } catch (error) {
    events.emit({ kind: 'trace', message: traceError(action) });
    throw error;
  }
}
