/** Calls whose failure does not fail the calling action. */
import { GuestfsError } from '../common/errors.js';

/** True for an error in the daemon's answer, false if the call, the appliance or the session has ended. */
export function isDaemonError(error: unknown): boolean {
  if (!(error instanceof GuestfsError) || error.reason === 'EINTR') return false;
  return error.reason === 'DAEMON_ERROR' || /^E[A-Z0-9]+$/.test(error.reason);
}

/** The result of a call; undefined if the daemon refuses it. */
export async function unlessDaemonFails<Value>(call: Promise<Value>): Promise<Value | undefined> {
  try {
    return await call;
  } catch (error) {
    if (isDaemonError(error)) return undefined;
    throw error;
  }
}
