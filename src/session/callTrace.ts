/** Emits enter and trace events for a call and its result, as libguestfs does. */
import type { ActionDef } from '../actions/types.js';
import type { EventBus } from '../events/eventBus.js';
import { traceCall, traceError, traceResult } from '../events/trace.js';

/**
 * Runs `body` and emits the events around it.
 * @param trace whether to emit trace events, with the arguments and the result
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
