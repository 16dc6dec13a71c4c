/** Calls whose failure is not one of the action that makes them. */
import { GuestfsError } from '../common/errors.js';

/** True for what a daemon says of a call, as against the end of the call, the appliance or the session. */
export function isDaemonError(error: unknown): boolean {
  if (!(error instanceof GuestfsError) || error.reason === 'EINTR') return false;
  return error.reason === 'DAEMON_ERROR' || /^E[A-Z0-9]+$/.test(error.reason);
}

/** What a call gives; undefined if the daemon refuses it. */
export async function unlessDaemonFails<Value>(call: Promise<Value>): Promise<Value | undefined> {
  try {
    return await call;
  } catch (error) {
    if (isDaemonError(error)) return undefined;
    throw error;
  }
}
