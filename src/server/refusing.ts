/** Handlers of services that are switched off. */
import type {
  handleUnaryCall,
  handleServerStreamingCall,
  handleClientStreamingCall,
  UntypedHandleCall,
} from '@grpc/grpc-js';
import { isFileOut } from '../actions/shape.js';
import type { ActionDef } from '../actions/types.js';
import { GuestfsError } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import { toStatus } from './statusMapping.js';

/** A handler that says which setting would allow the action. */
export function refusing(action: ActionDef, setting: string, logger: Logger): UntypedHandleCall {
  const failure = (): ReturnType<typeof toStatus> =>
    toStatus(
      new GuestfsError(
        'NOT_ALLOWED',
        `${action.name} is not allowed on this server; its operator can allow it with ${setting}`,
        { metadata: { setting } },
      ),
      { action: action.name },
      logger,
    );
  if (isFileOut(action))
    return ((call) => call.emit('error', failure())) satisfies handleServerStreamingCall<unknown, unknown>;
  return ((_call, callback) => callback(failure())) satisfies handleUnaryCall<unknown, unknown> &
    handleClientStreamingCall<unknown, unknown>;
}
