/**
 * A session: settings, drives, and at most one appliance with its daemon.
 *
 * Calls to the daemon go through {@link Session.perform}, one at a time. Whatever happens to the appliance,
 * the session returns to state CONFIG and can be used again, until it is closed.
 */
import type { ActionDef } from '../actions/types.js';
import { ConsoleLog } from '../common/consoleLog.js';
import { GuestfsError, messageOf } from '../common/errors.js';
import { decodeGuestText, printable } from '../common/guestText.js';
import type { Logger } from '../common/logger.js';
import { linkedAbort, unlessAborted } from '../common/waiting.js';
import { EventBus } from '../events/eventBus.js';
import type { Drive } from '../images/drive.js';
import type { Launcher, Machine } from '../launcher/launcher.js';
import type { DaemonVersion } from '../protocol/daemonVersion.js';
import { applianceGone, CALL_STATES, requireAllowed } from './callStates.js';
import { traced } from './callTrace.js';
import { daemonOn, type Daemon } from './daemon.js';
import { knowingAliases } from './driveAliases.js';
import { endInOrder, type OrderlyEnd } from './ending.js';
import { launchConfig, launchTimeout, startAppliance, type SessionLaunchTimings } from './launching.js';
import type { RunningAppliance } from './runningAppliance.js';
import { SessionDrives } from './sessionDrives.js';
import type { SessionSettings } from './settings.js';
import { StateMachine, type SessionState, type StateNamed } from './stateMachine.js';
import { Turns } from './turns.js';

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
  readonly #turns = new Turns(this.events, () => this.touch());
  /** Those of the appliance that runs, or of the next one. */
  #drives = new SessionDrives();
  /** Calls under way that need no turn. */
  #callsOutOfTurn = 0;
  #timings: SessionLaunchTimings | undefined;
  #lastUse = Date.now();

  constructor(options: SessionOptions) {
    this.id = options.id;
    this.settings = options.settings;
    this.labels = options.labels;
    this.owner = options.owner;
    this.idleTimeoutMs = options.idleTimeoutMs;
    this.#launcher = options.launcher;
    this.#logger = options.logger;
  }

  /** The state as clients see it. */
  get state(): SessionState {
    return this.#states.shown;
  }

  get drives(): readonly Drive[] {
    return this.#drives.all;
  }

  /** Whether there is a drive with this number: 0 is /dev/sda. */
  hasDrive(index: number): boolean {
    return this.#drives.has(index);
  }

  /** The machine that runs; undefined without one, and until its daemon is up. */
  get machine(): Machine | undefined {
    return this.#appliance?.machine;
  }

  /** Version of the daemon, once the appliance is up. */
  get daemonVersion(): DaemonVersion | undefined {
    return this.#appliance?.version;
  }

  get #appliance(): RunningAppliance | undefined {
    const state = this.#states.current;
    return 'appliance' in state ? state.appliance : undefined;
  }

  get launchTimings(): SessionLaunchTimings | undefined {
    return this.#timings;
  }

  /** Calls to the daemon that run or wait. */
  get pendingCalls(): number {
    return this.#turns.pending;
  }

  /** When it ends if nobody uses it; undefined: it does not, is in use, or ends already. */
  get expireTime(): Date | undefined {
    const { name } = this.#states.current;
    if (this.idleTimeoutMs === undefined || (name !== 'CONFIG' && name !== 'READY')) return undefined;
    if (this.#turns.pending > 0 || this.#callsOutOfTurn > 0) return undefined;
    return new Date(this.#lastUse + this.idleTimeoutMs);
  }

  /** The session is in use: puts off its end. */
  touch(): void {
    this.#lastUse = Date.now();
  }

  /**
   * Refuses an action that the state does not allow.
   * @param allowed a row of {@link CALL_STATES}, or any other states
   * @throws GuestfsError WRONG_STATE, APPLIANCE_GONE, SESSION_UNKNOWN: see {@link requireAllowed}
   */
  requireState(allowed: readonly SessionState[], action: string): void {
    requireAllowed({ id: this.id, state: this.#states.current.name }, allowed, action);
  }

  // --- Drives ---

  /** Adds a drive to those to launch with. */
  addDrive(drive: Drive, action: string): void {
    this.requireState(CALL_STATES.addDrive, action);
    this.#drives.add(drive, action);
  }

  /** Adds all of these drives to those to launch with or, when one cannot be added, none. */
  addDrives(drives: readonly Drive[], action: string): void {
    this.requireState(CALL_STATES.addDrive, action);
    this.#drives.addAll(drives, action);
  }

  /** Adds a drive in any state that allows it: in READY to the appliance that runs. */
  async attachDrive(drive: Drive, action: string, signal: AbortSignal): Promise<void> {
    this.requireState(CALL_STATES.attachDrive, action);
    if (this.state === 'CONFIG') return this.#drives.add(drive, action);
    await this.#turns.hold(signal, async () => {
      const appliance = this.#requireAppliance(action);
      await this.#drives.attach(appliance, drive, action, signal);
    });
  }

  /**
   * Takes a drive away; from an appliance that runs, when all is written to it.
   * @throws GuestfsError ENOENT when there is none with this label, EBUSY when it is in use, EIO when
   *   writes to its image have failed: the drive is gone then, unless the guest noticed, too
   */
  async removeDrive(label: string, action: string, signal: AbortSignal): Promise<void> {
    this.requireState(CALL_STATES.removeDrive, action);
    if (this.state === 'CONFIG') return this.#drives.remove(label, action);
    await this.#turns.hold(signal, async () => {
      const appliance = this.#requireAppliance(action);
      await this.#drives.detach(appliance, label, action);
    });
  }

  // --- Calls ---

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
    this.#requireOpen(action.name);
    // Told like any other call, as the library does, but without a turn.
    if (this.state !== 'READY')
      await this.#traced(action, request, async () => this.requireState(CALL_STATES.daemon, action.name));
    return this.#turns.call(action.name, signal, (combined) =>
      this.#traced(action, request, async () => {
        const { connection, version } = this.#requireAppliance(action.name);
        const daemon = daemonOn(connection, version, combined, (...call) => this.#turns.sent(...call));
        return body(knowingAliases(daemon, this.#drives.numbers));
      }),
    );
  }

  /** Traces a call that is refused before anything is done, as the library does. */
  async traceRefused(action: ActionDef, request: object): Promise<void> {
    const refused = Promise.reject(new Error('refused'));
    await this.#traced(action, request, () => refused).catch(() => undefined);
  }

  /** Runs an action that needs no turn, with its trace. The session is in use until it is done. */
  async performAside<Value>(action: ActionDef, request: object, body: () => Promise<Value>): Promise<Value> {
    this.#requireOpen(action.name);
    this.#callsOutOfTurn += 1;
    try {
      return await this.#traced(action, request, body);
    } finally {
      this.#callsOutOfTurn -= 1;
      this.touch();
    }
  }

  /** Ends the transfer under way, if there is one: its call fails with EINTR. */
  cancelTransfer(): void {
    this.#turns.cancelTransfer(new GuestfsError('EINTR', 'the operation was cancelled by user_cancel'));
  }

  #traced<Value>(action: ActionDef, request: object, body: () => Promise<Value>): Promise<Value> {
    return traced(this.events, this.settings.trace, action, request, body);
  }

  /** @throws GuestfsError SESSION_UNKNOWN when it is on its way out */
  #requireOpen(action: string): void {
    this.requireState(CALL_STATES.outOfTurn, action);
    this.touch();
  }

  /** @throws GuestfsError APPLIANCE_GONE when it ended while the call waited for its turn */
  #requireAppliance(action: string): RunningAppliance {
    const state = this.#states.current;
    if (state.name === 'READY') return state.appliance;
    throw applianceGone(action);
  }

  // --- The life of the appliance ---

  /**
   * Starts the appliance.
   * @throws GuestfsError saying why it did not come up; the session is in state CONFIG again
   */
  async launch(signal: AbortSignal): Promise<void> {
    this.requireState(CALL_STATES.launch, 'launch');
    this.touch();
    if (this.drives.length === 0) {
      throw new GuestfsError(
        'NO_DRIVES',
        'launch needs at least one drive: call add_drive or add_drive_scratch first, or give drives to CreateSession',
      );
    }
    const limitMs = this.settings.launchTimeoutMs;
    const abort = linkedAbort([signal], { milliseconds: limitMs, makeError: () => launchTimeout(limitMs) });
    let over = (): void => undefined;
    const previous = this.#previousGone();
    this.#states.move('launch', {
      name: 'LAUNCHING',
      abort,
      previous,
      over: new Promise((resolve) => (over = resolve)),
    });
    this.#timings = undefined;
    try {
      await this.#start(abort.signal, previous);
    } catch (error) {
      // A session that is deleted meanwhile stays on its way.
      if (this.#states.current.name === 'LAUNCHING') this.#states.move('launchFailed', { name: 'CONFIG', previous });
      this.events.emit({ kind: 'subprocess_quit' });
      this.#logger.warn('launch failed', { reason: GuestfsError.from(error).reason, error: messageOf(error) });
      throw error;
    } finally {
      abort.release();
      this.touch();
      over();
    }
    this.events.emit({ kind: 'launch_done' });
  }

  async #start(signal: AbortSignal, previous: Promise<void> | undefined): Promise<void> {
    const { program, identifier } = this.settings;
    this.#emitLaunchProgress(0n);
    this.#emitMessage(
      'library',
      `launch: program=${printable(program)}${identifier === '' ? '' : `, identifier=${identifier}`}`,
    );
    // One machine at a time: the one before may have the images open still.
    if (previous !== undefined) await unlessAborted(previous, signal);
    const { appliance, timings } = await startAppliance(
      this.#launcher,
      launchConfig(this.id, this.settings, this.drives),
      {
        signal,
        console: this.console,
        onConsole: (bytes) => this.#appendConsole(bytes),
        onMessage: (kind, message) => this.#emitMessage(kind, message),
        onMachine: () => this.#emitLaunchProgress(3n),
        onProgress: (progress) => this.#turns.progress(progress),
      },
    );
    if (signal.aborted) {
      // Somebody ended the launch in the moment in which the daemon came up.
      await appliance.stop();
      throw GuestfsError.from(signal.reason);
    }
    this.#timings = timings;
    this.#states.move('launched', { name: 'READY', appliance });
    void appliance.ended().then(() => this.#handleApplianceExit(appliance));
    this.#emitLaunchProgress(12n);
    const { machine, version } = appliance;
    const totalMs = Math.round(timings.totalMs);
    this.#emitMessage('library', `launch: daemon ${version.text} is up after ${totalMs} ms`);
    this.#logger.info('appliance is up', {
      totalMs,
      accelerator: machine.accelerator,
      launchKind: machine.launchKind,
      daemonVersion: version.text,
    });
  }

  /** Of an appliance that is up no more: it was stopped, ended by itself, or violated the protocol. */
  #handleApplianceExit(appliance: RunningAppliance): void {
    if (appliance.stopRequested) return;
    const reason = appliance.connection.failure?.message;
    this.#emitMessage('warning', `the appliance ended unexpectedly${reason === undefined ? '' : `: ${reason}`}`);
    this.#logger.warn('appliance ended unexpectedly', { reason });
    // In STOPPING and DELETING the end under way notices it.
    if (this.#states.current.name !== 'READY') return;
    this.#abandonAppliance('exited', appliance).catch((error: unknown) =>
      this.#logger.error('an appliance did not end in order', { error: messageOf(error) }),
    );
  }

  /** Ends the appliance without a sync. The session is in CONFIG at once; resolves when all that the appliance held is free. */
  #abandonAppliance(event: 'killed' | 'exited', appliance: RunningAppliance): Promise<void> {
    const gone = appliance.stop().then(() => this.events.emit({ kind: 'subprocess_quit' }));
    // Its failure is told by whoever waits for `gone`.
    this.#states.move(event, { name: 'CONFIG', previous: gone.catch(() => undefined) });
    this.#drives = new SessionDrives();
    this.#turns.refuseWaiting(applianceGone('the call'));
    return gone;
  }

  /** Ends the appliance now, whatever it does: what was not synced is lost. */
  async kill(): Promise<void> {
    this.touch();
    const state = this.#states.current;
    switch (state.name) {
      case 'CONFIG':
        return state.previous;
      case 'LAUNCHING':
        return this.#endLaunch(state, new GuestfsError('LAUNCH_FAILED', 'the launch was ended by kill_subprocess'));
      case 'READY':
        return this.#abandonAppliance('killed', state.appliance);
      case 'STOPPING':
        state.end.cutShort();
        return ignoringFailure(state.end.done);
      case 'DELETING':
        state.end?.cutShort();
        return ignoringFailure(state.deletion);
      case 'CLOSED':
        return undefined;
    }
  }

  /**
   * Ends the appliance in order: waits for the call under way, syncs and unmounts, and has qemu write out what it holds.
   * @throws GuestfsError what could not be written, or may not have been; the appliance is gone all the same
   */
  async shutdown(): Promise<void> {
    this.touch();
    const state = this.#states.current;
    switch (state.name) {
      case 'CONFIG':
        return state.previous;
      case 'LAUNCHING':
        return this.#endLaunch(state, launchEndedByShutdown());
      case 'READY': {
        const { appliance } = state;
        const end = this.#endInOrder(appliance);
        this.#states.move('shutDown', { name: 'STOPPING', appliance, end });
        return end.done;
      }
      case 'STOPPING':
        return state.end.done;
      case 'DELETING':
        return state.deletion;
      case 'CLOSED':
        return undefined;
    }
  }

  /** Ends the session for good; throws what {@link shutdown} throws, but only when all is freed. Can be called again. */
  async close(): Promise<void> {
    const state = this.#states.current;
    switch (state.name) {
      case 'CONFIG':
        return this.#delete(state.previous);
      case 'LAUNCHING':
        return this.#delete(this.#endLaunch(state, launchEndedByShutdown()));
      case 'READY': {
        const end = this.#endInOrder(state.appliance);
        return this.#delete(end.done, state.appliance, end);
      }
      case 'STOPPING':
        return this.#delete(state.end.done, state.appliance, state.end);
      case 'DELETING':
        return state.deletion;
      case 'CLOSED':
        if (state.failure !== undefined) throw state.failure;
        return undefined;
    }
  }

  #delete(gone: Promise<void> | undefined, appliance?: RunningAppliance, end?: OrderlyEnd): Promise<void> {
    const deletion = (async () => {
      let failure: unknown;
      try {
        await gone;
      } catch (error) {
        failure = error;
      }
      this.#states.move('deleted', { name: 'CLOSED', failure });
      this.events.emit({ kind: 'close' });
      this.events.close();
      if (failure !== undefined) throw failure;
    })();
    this.#states.move('delete', { name: 'DELETING', appliance, end, deletion });
    return deletion;
  }

  async #endLaunch(state: StateNamed<'LAUNCHING'>, reason: GuestfsError): Promise<void> {
    state.abort.abort(reason);
    await state.over;
    await state.previous;
  }

  #endInOrder(appliance: RunningAppliance): OrderlyEnd {
    return endInOrder(appliance, {
      turns: this.#turns,
      drives: this.#drives,
      autosync: this.settings.autosync,
      onGone: () => {
        this.#drives = new SessionDrives();
        if (this.#states.current.name === 'STOPPING')
          this.#states.move('stopped', { name: 'CONFIG', previous: undefined });
        this.events.emit({ kind: 'subprocess_quit' });
      },
    });
  }

  #previousGone(): Promise<void> | undefined {
    const state = this.#states.current;
    return state.name === 'CONFIG' ? state.previous : undefined;
  }

  #emitLaunchProgress(position: bigint): void {
    this.events.emit({
      kind: 'progress',
      progress: { action: 'launch', procedure: 0, serial: 0, position, total: 12n },
    });
  }

  /** Tells what the server does for the session: details only when the session is verbose. */
  #emitMessage(kind: 'library' | 'warning', message: string): void {
    if (kind === 'warning' || this.settings.verbose) this.events.emit({ kind, message });
  }

  #appendConsole(bytes: Buffer): void {
    this.console.append(bytes);
    if (this.events.wants('appliance')) this.events.emit({ kind: 'appliance', message: decodeGuestText(bytes) });
  }
}

/** Waits for an end whose failure others are told. */
function ignoringFailure(end: Promise<void>): Promise<void> {
  return end.catch(() => undefined);
}

function launchEndedByShutdown(): GuestfsError {
  return new GuestfsError('LAUNCH_FAILED', 'the launch was ended, because the session is shut down');
}
