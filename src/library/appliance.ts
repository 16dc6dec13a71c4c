/** Life cycle and state of the appliance. */
import type { ApplianceLibraryActions } from '../../gen/libraryActions.js';
import type { Session } from '../session/session.js';
import { availabilityActions } from './availability.js';
import { versionActions } from './version.js';

/**
 * The library's numbers for its states. It has no STOPPING: its handles are READY until their appliance has ended. A
 * deleted session has the number of a closed handle.
 */
const STATE_NUMBERS: Record<Session['state'], number> = {
  CONFIG: 0,
  LAUNCHING: 1,
  READY: 2,
  STOPPING: 2,
  CLOSED: 0xebadebad | 0,
};

/**
 * Stops the appliance: cleanly if no call is running and it answers, as the library does. Unlike the library, whose
 * handle is locked during a call, this also stops it in the middle of a call, which then fails; and it does not wait for
 * an appliance that hangs.
 */
async function killSubprocess(session: Session): Promise<void> {
  const isIdle = (): boolean => session.pendingCalls === 0 && session.state !== 'LAUNCHING';
  if (isIdle() && (await session.answers()) && isIdle()) await session.shutdown();
  else await session.kill();
}

export const applianceActions: ApplianceLibraryActions = {
  ...availabilityActions,
  ...versionActions,
  launch: async ({ session, signal, requestId }) => {
    await session.launch(signal, requestId);
    return {};
  },
  shutdown: async ({ session }) => {
    await session.shutdown();
    return {};
  },
  kill_subprocess: async ({ session }) => {
    await killSubprocess(session);
    return {};
  },
  // It has nothing to wait for but the required state.
  wait_ready: async () => ({}),
  get_pid: async ({ session }) => ({ pid: session.machine?.pid ?? 0 }),
  get_state: async ({ session }) => ({ state: STATE_NUMBERS[session.state] }),
  is_config: async ({ session }) => ({ config: STATE_NUMBERS[session.state] === STATE_NUMBERS.CONFIG }),
  is_launching: async ({ session }) => ({ launching: STATE_NUMBERS[session.state] === STATE_NUMBERS.LAUNCHING }),
  is_ready: async ({ session }) => ({ ready: STATE_NUMBERS[session.state] === STATE_NUMBERS.READY }),
  is_busy: async () => ({ busy: false }),
};
