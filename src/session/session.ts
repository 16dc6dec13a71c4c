/**
 * A session: settings, drives, and at most one appliance with its daemon.
 *
 * Calls go through {@link Session.perform}, one at a time. Whatever happens to the appliance,
 * the session comes back to state CONFIG and can be used on.
 */
import type { ActionDef } from '../actions/types.js';
import { internalAutosync } from '../../gen/calls/internal.js';
import { GuestfsError, messageOf } from '../common/errors.js';
import { decodeGuestText, printable } from '../common/guestText.js';
import type { Logger } from '../common/logger.js';
import { EventBus } from '../events/eventBus.js';
import { traceCall, traceError, traceResult } from '../events/trace.js';
import type { Drive } from '../images/drive.js';
import { diskName } from '../launcher/guest/guestScripts.js';
import type { Launcher, Machine, MachineExit } from '../launcher/launcher.js';
import { DaemonConnection, type ConnectionEvents } from '../protocol/daemonConnection.js';
import { DaemonVersion } from '../protocol/daemonVersion.js';
import { acceleratorOf } from './backendSettings.js';
import { askVersion } from './askVersion.js';
import { CallQueue } from './callQueue.js';
import { ConsoleLog } from '../common/consoleLog.js';
import { daemonOn, type Daemon } from './daemon.js';
import { knowingAliases } from './driveAliases.js';
import type { SessionSettings } from './settings.js';
import { StateMachine, type SessionState } from './stateMachine.js';

/** Most drives of a session: what one virtio-scsi bus carries besides the appliance. */
export const MAX_DRIVES = 255;
/** A session that ends waits this long for the call under way, milliseconds. */
const CALL_GRACE_MS = 20_000;
/** ... and this long for the daemon to sync and unmount. */
const AUTOSYNC_LIMIT_MS = 120_000;
/** ... and this long for qemu to write out what it holds. */
const QEMU_END_LIMIT_MS = 60_000;
/** Characters of qemu's last words in a message. */
const QUOTED_MESSAGE = 300;
/** Console output that an explanation of a failed launch is made from, bytes. */
const EXPLANATION_TAIL = 16 * 1024;

/** An appliance that runs, and the conversation with its daemon. */
interface Appliance {
  readonly machine: Machine;
  readonly connection: DaemonConnection;
  readonly version: DaemonVersion;
}

/** Milliseconds of the last launch. */
export interface SessionLaunchTimings {
  readonly totalMs: number;
  readonly prepareMs: number;
  readonly drivesMs: number;
  readonly qemuMs: number;
  readonly bootMs: number;
}

export interface SessionOptions {
  readonly id: string;
  readonly settings: SessionSettings;
  readonly launcher: Launcher;
  readonly logger: Logger;
  readonly labels: ReadonlyMap<string, string>;
  /** Who made it: the identity of the client's certificate; undefined: anyone. */
  readonly owner: string | undefined;
  /** Ends after this long without use, milliseconds; undefined: never. */
  readonly idleTimeoutMs: number | undefined;
}

export class Session {
  readonly id: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly owner: string | undefined;
  readonly idleTimeoutMs: number | undefined;
  readonly createTime = new Date();
  readonly settings: SessionSettings;
  readonly events = new EventBus();
  readonly console = new ConsoleLog();
  readonly #launcher: Launcher;
  readonly #logger: Logger;
  readonly #states = new StateMachine();
  readonly #queue = new CallQueue();
  /** By number: 0 is /dev/sda. Those that were taken away leave their place free. */
  #drives: (Drive | undefined)[] = [];
  #appliance: Appliance | undefined;
  /** Set while the appliance starts: aborting it ends the launch. */
  #launching: { readonly abort: AbortController; readonly done: Promise<unknown> } | undefined;
  /** Ends the transfer that runs now. */
  #transfer: AbortController | undefined;
  #timings: SessionLaunchTimings | undefined;
  #calls = 0n;
  #lastUse = Date.now();
  #stopping: Promise<MachineExit | undefined> | undefined;
  #closing: Promise<void> | undefined;
  /** The call that the daemon works on, for its progress messages. */
  #current: { readonly action: string; readonly procedure: number; readonly serial: number } | undefined;

  constructor(options: SessionOptions) {
    this.id = options.id;
    this.settings = options.settings;
    this.labels = options.labels;
    this.owner = options.owner;
    this.idleTimeoutMs = options.idleTimeoutMs;
    this.#launcher = options.launcher;
    this.#logger = options.logger;
  }

  get state(): SessionState {
    return this.#states.state;
  }

  get drives(): readonly Drive[] {
    return this.#drives.filter((drive) => drive !== undefined);
  }

  /** Whether there is a drive with this number: 0 is /dev/sda. */
  hasDrive(index: number): boolean {
    return this.#drives[index] !== undefined;
  }

  /** The machine that runs; undefined in state CONFIG. */
  get machine(): Machine | undefined {
    return this.#appliance?.machine;
  }

  /** Version of the daemon, once the appliance is up. */
  get daemonVersion(): DaemonVersion | undefined {
    return this.#appliance?.version;
  }

  get launchTimings(): SessionLaunchTimings | undefined {
    return this.#timings;
  }

  /** Calls that run or wait. */
  get pendingCalls(): number {
    return this.#queue.length;
  }

  /** When it ends if nobody uses it; undefined: it does not, or it is in use. */
  get expireTime(): Date | undefined {
    if (this.idleTimeoutMs === undefined || this.#queue.length > 0 || this.#launching) return undefined;
    return new Date(this.#lastUse + this.idleTimeoutMs);
  }

  /** The session is in use: puts off its end. */
  touch(): void {
    this.#lastUse = Date.now();
  }

  /** @throws GuestfsError SESSION_UNKNOWN when it is on its way out */
  #use(): void {
    if (this.#closing) throw new GuestfsError('SESSION_UNKNOWN', `the session ${this.id} was deleted`);
    this.touch();
  }

  /** @throws GuestfsError WRONG_STATE */
  requireState(allowed: readonly SessionState[], action: string): void {
    this.#states.require(allowed, action);
  }

  /** Adds a drive, in state CONFIG. */
  addDrive(drive: Drive, action: string): void {
    this.#states.require(['CONFIG'], action);
    this.#checkDrive(drive, action);
    this.#drives.push(drive);
  }

  /** Adds all of these drives or, when one cannot be added, none; in state CONFIG. */
  addDrives(drives: readonly Drive[], action: string): void {
    const before = this.#drives.length;
    try {
      for (const drive of drives) this.addDrive(drive, action);
    } catch (error) {
      this.#drives.length = before;
      throw error;
    }
  }

  /** Adds a drive in any state that allows it: in READY to the appliance that runs. */
  async attachDrive(drive: Drive, action: string, signal: AbortSignal): Promise<void> {
    this.#states.require(['CONFIG', 'READY'], action);
    if (this.#states.state === 'CONFIG') return this.addDrive(drive, action);
    await this.#withAppliance(action, signal, async ({ machine, connection }) => {
      this.#checkDrive(drive, action);
      this.#drives[await machine.drives.add(connection, drive, signal)] = drive;
    });
  }

  /**
   * Takes a drive away; from an appliance that runs, when all is written to it.
   * @throws GuestfsError ENOENT when there is none with this label, EBUSY when it is in use, EIO when
   *   writes to its image have failed: the drive is gone then, unless the guest noticed, too
   */
  async removeDrive(label: string, action: string, signal: AbortSignal): Promise<void> {
    this.#states.require(['CONFIG', 'READY'], action);
    const find = (): number => {
      const index = this.#drives.findIndex((drive) => drive?.label === label);
      if (index === -1)
        throw new GuestfsError('ENOENT', `${action}: the session has no drive with the label ${printable(label)}`);
      return index;
    };
    if (this.#states.state === 'CONFIG') {
      this.#drives.splice(find(), 1);
      return;
    }
    await this.#withAppliance(action, signal, async (appliance) => {
      const { machine, connection } = appliance;
      const index = find();
      const drive = this.#drives[index];
      const failed = await machine.drives.remove(connection, index).catch(async (error: unknown) => {
        // The guest may have noticed as well, and knows less of it.
        if (error instanceof GuestfsError && error.reason === 'DAEMON_ERROR') await this.#requireWritten(appliance);
        throw error;
      });
      this.#drives[index] = undefined;
      throwUnlessWritten(drive, index, failed);
    });
  }

  #checkDrive(drive: Drive, action: string): void {
    if (this.drives.length >= MAX_DRIVES) {
      throw new GuestfsError('ENOSPC', `${action}: a session has at most ${MAX_DRIVES} drives`, {
        metadata: { limit: String(MAX_DRIVES) },
      });
    }
    if (drive.label !== undefined && this.#drives.some((other) => other?.label === drive.label)) {
      throw new GuestfsError('EEXIST', `${action}: there is a drive with the label ${drive.label} already`);
    }
  }

  /** Runs what is no call of the daemon's, but must not meet one; the turn lasts until it is done, also when nobody waits for it any more. */
  async #withAppliance(
    action: string,
    signal: AbortSignal,
    body: (appliance: Appliance) => Promise<void>,
  ): Promise<void> {
    const release = await this.#queue.turn(signal);
    const whole = (async () => body(this.#runningAppliance(action)))().finally(() => {
      this.touch();
      release();
    });
    await unlessAborted(whole, signal);
  }

  /** @throws GuestfsError APPLIANCE_GONE when it ended while the call waited for its turn */
  #runningAppliance(action: string): Appliance {
    if (this.#states.state === 'READY' && this.#appliance !== undefined) return this.#appliance;
    throw new GuestfsError('APPLIANCE_GONE', `the appliance ended before ${action} was sent to it`, {
      retryAfterMs: 1000,
    });
  }

  /**
   * Runs an action in its turn: what `body` does is one call for other callers.
   *
   * When the signal aborts, the caller is answered at once; the turn lasts until the body,
   * and so the daemon, is done.
   */
  async perform<Value>(
    action: ActionDef,
    request: object,
    signal: AbortSignal,
    body: (daemon: Daemon) => Promise<Value>,
  ): Promise<Value> {
    this.#use();
    // Told like any other call, as the library does, but without a turn.
    if (this.#states.state !== 'READY')
      await this.#traced(action, request, async () => this.#states.require(['READY'], action.name));
    return this.#inTurn(action, request, signal, async (combined) => {
      const appliance = this.#runningAppliance(action.name);
      const daemon = daemonOn(appliance.connection, appliance.version, combined, (name, procedure, serial) => {
        this.#current = { action: name, procedure, serial };
      });
      return body(knowingAliases(daemon, this.#drives.length));
    });
  }

  async #inTurn<Value>(
    action: ActionDef,
    request: object,
    signal: AbortSignal,
    body: (signal: AbortSignal) => Promise<Value>,
  ): Promise<Value> {
    this.#calls += 1n;
    const number = this.#calls;
    const say = (kind: 'queued' | 'started' | 'finished', errorReason = ''): void => {
      this.events.emit({ kind, call: { action: action.name, number, errorReason } });
    };
    say('queued');
    let release: () => void;
    try {
      release = await this.#queue.turn(signal);
    } catch (error) {
      say('finished', GuestfsError.from(error).reason);
      throw error;
    }
    const transfer = new AbortController();
    // Not AbortSignal.any: its signals are collected by a finalizer, one for each call.
    const abort = (): void => transfer.abort(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    this.#transfer = transfer;
    say('started');
    const whole = this.#traced(action, request, () => body(transfer.signal))
      .then(
        (value) => {
          say('finished');
          return value;
        },
        (error: unknown) => {
          say('finished', GuestfsError.from(error).reason);
          throw error;
        },
      )
      .finally(() => {
        signal.removeEventListener('abort', abort);
        this.#transfer = undefined;
        this.touch();
        release();
      });
    return unlessAborted(whole, signal);
  }

  /** Says the call and its result to those who want to know, as libguestfs does. */
  async #traced<Value>(action: ActionDef, request: object, body: () => Promise<Value>): Promise<Value> {
    this.events.emit({ kind: 'enter', message: action.name });
    if (!this.settings.trace) return body();
    this.events.emit({ kind: 'trace', message: traceCall(action, request) });
    try {
      const value = await body();
      this.events.emit({ kind: 'trace', message: traceResult(action, value) });
      return value;
    } catch (error) {
      this.events.emit({ kind: 'trace', message: traceError(action) });
      throw error;
    }
  }

  /** Traces a call that is refused before anything is done, as the library does. */
  async traceRefused(action: ActionDef, request: object): Promise<void> {
    const refused = Promise.reject(new Error('refused'));
    await this.#traced(action, request, () => refused).catch(() => undefined);
  }

  /** Runs an action that needs no turn, with its trace. */
  async performAside<Value>(action: ActionDef, request: object, body: () => Promise<Value>): Promise<Value> {
    this.#use();
    return this.#traced(action, request, body);
  }

  /** Ends the transfer under way, if there is one: its call fails with EINTR. */
  cancelTransfer(): void {
    this.#transfer?.abort(new GuestfsError('EINTR', 'the operation was cancelled by user_cancel'));
  }

  /**
   * Starts the appliance.
   * @throws GuestfsError saying why it did not come up; the session is in state CONFIG again
   */
  async launch(signal: AbortSignal): Promise<void> {
    this.#use();
    this.#states.require(['CONFIG'], 'launch');
    if (this.drives.length === 0) {
      throw new GuestfsError(
        'NO_DRIVES',
        'launch needs at least one drive: call add_drive or add_drive_scratch first, or give drives to CreateSession',
      );
    }
    this.#states.move('launch');
    this.#timings = undefined;
    const abort = new AbortController();
    const limit = setTimeout(() => abort.abort(timedOut(this.settings.launchTimeoutMs)), this.settings.launchTimeoutMs);
    const done = this.#start(AbortSignal.any([signal, abort.signal]));
    this.#launching = { abort, done: done.catch(() => undefined) };
    try {
      await done;
      this.events.emit({ kind: 'launch_done' });
    } finally {
      clearTimeout(limit);
      this.#launching = undefined;
      this.touch();
    }
  }

  async #start(signal: AbortSignal): Promise<void> {
    const started = performance.now();
    this.#launchProgress(0n);
    this.#tell(
      'library',
      `launch: program=${printable(this.settings.program)}${this.settings.identifier === '' ? '' : `, identifier=${this.settings.identifier}`}`,
    );
    let machine: Machine | undefined;
    try {
      // One machine at a time: what ends or loses a session's appliance is about the one that it has.
      if (this.#stopping !== undefined) await unlessAborted(this.#stopping, signal);
      machine = await this.#launcher.launch(this.#launchConfig(), {
        signal,
        onConsole: (bytes) => this.#say(bytes),
        onMessage: (kind, message) => this.#tell(kind, message),
      });
      this.#launchProgress(3n);
      const events: ConnectionEvents = {
        onProgress: ({ procedure, serial, position, total }) => {
          const current = this.#current;
          if (current?.serial !== serial || current.procedure !== procedure) return;
          this.events.emit({
            kind: 'progress',
            progress: { action: current.action, procedure, serial, position, total },
          });
        },
      };
      const connection = machine.connection?.follow(events) ?? new DaemonConnection(machine.channel, events);
      await this.#up(machine, connection, signal);
      const version =
        machine.daemonVersion === undefined
          ? await unlessAborted(askVersion(connection), signal)
          : new DaemonVersion(machine.daemonVersion);
      const totalMs = performance.now() - started;
      const { prepareMs, drivesMs, qemuMs } = machine.timings;
      this.#timings = { totalMs, prepareMs, drivesMs, qemuMs, bootMs: totalMs - prepareMs - drivesMs - qemuMs };
      const appliance = { machine, connection, version };
      this.#appliance = appliance;
      this.#states.move('launched');
      void Promise.race([connection.closed, machine.exited]).then(() => this.#lost(appliance));
      this.#launchProgress(12n);
      this.#tell('library', `launch: daemon ${version.text} is up after ${Math.round(totalMs)} ms`);
      this.#logger.info('appliance is up', {
        totalMs: Math.round(totalMs),
        accelerator: machine.accelerator,
        launchKind: machine.launchKind,
        daemonVersion: version.text,
      });
    } catch (error) {
      await machine?.stop();
      this.#states.move('stopped');
      this.events.emit({ kind: 'subprocess_quit' });
      this.#logger.warn('launch failed', { reason: GuestfsError.from(error).reason, error: messageOf(error) });
      throw error;
    }
  }

  /** Waits for the daemon's first word, and explains why it does not come. */
  async #up(machine: Machine, connection: DaemonConnection, signal: AbortSignal): Promise<void> {
    const launched = connection.awaitLaunch();
    launched.catch(() => undefined); // told below, by the exit of the machine
    const outcome = await Promise.race([
      launched.then(
        () => 'up' as const,
        () => 'closed' as const,
      ),
      aborted(signal),
    ]);
    if (outcome === 'up') return;
    const tail = (): string => decodeGuestText(this.console.tail(EXPLANATION_TAIL));
    if (outcome === 'aborted') {
      const reason = GuestfsError.from(signal.reason);
      throw reason.reason === 'LAUNCH_TIMEOUT' ? machine.explainFailure(tail(), 'timeout') : reason;
    }
    const failure = connection.failure;
    if (failure?.reason === 'PROTOCOL_ERROR') throw failure;
    await machine.stop();
    throw machine.explainFailure(tail(), await machine.exited);
  }

  #launchConfig(): Parameters<Launcher['launch']>[0] {
    const { settings } = this;
    return {
      drives: this.drives,
      memsizeMb: settings.memsizeMb,
      smp: settings.smp,
      network: settings.network,
      selinux: settings.selinux,
      verbose: settings.verbose,
      accelerator: acceleratorOf(settings),
      qemuBinary: settings.hv,
      appliancePath: settings.path,
      append: settings.append,
      session: this.id,
      identifier: settings.identifier,
      extraQemuArguments: settings.extraQemuArguments,
      temporaryDirectory: settings.tmpdir,
      cacheDirectory: settings.cachedir,
    };
  }

  #launchProgress(position: bigint): void {
    this.events.emit({
      kind: 'progress',
      progress: { action: 'launch', procedure: 0, serial: 0, position, total: 12n },
    });
  }

  /** Says what the server does for the session, of which the details only to those who want them. */
  #tell(kind: 'library' | 'warning', message: string): void {
    if (kind === 'warning' || this.settings.verbose) this.events.emit({ kind, message });
  }

  #say(bytes: Buffer): void {
    this.console.append(bytes);
    if (this.events.wants('appliance')) this.events.emit({ kind: 'appliance', message: decodeGuestText(bytes) });
  }

  /** The appliance ended by itself, or broke the protocol. */
  #lost(appliance: Appliance): void {
    if (this.#appliance !== appliance || this.#stopping) return;
    const reason = appliance.connection.failure?.message;
    this.#tell('warning', `the appliance ended unexpectedly${reason === undefined ? '' : `: ${reason}`}`);
    this.#logger.warn('appliance ended unexpectedly', { reason });
    this.#stop().catch((error: unknown) =>
      this.#logger.error('an appliance did not end in order', { error: messageOf(error) }),
    );
  }

  /**
   * Ends the appliance without syncing; state CONFIG afterwards.
   * @param graceMs how long qemu may take; undefined: as long as machines usually may
   * @returns how qemu ended; undefined when there was none
   */
  #stop(graceMs?: number): Promise<MachineExit | undefined> {
    this.#stopping ??= (async () => {
      const appliance = this.#appliance;
      if (appliance === undefined) return undefined;
      this.#appliance = undefined;
      this.#drives = [];
      this.#states.move('stopped');
      this.#queue.refuseWaiting(
        new GuestfsError('APPLIANCE_GONE', 'the appliance ended before the call was sent to it', {
          retryAfterMs: 1000,
        }),
      );
      appliance.connection.close();
      const exit = await appliance.machine.stop(graceMs);
      this.events.emit({ kind: 'subprocess_quit' });
      return exit;
    })().finally(() => {
      this.#stopping = undefined;
    });
    return this.#stopping;
  }

  /** Ends the appliance now, whatever it does: what was not synced is lost. */
  async kill(): Promise<void> {
    this.touch();
    this.#launching?.abort.abort(new GuestfsError('LAUNCH_FAILED', 'the launch was ended by kill_subprocess'));
    await this.#launching?.done;
    await this.#stop();
  }

  /**
   * Ends the appliance in order: waits for the call under way, syncs and unmounts, and has qemu write out what it holds.
   * @throws GuestfsError what could not be written, or may not have been; the appliance is gone all the same
   */
  async shutdown(): Promise<void> {
    this.touch();
    this.#launching?.abort.abort(
      new GuestfsError('LAUNCH_FAILED', 'the launch was ended, because the session is shut down'),
    );
    await this.#launching?.done;
    let failure: unknown;
    const appliance = this.#appliance;
    try {
      if (appliance !== undefined) await this.#writeOut(appliance);
    } catch (error) {
      failure = error;
    }
    const inOrder = appliance !== undefined && this.#appliance === appliance;
    const exit = await this.#stop(QEMU_END_LIMIT_MS);
    if (inOrder && exit !== undefined) failure ??= unsoundEnd(exit);
    if (failure !== undefined) throw failure;
  }

  /** @throws GuestfsError EIO when the host did not take all that the guest wrote to an image; guests do not always notice */
  async #requireWritten({ machine }: Appliance): Promise<void> {
    // A qemu that does not answer does not end in order either, and that is told.
    const failed = await machine.drives.failedWrites().catch(() => new Map<number, number>());
    for (const [index, count] of failed) throwUnlessWritten(this.#drives[index], index, count);
  }

  /** Has the guest write all to its drives, as the last that it does. */
  async #writeOut(appliance: Appliance): Promise<void> {
    this.#transfer?.abort(new GuestfsError('CANCELLED', 'the session was shut down'));
    // The sync is next, however many wait.
    this.#queue.refuseWaiting(
      new GuestfsError('APPLIANCE_GONE', 'the session was shut down before the call was sent to its appliance'),
    );
    const signal = AbortSignal.timeout(CALL_GRACE_MS);
    let release: () => void;
    try {
      release = await this.#queue.turn(signal);
    } catch (error) {
      throw new GuestfsError(
        'ETIMEDOUT',
        `the call under way did not end within ${CALL_GRACE_MS / 1000} s: the appliance was stopped without a sync, and what was not yet written is lost`,
        { cause: error },
      );
    }
    try {
      if (appliance.connection.failure) return;
      if (this.settings.autosync) await this.#autosync(appliance);
      await this.#requireWritten(appliance);
    } finally {
      release();
    }
  }

  async #autosync({ connection, version }: Appliance): Promise<void> {
    const why = `the daemon did not sync within ${AUTOSYNC_LIMIT_MS / 1000} s: the appliance was stopped, and what was not yet written is lost`;
    await within(AUTOSYNC_LIMIT_MS, why, connection.call(internalAutosync, {}, version));
  }

  /** Ends the session for good; throws what {@link shutdown} throws, but only when all is freed. Can be called again. */
  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  async #end(): Promise<void> {
    let failure: unknown;
    try {
      await this.shutdown();
    } catch (error) {
      failure = error;
    }
    this.#states.move('close');
    this.events.emit({ kind: 'close' });
    this.events.close();
    if (failure !== undefined) throw failure;
  }
}

/** What is to be said of a qemu that was asked to end; undefined: it ended in order. */
function unsoundEnd({ exitCode, signal, qemuMessages }: MachineExit): GuestfsError | undefined {
  if (exitCode === 0) return undefined;
  const how =
    signal === 'SIGKILL'
      ? `did not end within ${QEMU_END_LIMIT_MS / 1000} s and was killed`
      : `ended with ${signal ?? `exit code ${String(exitCode)}`}`;
  const said = printable(qemuMessages.trim().split('\n').at(-1) ?? '').slice(0, QUOTED_MESSAGE);
  return new GuestfsError(
    'QEMU_FAILED',
    `qemu ${how} when the appliance was shut down: what it had not yet written to the images may be lost${said === '' ? '' : `; it said: ${said}`}`,
  );
}

/** @throws GuestfsError EIO when there are writes that failed, and the drive does not vanish with the session anyway */
function throwUnlessWritten(drive: Drive | undefined, index: number, failed: number): void {
  if (failed === 0 || drive === undefined || drive.readonly || drive.source.kind === 'scratch') return;
  const device = `/dev/${diskName(index)}`;
  throw new GuestfsError(
    'EIO',
    `${failed} writes to ${device} failed on the server's side, where its image is: what was written to it is not all there`,
    {
      metadata: { device, failed_writes: String(failed) },
    },
  );
}

function timedOut(limitMs: number): GuestfsError {
  return new GuestfsError(
    'LAUNCH_TIMEOUT',
    `the appliance did not come up within the ${limitMs / 1000} s that this session gives it`,
  );
}

/** The value, or an error saying `why` when it takes longer than the limit. */
async function within<Value>(milliseconds: number, why: string, value: Promise<Value>): Promise<Value> {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(new GuestfsError('ETIMEDOUT', why)), milliseconds);
  try {
    return await unlessAborted(value, controller.signal);
  } finally {
    clearTimeout(timer);
  }
}

function aborted(signal: AbortSignal): Promise<'aborted'> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve('aborted');
    signal.addEventListener('abort', () => resolve('aborted'), { once: true });
  });
}

/** The value, or the signal's reason as soon as it aborts; what happens later to the value is of no interest. */
async function unlessAborted<Value>(value: Promise<Value>, signal: AbortSignal): Promise<Value> {
  value.catch(() => undefined);
  let giveUp: (() => void) | undefined;
  try {
    return await new Promise<Value>((resolve, reject) => {
      giveUp = () => reject(GuestfsError.from(signal.reason));
      if (signal.aborted) giveUp();
      signal.addEventListener('abort', giveUp, { once: true });
      value.then(resolve, reject);
    });
  } finally {
    if (giveUp) signal.removeEventListener('abort', giveUp);
  }
}
