/**
 * Orderly shutdown of an appliance: drain the calls, sync and unmount, let qemu flush its caches. Each step has a time
 * limit, after which the appliance is stopped anyway.
 */
import { internalAutosync } from '../../gen/calls/internal.js';
import { GuestfsError } from '../common/errors.js';
import { printable } from '../common/guestText.js';
import { abortController, linkedAbort, unlessAborted, withTimeout } from '../common/waiting.js';
import type { MachineExit } from '../launcher/launcher.js';
import type { RunningAppliance } from './runningAppliance.js';
import type { SessionDrives } from './sessionDrives.js';
import type { Turns } from './turns.js';

/** How long a shutdown waits for the call in flight, milliseconds ... */
const CALL_GRACE_MS = 20_000;
/** ... and for one that its client has given up, if that is sooner than its own limit. */
export const ABANDONED_GRACE_MS = 5000;
/** How often it looks whether the client has given up. */
const LOOK_MS = 100;
/** ... and then for the daemon to sync and unmount. */
const AUTOSYNC_LIMIT_MS = 120_000;
/** If the daemon is busy: how long its kernel may take to sync, and then to make its filesystems read-only. */
const KERNEL_SYNC_LIMIT_MS = 60_000;
/** ... and then for qemu to flush its caches. */
const QEMU_END_LIMIT_MS = 60_000;
/** Maximum length of qemu's output that a message quotes, characters. */
const QUOTED_MESSAGE = 300;

/** A shutdown in progress. */
export interface OrderlyEnd {
  /** Settles when the appliance has ended; rejects if data was or may have been lost. */
  readonly done: Promise<void>;
  /**
   * Ends the appliance immediately, whatever it is doing: unwritten data is lost, and {@link done} rejects.
   * @param why what it rejects with; left out: that the appliance was killed
   */
  cutShort(why?: GuestfsError): void;
}

export interface EndOptions {
  readonly turns: Turns;
  readonly drives: SessionDrives;
  /** Whether the daemon should sync and unmount. */
  readonly autosync: boolean;
  /** Called when the appliance has ended, before {@link OrderlyEnd.done} settles. */
  readonly onGone: () => void;
}

/** Starts an orderly shutdown. */
export function endInOrder(appliance: RunningAppliance, options: EndOptions): OrderlyEnd {
  const cut = abortController();
  const { written } = options.drives;
  const done = run(appliance, options, cut.signal);
  done.catch(() => undefined); // there may be no one waiting for it yet
  return {
    done,
    cutShort: (why) => {
      cut.abort(
        why ??
          new GuestfsError(
            'OUTCOME_UNKNOWN',
            `the appliance was killed while it was being shut down: unwritten data is lost${written.length === 0 ? '' : ` (${written.join(', ')})`}`,
          ),
      );
      // Replaces the long time limit if qemu is already exiting; its failure is reported elsewhere.
      if (appliance.stopRequested) appliance.kill().catch(() => undefined);
    },
  };
}

async function run(appliance: RunningAppliance, options: EndOptions, cut: AbortSignal): Promise<void> {
  let failure: unknown;
  try {
    await unlessAborted(writeOut(appliance, options), cut);
  } catch (error) {
    failure = await appliance.explained(error);
  }
  try {
    const exit = await (cut.aborted ? appliance.kill() : appliance.stop(QEMU_END_LIMIT_MS));
    // Also if the daemon's connection has failed meanwhile, without a call that would report it.
    failure ??= unsoundEnd(exit, cut);
  } finally {
    options.onGone();
  }
  if (failure !== undefined) throw failure;
}

/** Makes the daemon sync and unmount, as its last call. */
async function writeOut(appliance: RunningAppliance, { turns, drives, autosync }: EndOptions): Promise<void> {
  turns.cancelTransfer(new GuestfsError('CANCELLED', 'the session was shut down'));
  // A call whose client has gone sends nothing more to the daemon; what the daemon works on, nobody can stop.
  turns.abandoned?.call.caller.cancel(new GuestfsError('CANCELLED', 'the session was shut down'));
  // The sync takes the next turn, ahead of all waiting calls.
  turns.refuseWaiting(
    new GuestfsError('APPLIANCE_GONE', 'the session was shut down before the call was sent to its appliance'),
  );
  const release = await lastTurn(turns, () => appliance.unsynced && drives.written.length > 0).catch(
    async (busy: unknown) => {
      // The daemon is busy, but its kernel is not.
      if (!autosync || !(await appliance.machine.syncKernel(KERNEL_SYNC_LIMIT_MS))) throw busy;
      await drives.requireSound(appliance.machine, 'kept drives');
    },
  );
  if (release === undefined) return;
  try {
    if (autosync) await syncAndUnmount(appliance);
    await drives.requireSound(appliance.machine, 'kept drives');
  } finally {
    release();
  }
}

/**
 * Waits for the turn; not for a call that nobody waits for if nothing is lost by ending it.
 * @param isUnsynced whether there is data that a sync would write
 * @returns undefined: that call still has the turn, and there is nothing to sync
 * @throws GuestfsError ETIMEDOUT
 */
async function lastTurn(turns: Turns, isUnsynced: () => boolean): Promise<(() => void) | undefined> {
  const limit = linkedAbort([], {
    milliseconds: CALL_GRACE_MS,
    makeError: () => endedUnfinished(`the call in progress did not end within ${CALL_GRACE_MS / 1000} s`),
  });
  let waited = 0;
  const look = (): void => {
    const { abandoned } = turns;
    if (abandoned === undefined) return;
    if (!isUnsynced()) limit.abort(NOTHING_LOST);
    else if (waited >= ABANDONED_GRACE_MS || abandoned.leftMs === 0)
      limit.abort(endedUnfinished(`${abandoned.call.name}, which its client has given up, did not end in time`));
  };
  const turn = turns.take(limit.signal);
  look();
  // A client can also give up later.
  const looking = setInterval(() => {
    waited += LOOK_MS;
    look();
  }, LOOK_MS);
  try {
    return await turn;
  } catch (error) {
    if (error === NOTHING_LOST) return undefined;
    throw error;
  } finally {
    clearInterval(looking);
    limit.release();
  }
}

const NOTHING_LOST = new GuestfsError('CANCELLED', 'an abandoned call runs, and there is nothing to sync');

function endedUnfinished(what: string): GuestfsError {
  return new GuestfsError('ETIMEDOUT', `${what}: the appliance was stopped without a sync, and unwritten data is lost`);
}

async function syncAndUnmount({ connection, version }: RunningAppliance): Promise<void> {
  if (connection.failure !== undefined) {
    throw endedUnsynced(connection.failure);
  }
  await withTimeout(
    AUTOSYNC_LIMIT_MS,
    () =>
      new GuestfsError(
        'ETIMEDOUT',
        `the daemon did not sync within ${AUTOSYNC_LIMIT_MS / 1000} s: the appliance was stopped, and unwritten data is lost`,
      ),
    connection.call(internalAutosync, {}, version),
  );
}

/** The error for an appliance that ended unexpectedly. @param written devices that may lack data */
export function endedUnsynced(cause: Error | undefined, written: readonly string[] = []): GuestfsError {
  const devices = written.length === 0 ? '' : ` (${written.join(', ')})`;
  return new GuestfsError(
    'OUTCOME_UNKNOWN',
    `the appliance ended before it was synced: unwritten data is lost${devices}`,
    { cause },
  );
}

/** The error for a qemu that did not exit cleanly after it was asked to; undefined if it did. */
function unsoundEnd({ exitCode, signal, qemuMessages }: MachineExit, cut: AbortSignal): GuestfsError | undefined {
  if (exitCode === 0) return undefined;
  if (cut.aborted) return GuestfsError.from(cut.reason);
  const how =
    signal === 'SIGKILL'
      ? `did not exit within ${QEMU_END_LIMIT_MS / 1000} s and was killed`
      : `exited with ${signal ?? `exit code ${String(exitCode)}`}`;
  const output = printable(qemuMessages.trim().split('\n').at(-1) ?? '').slice(0, QUOTED_MESSAGE);
  return new GuestfsError(
    'QEMU_FAILED',
    `qemu ${how} when the appliance was shut down: data not yet written to the images may be lost${output === '' ? '' : `; qemu output: ${output}`}`,
  );
}
