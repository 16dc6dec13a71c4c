/**
 * A session: settings, drives, and at most one appliance with its daemon.
 *
 * Calls to the daemon go through {@link Session.perform}, one at a time. Whatever happens to the appliance,
 * the session returns to state CONFIG and can be used again, until it is closed.
 */
import type { ActionDef } from '../actions/types.js';
import { ConsoleLog } from '../common/consoleLog.js';
import { GuestfsError } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import { EventBus } from '../events/eventBus.js';
import type { DiskQuota } from '../images/diskQuota.js';
import type { Drive } from '../images/drive.js';
import type { Launcher, Machine } from '../launcher/launcher.js';
import type { DaemonVersion } from '../protocol/daemonVersion.js';
import type { Resources } from './clientBudget.js';
import { CALL_STATES } from './callStates.js';
import { traced } from './callTrace.js';
import { daemonOn, type Daemon } from './daemon.js';
import { knowingAliases } from './driveAliases.js';
import type { SessionLaunchTimings } from './launching.js';
import { knowingMemory } from './guestMemory.js';
import { LifeCycle } from './lifeCycle.js';
import { keepPromise } from './promise.js';
import { RunningCalls, STEADY, type Caller } from './runningCalls.js';
import type { SessionSettings } from './settings.js';
import type { SessionState } from './stateMachine.js';
import { Turns } from './turns.js';

/** How long a call continues after its client has given up, unless the session's idle timeout is shorter. */
export const ABANDONED_MS = 300_000;

export interface SessionOptions {
  readonly id: string;
  readonly settings: SessionSettings;
  readonly launcher: Launcher;
  readonly logger: Logger;
  readonly labels: ReadonlyMap<string, string>;
  /** Identity of the client that created it; undefined: every client may use it. */
  readonly owner: string | undefined;
  /** The client whose budget it counts against; by default, the server itself. */
  readonly client?: string;
  /** What it may write to files of the host; any amount when left out. */
  readonly disk?: DiskQuota | undefined;
  /** Idle timeout, milliseconds; undefined: none. */
  readonly idleTimeoutMs: number | undefined;
  /** It ends at this age, in use or not, milliseconds; undefined: no limit. */
  readonly maxAgeMs?: number | undefined;
  /** How long a call may continue after its client has given up, milliseconds; by default ABANDONED_MS. */
  readonly abandonedMs?: number | undefined;
  /** How long qemu or the daemon may say nothing until the appliance is ended, milliseconds; undefined: any time. */
  readonly unresponsiveMs?: number | undefined;
}

export class Session {
  readonly id: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly owner: string | undefined;
  readonly client: string;
  readonly idleTimeoutMs: number | undefined;
  /** When it ends, in use or not; undefined: never. */
  readonly latestTime: Date | undefined;
  readonly createTime = new Date();
  readonly settings: SessionSettings;
  readonly events = new EventBus();
  readonly console = new ConsoleLog();
  /** Its calls that wait or run. */
  readonly calls = new RunningCalls();
  readonly #life: LifeCycle;
  readonly #turns = new Turns(this.events, () => this.touch(), {
    limitMs: () => Math.min(this.#abandonedMs, this.idleTimeoutMs ?? this.#abandonedMs),
    end: () => this.#endAbandoned(),
  });
  #admit: (needed: Resources) => void = () => undefined;
  readonly #abandonedMs: number;
  readonly #logger: Logger;
  /** Calls in flight that need no turn. */
  #callsOutOfTurn = 0;
  #lastUse = this.createTime.getTime();

  constructor(options: SessionOptions) {
    this.id = options.id;
    this.settings = options.settings;
    this.labels = options.labels;
    this.owner = options.owner;
    this.client = options.client ?? '';
    this.idleTimeoutMs = options.idleTimeoutMs;
    this.latestTime =
      options.maxAgeMs === undefined ? undefined : new Date(this.createTime.getTime() + options.maxAgeMs);
    const { id, settings, launcher, logger, unresponsiveMs } = options;
    this.#abandonedMs = options.abandonedMs ?? ABANDONED_MS;
    this.#logger = logger;
    const { events, console } = this;
    this.#life = new LifeCycle({
      ...{ id, settings, launcher, logger, events, console },
      ...{ turns: this.#turns, disk: options.disk, unresponsiveMs },
    });
  }

  /** The state, as shown to clients. */
  get state(): SessionState {
    return this.#life.shownState;
  }

  get drives(): readonly Drive[] {
    return this.#life.drives.all;
  }

  /** Whether there is a drive with this number: 0 is /dev/sda. */
  hasDrive(index: number): boolean {
    return this.#life.drives.has(index);
  }

  /** The running machine; undefined if there is none or its daemon is not up yet. */
  get machine(): Machine | undefined {
    return this.#life.appliance?.machine;
  }

  /** Version of the daemon, once the appliance is up. */
  get daemonVersion(): DaemonVersion | undefined {
    return this.#life.appliance?.version;
  }

  get launchTimings(): SessionLaunchTimings | undefined {
    return this.#life.timings;
  }

  /** Number of calls to the daemon that are running or waiting. */
  get pendingCalls(): number {
    return this.#turns.pending;
  }

  /** When it ends automatically, by idle timeout or maximum age; undefined if neither applies, or it is ending now. */
  get expireTime(): Date | undefined {
    const { name } = this.#life.state;
    if (name !== 'CONFIG' && name !== 'READY') return undefined;
    const inUse = this.#turns.pending > 0 || this.#callsOutOfTurn > 0;
    if (this.idleTimeoutMs === undefined || inUse) return this.latestTime;
    const idle = this.#lastUse + this.idleTimeoutMs;
    return new Date(Math.min(idle, this.latestTime?.getTime() ?? idle));
  }

  /** Records use of the session: restarts its idle timeout. */
  touch(): void {
    this.#lastUse = Date.now();
  }

  /**
   * Refuses an action that the state does not allow.
   * @param allowed a row of {@link CALL_STATES}, or any other states
   * @throws GuestfsError WRONG_STATE, APPLIANCE_GONE, SESSION_UNKNOWN: see {@link requireAllowed}
   */
  requireState(allowed: readonly SessionState[], action: string): void {
    this.#life.require(allowed, action);
  }

  /** The resources of its appliance, from the beginning of its start to its end; undefined without one. */
  get resources(): Resources | undefined {
    const drives = this.#life.drivesInUse;
    return drives === undefined ? undefined : this.#needs(drives);
  }

  #needs(drives: number): Resources {
    return { memsizeMb: this.settings.memsizeMb, smp: this.settings.smp, drives };
  }

  /** Makes the session call `admit` before it uses more resources; `admit` throws to refuse. */
  limitBy(admit: (needed: Resources) => void): void {
    this.#admit = admit;
  }

  // --- Drives ---

  /** Adds a drive to those to launch with. */
  addDrive(drive: Drive, action: string): void {
    this.requireState(CALL_STATES.addDrive, action);
    this.#life.drives.add(drive, action);
  }

  /** Adds all of these drives to those to launch with or, if one cannot be added, none. */
  addDrives(drives: readonly Drive[], action: string): void {
    this.requireState(CALL_STATES.addDrive, action);
    this.#life.drives.addAll(drives, action);
  }

  /** Adds a drive in CONFIG, or hot-plugs it in READY. */
  async attachDrive(drive: Drive, action: string, signal: AbortSignal): Promise<void> {
    this.requireState(CALL_STATES.attachDrive, action);
    if (this.state === 'CONFIG') return this.#life.drives.add(drive, action);
    await this.#turns.hold(signal, async () => {
      const appliance = this.#life.requireAppliance(action);
      this.#admit(this.#needs(this.drives.length + 1));
      await this.#life.drives.attach(appliance, drive, action, signal);
    });
  }

  /**
   * Removes a drive; from a running appliance, once all writes have reached it.
   * @throws GuestfsError ENOENT if there is none with this label, EBUSY if it is in use; EIO or ENOSPC if writes to its
   *   image have failed, IMAGE_CHANGED: the drive is removed then, unless the appliance noticed the failure as well
   */
  async removeDrive(label: string, action: string, signal: AbortSignal): Promise<void> {
    this.requireState(CALL_STATES.removeDrive, action);
    if (this.state === 'CONFIG') return this.#life.drives.remove(label, action);
    await this.#turns.hold(signal, async () => {
      const appliance = this.#life.requireAppliance(action);
      await this.#life.drives.detach(appliance, label, action);
    });
  }

  // --- Calls ---

  /**
   * Runs an action in its turn: to other callers, everything that `body` does is a single call.
   *
   * When the signal aborts, the caller is answered at once, unless it waits to the end; the turn lasts until the body,
   * and so the daemon, has finished.
   */
  async perform<Value>(
    action: ActionDef,
    request: object,
    signal: AbortSignal,
    body: (daemon: Daemon) => Promise<Value>,
    caller: Caller = STEADY,
  ): Promise<Value> {
    this.#requireOpen(action.name);
    // Traced like any other call, as in libguestfs, but without a turn.
    if (this.state !== 'READY')
      await this.#traced(action, request, async () => this.requireState(CALL_STATES.daemon, action.name));
    const work = (combined: AbortSignal): Promise<Value> =>
      this.#traced(action, request, async () => {
        const appliance = this.#life.requireAppliance(action.name);
        const { machine, connection, version } = appliance;
        const daemon = daemonOn(
          connection,
          version,
          combined,
          (...call) => this.#turns.sent(...call),
          (message) => this.events.emit({ kind: 'warning', message }),
        );
        const { drives } = this.#life;
        const { total } = this.console;
        if (action.mutating) appliance.unsynced = true;
        try {
          const value = await body(knowingAliases(daemon, drives.numbers));
          if (action.promisesDurability !== undefined) {
            await keepPromise(action, daemon, drives, machine);
            appliance.unsynced = false;
          }
          return value;
        } catch (error) {
          if (connection.failure !== undefined && !signal.aborted) appliance.endReported = true;
          throw knowingMemory(await appliance.explained(error), () => this.console.tailSince(total));
        }
      });
    const running = this.calls.begin(action.name, action.mutating, caller, true);
    return this.#turns.call(action.name, signal, work, running);
  }

  /** Traces a call that is refused before it runs, as libguestfs does. */
  async traceRefused(action: ActionDef, request: object): Promise<void> {
    const refused = async (): Promise<never> => {
      throw new Error('refused');
    };
    await this.#traced(action, request, refused).catch(() => undefined);
  }

  /** Runs an action that needs no turn, with its trace. The session is in use until it has finished. */
  async performOutOfTurn<Value>(
    action: ActionDef,
    request: object,
    body: () => Promise<Value>,
    caller: Caller = STEADY,
  ): Promise<Value> {
    this.#requireOpen(action.name);
    const running = this.calls.begin(action.name, action.mutating, caller, false);
    this.#callsOutOfTurn += 1;
    try {
      return await this.#traced(action, request, body);
    } finally {
      this.#callsOutOfTurn -= 1;
      running.over();
      this.touch();
    }
  }

  /** Cancels the transfer in flight, if any: its call fails with EINTR. */
  cancelTransfer(): void {
    this.#turns.cancelTransfer(new GuestfsError('EINTR', 'the operation was cancelled by user_cancel'));
  }

  #traced<Value>(action: ActionDef, request: object, body: () => Promise<Value>): Promise<Value> {
    return traced(this.events, this.settings.trace, action, request, body);
  }

  /** @throws GuestfsError SESSION_UNKNOWN if it is being deleted or was deleted */
  #requireOpen(action: string): void {
    this.requireState(CALL_STATES.outOfTurn, action);
    this.touch();
  }

  /** If the daemon does not end a call, only ending the appliance helps. */
  #endAbandoned(): void {
    this.#logger.warn('appliance ended: its daemon did not finish a call that the client had given up', {});
    this.events.emit({
      kind: 'warning',
      message: 'the appliance was ended: a call that its client had given up did not finish',
    });
    this.#life.abandon().catch((err: unknown) => this.#logger.error('shutdown of an appliance failed', { err }));
  }

  // --- Launch and end ---

  /**
   * Starts the appliance.
   * @param requestId of the call, for its progress; by default it has none
   * @throws GuestfsError explaining why it did not start; the session is in state CONFIG again
   */
  async launch(signal: AbortSignal, requestId = ''): Promise<void> {
    this.touch();
    this.requireState(CALL_STATES.launch, 'launch');
    this.#admit(this.#needs(this.drives.length));
    await this.#life.launch(signal, requestId).finally(() => this.touch());
  }

  /** Whether its appliance, if it has one, answers within seconds. */
  answers(): Promise<boolean> {
    return this.#life.answers();
  }

  /** Ends the appliance immediately, whatever it is doing: unsynced data is lost. */
  kill(): Promise<void> {
    this.touch();
    return this.#life.kill();
  }

  /**
   * Shuts the appliance down: waits for the call in progress, syncs and unmounts, and makes qemu flush its caches.
   * @throws GuestfsError if data was or may have been lost; the appliance has ended nevertheless
   */
  shutdown(): Promise<void> {
    this.touch();
    return this.#life.shutdown();
  }

  /** Deletes the session; throws what {@link shutdown} throws, once all resources are released. Can be repeated. */
  close(): Promise<void> {
    return this.#life.close();
  }
}
