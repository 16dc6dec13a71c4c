/**
 * The life cycle of a session and its appliances: launch, kill, shutdown and deletion, and appliances that exit
 * unexpectedly. If several of these coincide, the state shows which came first, and the later ones join it.
 */
import type { ConsoleLog } from '../common/consoleLog.js';
import { GuestfsError } from '../common/errors.js';
import { decodeGuestText, printable } from '../common/guestText.js';
import type { Logger } from '../common/logger.js';
import { asPart, belongsTo, spanBehind } from '../common/spans.js';
import { inTime, linkedAbort, unlessAborted } from '../common/waiting.js';
import type { EventBus } from '../events/eventBus.js';
import type { DiskQuota } from '../images/diskQuota.js';
import type { Launcher } from '../launcher/launcher.js';
import { applianceGone, CALL_STATES, requireAllowed } from './callStates.js';
import { endedUnsynced, endInOrder, type OrderlyEnd } from './ending.js';
import { launchConfig, launchTimeout, startAppliance, type SessionLaunchTimings } from './launching.js';
import type { RunningAppliance } from './runningAppliance.js';
import { SessionDrives } from './sessionDrives.js';
import type { SessionSettings } from './settings.js';
import { StateMachine, type SessionState, type State, type StateNamed } from './stateMachine.js';
import type { Turns } from './turns.js';
import { watch } from './watch.js';

/** How long an appliance that works may take to answer, milliseconds, even on a busy host. */
const ANSWER_MS = 5000;

export interface LifeCycleOptions {
  /** ID of the session. */
  readonly id: string;
  readonly settings: SessionSettings;
  readonly launcher: Launcher;
  readonly logger: Logger;
  readonly events: EventBus;
  readonly console: ConsoleLog;
  readonly turns: Turns;
  /** The appliance is ended when qemu or the daemon does not answer for this time, milliseconds; undefined: never. */
  readonly unresponsiveMs?: number | undefined;
  /** Limits what the session may write to files of the host; without it, any amount. */
  readonly disk?: DiskQuota | undefined;
}

export class LifeCycle {
  readonly #id: string;
  readonly #settings: SessionSettings;
  readonly #launcher: Launcher;
  readonly #logger: Logger;
  readonly #events: EventBus;
  readonly #console: ConsoleLog;
  readonly #turns: Turns;
  readonly #disk: DiskQuota | undefined;
  readonly #states = new StateMachine();
  #drives = new SessionDrives();
  /** The drives of the appliances that are starting, running or ending; only one of them has a machine at a time. */
  readonly #inUse = new Set<SessionDrives>();
  #timings: SessionLaunchTimings | undefined;
  /** What was lost with an appliance that ended unexpectedly. */
  #loss: { readonly appliance: RunningAppliance; readonly error: GuestfsError } | undefined;
  readonly #unresponsiveMs: number | undefined;

  constructor(options: LifeCycleOptions) {
    this.#id = options.id;
    this.#settings = options.settings;
    this.#launcher = options.launcher;
    this.#logger = options.logger;
    this.#events = options.events;
    this.#console = options.console;
    this.#turns = options.turns;
    this.#unresponsiveMs = options.unresponsiveMs;
    this.#disk = options.disk;
  }

  get state(): State {
    return this.#states.current;
  }

  /** The state, as shown to clients. */
  get shownState(): SessionState {
    return this.#states.shown;
  }

  /** The drives of the running appliance, or of the next one. */
  get drives(): SessionDrives {
    return this.#drives;
  }

  /** The running appliance; undefined if there is none or its daemon is not up yet. */
  get appliance(): RunningAppliance | undefined {
    const state = this.#states.current;
    return 'appliance' in state ? state.appliance : undefined;
  }

  /**
   * How many drives the appliance has that is starting, running or ending; undefined: there is none. An appliance that
   * was killed takes a moment to end, in which the session is in CONFIG already.
   */
  get drivesInUse(): number | undefined {
    return [...this.#inUse].at(-1)?.used;
  }

  /** How long the last launch took, if it succeeded. */
  get timings(): SessionLaunchTimings | undefined {
    return this.#timings;
  }

  /** @throws GuestfsError as {@link requireAllowed} */
  require(allowed: readonly SessionState[], action: string): void {
    requireAllowed({ id: this.#id, state: this.#states.current.name }, allowed, action);
  }

  /** @throws GuestfsError APPLIANCE_GONE if it ended while the call waited for its turn */
  requireAppliance(action: string): RunningAppliance {
    const state = this.#states.current;
    if (state.name === 'READY') return state.appliance;
    throw applianceGone(action);
  }

  /**
   * Starts the appliance.
   * @param requestId of the call, for its progress; empty: it has none
   * @throws GuestfsError explaining why it did not start; the session is in state CONFIG again
   */
  async launch(signal: AbortSignal, requestId: string): Promise<void> {
    this.require(CALL_STATES.launch, 'launch');
    if (this.drives.all.length === 0) {
      throw new GuestfsError(
        'NO_DRIVES',
        'launch needs at least one drive: call add_drive or add_drive_scratch first, or give drives to CreateSession',
      );
    }
    const limitMs = this.#settings.launchTimeoutMs;
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
    const drives = this.#drives;
    this.#inUse.add(drives);
    this.#loss = undefined;
    try {
      await asPart(signal, { name: 'launch' }, (span) => {
        if (span !== undefined) belongsTo(span, abort.signal);
        return this.#start(abort.signal, previous, requestId);
      });
    } catch (error) {
      this.#inUse.delete(drives);
      // A session that has been deleted meanwhile stays in its state.
      if (this.#states.current.name === 'LAUNCHING') this.#states.move('launchFailed', { name: 'CONFIG', previous });
      this.#events.emit({ kind: 'subprocess_quit' });
      this.#logger.warn('launch failed', { reason: GuestfsError.from(error).reason, err: error });
      throw error;
    } finally {
      abort.release();
      over();
    }
    this.#events.emit({ kind: 'launch_done' });
  }

  async #start(signal: AbortSignal, previous: Promise<void> | undefined, requestId: string): Promise<void> {
    const { program, identifier } = this.#settings;
    const reached = (position: bigint): void =>
      this.#events.emit({
        kind: 'progress',
        progress: { action: 'launch', procedure: 0, serial: 0, position, total: 12n, requestId },
      });
    reached(0n);
    this.#emitMessage(
      'library',
      `launch: program=${printable(program)}${identifier === '' ? '' : `, identifier=${identifier}`}`,
    );
    // One machine at a time: the previous one may still have the images open.
    if (previous !== undefined) await unlessAborted(previous, signal);
    const { appliance, timings } = await startAppliance(
      this.#launcher,
      launchConfig(this.#id, this.#settings, this.drives.all, this.#disk),
      {
        signal,
        console: this.#console,
        onConsole: (bytes) => this.#appendConsole(bytes),
        onMessage: (kind, message) => this.#emitMessage(kind, message),
        onMachine: () => reached(3n),
        onProgress: (progress) => this.#turns.progress(progress),
      },
    );
    if (signal.aborted) {
      // The launch was ended just as the daemon came up.
      await appliance.kill();
      throw GuestfsError.from(signal.reason);
    }
    this.#timings = timings;
    this.#states.move('launched', { name: 'READY', appliance });
    void appliance.ended().then(() => this.#handleApplianceExit(appliance));
    this.#watch(appliance);
    reached(12n);
    const { machine, version } = appliance;
    spanBehind(signal)?.set({ 'guestfs.launch.kind': machine.launchKind, 'guestfs.accelerator': machine.accelerator });
    const totalMs = Math.round(timings.totalMs);
    this.#emitMessage('library', `launch: daemon ${version.text} is up after ${totalMs} ms`);
    this.#logger.info('appliance is up', {
      totalMs,
      accelerator: machine.accelerator,
      launchKind: machine.launchKind,
      daemonVersion: version.text,
    });
  }

  /** Ends the appliance when qemu or the daemon no longer answers, even while it is being shut down. */
  #watch(appliance: RunningAppliance): void {
    if (this.#unresponsiveMs === undefined) return;
    const { pulse } = appliance.machine;
    const stop = watch(
      [
        { name: 'qemu', lastAnswer: () => pulse.lastAnswer(), ask: () => pulse.ask() },
        {
          name: 'the daemon',
          lastAnswer: () => appliance.connection.lastAnswer,
          // While it works on a call, it answers nothing else.
          ask: () => this.#turns.whenIdle(() => appliance.ping()),
        },
      ],
      this.#unresponsiveMs,
      (error) => this.#endUnresponsive(appliance, error),
    );
    void appliance.stopping.then(stop);
  }

  #endUnresponsive(appliance: RunningAppliance, error: GuestfsError): void {
    this.#logger.warn('appliance ended: it no longer answers', { err: error });
    this.#emitMessage('warning', error.message);
    const state = this.#states.current;
    // Calls that wait for the daemon fail with the reason.
    appliance.connection.close(error);
    if (state.name === 'READY')
      this.#abandonAppliance('exited', appliance).catch((err: unknown) =>
        this.#logger.error('shutdown of an appliance failed', { err }),
      );
    else if ('end' in state) state.end?.cutShort(error);
  }

  /** Handles the end of an appliance: it was stopped, exited by itself, or violated the protocol. */
  #handleApplianceExit(appliance: RunningAppliance): void {
    if (appliance.stopRequested) return;
    const told = this.#tellExit(appliance);
    // In STOPPING and DELETING the shutdown in progress handles it.
    if (this.#states.current.name !== 'READY') return;
    this.#abandonAppliance('exited', appliance, told).catch((error: unknown) =>
      this.#logger.error('shutdown of an appliance failed', { err: error }),
    );
  }

  /** Reports why an appliance has ended by itself. */
  async #tellExit(appliance: RunningAppliance): Promise<void> {
    const cause = await appliance.cause;
    const reason = cause?.what ?? appliance.connection.failure?.message;
    this.#emitMessage('warning', `the appliance ended unexpectedly${reason === undefined ? '' : `: ${reason}`}`);
    this.#logger.warn('appliance ended unexpectedly', { reason, cause: cause?.reason });
  }

  /**
   * Ends the appliance without a sync. The session is in CONFIG at once; resolves once all resources are released.
   * @param before what has to be done first
   */
  #abandonAppliance(
    event: 'killed' | 'exited',
    appliance: RunningAppliance,
    before: Promise<void> | undefined = undefined,
  ): Promise<void> {
    const drives = this.#drives;
    const { written } = drives;
    if (event === 'exited' && appliance.unsynced && written.length > 0)
      this.#loss = { appliance, error: endedUnsynced(appliance.connection.failure, written) };
    if (this.#turns.pending > 0) appliance.endReported = true;
    const ended = before === undefined ? appliance.kill() : before.then(() => appliance.kill());
    const gone = ended
      .finally(() => this.#inUse.delete(drives))
      .then(() => this.#events.emit({ kind: 'subprocess_quit' }));
    // A failure is reported to whoever waits for `gone`.
    this.#states.move(event, { name: 'CONFIG', previous: gone.catch(() => undefined) });
    this.#drives = new SessionDrives();
    this.#turns.refuseWaiting(applianceGone('the call'));
    return gone;
  }

  /** Whether qemu and, if it has nothing else to do, the daemon answer soon; true without an appliance that runs. */
  async answers(): Promise<boolean> {
    const { appliance } = this;
    if (appliance === undefined) return true;
    const asked = [appliance.machine.pulse.ask(), this.#turns.whenIdle(() => appliance.ping()) ?? Promise.resolve()];
    // An end that is reported is not silence.
    return inTime(
      ANSWER_MS,
      false,
      Promise.allSettled(asked).then(() => true),
    );
  }

  /** As {@link kill}, but no client has asked for it: the shutdown or deletion of the session reports what was lost. */
  abandon(): Promise<void> {
    const state = this.#states.current;
    return state.name === 'READY' ? this.#abandonAppliance('exited', state.appliance) : this.kill();
  }

  /** Ends the appliance immediately, whatever it is doing: unsynced data is lost. */
  async kill(): Promise<void> {
    const state = this.#states.current;
    switch (state.name) {
      case 'CONFIG':
        this.#loss = undefined;
        return state.previous;
      case 'LAUNCHING':
        return this.#endLaunch(state, new GuestfsError('LAUNCH_FAILED', 'the launch was aborted by kill_subprocess'));
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
   * Shuts the appliance down: waits for the call in progress, syncs and unmounts, and makes qemu flush its caches.
   * @throws GuestfsError if data was or may have been lost; the appliance has ended nevertheless
   */
  async shutdown(): Promise<void> {
    const state = this.#states.current;
    switch (state.name) {
      case 'CONFIG':
        return this.#reportLoss(state.previous);
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

  /** Deletes the session; throws what {@link shutdown} throws, once all resources are released. Can be repeated. */
  async close(): Promise<void> {
    const state = this.#states.current;
    switch (state.name) {
      case 'CONFIG':
        return this.#delete(this.#reportLoss(state.previous));
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

  /** Waits for an appliance that has ended, and fails if nobody has been told yet what may be lost with it. */
  async #reportLoss(gone: Promise<void> | undefined): Promise<void> {
    const loss = this.#loss;
    this.#loss = undefined;
    await gone;
    if (loss?.appliance.endReported === false) throw loss.error;
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
      this.#events.emit({ kind: 'close' });
      this.#events.close();
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
      autosync: this.#settings.autosync,
      onGone: () => {
        this.#inUse.delete(this.#drives);
        this.#drives = new SessionDrives();
        if (this.#states.current.name === 'STOPPING')
          this.#states.move('stopped', { name: 'CONFIG', previous: undefined });
        this.#events.emit({ kind: 'subprocess_quit' });
      },
    });
  }

  #previousGone(): Promise<void> | undefined {
    const state = this.#states.current;
    return state.name === 'CONFIG' ? state.previous : undefined;
  }

  /** Emits library events about the session; details only if the session is verbose. */
  #emitMessage(kind: 'library' | 'warning', message: string): void {
    if (kind === 'warning' || this.#settings.verbose) this.#events.emit({ kind, message });
  }

  #appendConsole(bytes: Buffer): void {
    this.#console.append(bytes);
    if (this.#events.wants('appliance')) this.#events.emit({ kind: 'appliance', message: decodeGuestText(bytes) });
  }
}

/** Waits for a shutdown whose failure is reported elsewhere. */
function ignoringFailure(end: Promise<void>): Promise<void> {
  return end.catch(() => undefined);
}

function launchEndedByShutdown(): GuestfsError {
  return new GuestfsError('LAUNCH_FAILED', 'the launch was aborted because the session was shut down');
}
