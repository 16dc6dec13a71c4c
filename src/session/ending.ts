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

/** How long a shutdown waits for the call in flight, milliseconds. */
const CALL_GRACE_MS = 20_000;
/** ... and then for the daemon to sync and unmount. */
const AUTOSYNC_LIMIT_MS = 120_000;
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
  const alive = !cut.aborted && appliance.connection.failure === undefined;
  try {
    const exit = await (cut.aborted ? appliance.kill() : appliance.stop(QEMU_END_LIMIT_MS));
    if (alive) failure ??= unsoundEnd(exit, cut);
  } finally {
    options.onGone();
  }
  if (failure !== undefined) throw failure;
}

/** Makes the daemon sync and unmount, as its last call. */
async function writeOut(appliance: RunningAppliance, { turns, drives, autosync }: EndOptions): Promise<void> {
  turns.cancelTransfer(new GuestfsError('CANCELLED', 'the session was shut down'));
  // The sync takes the next turn, ahead of all waiting calls.
  turns.refuseWaiting(
    new GuestfsError('APPLIANCE_GONE', 'the session was shut down before the call was sent to its appliance'),
  );
  const release = await lastTurn(turns);
  try {
    if (autosync) await syncAndUnmount(appliance);
    await drives.requireSound(appliance.machine, 'kept drives');
  } finally {
    release();
  }
}

async function lastTurn(turns: Turns): Promise<() => void> {
  const limit = linkedAbort([], {
    milliseconds: CALL_GRACE_MS,
    makeError: () =>
      new GuestfsError(
        'ETIMEDOUT',
        `the call in progress did not end within ${CALL_GRACE_MS / 1000} s: the appliance was stopped without a sync, and unwritten data is lost`,
      ),
  });
  try {
    return await turns.take(limit.signal);
  } finally {
    limit.release();
  }
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
