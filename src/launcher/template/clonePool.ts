/**
 * A pool of running clones without drives, ready for sessions. Each has been warmed up by attaching and
 * detaching a disk, so that under emulation qemu has already translated the code for that; only the
 * session's own drives still have to be attached.
 */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { ConsoleLog } from '../../common/consoleLog.js';
import { messageOf } from '../../common/errors.js';
import { abortController, inTime, withTimeLimit } from '../../common/waiting.js';
import { prepareDrives } from '../../images/prepareDrives.js';
import { LateFdSets } from '../../qemu/fdSender.js';
import type { PreflightResult } from '../preflight.js';
import { needsHostNetwork } from '../hostNetwork.js';
import type { LaunchConfig, LaunchOptions, Machine } from '../launcher.js';
import { attachToClone, resumeClone, machineOf, newIdentity, type CloneOptions } from './clone.js';
import { cloneWarmUpScript } from '../appliance/applianceScripts.js';
import { orCloneFailed, restoreClone, type Clone } from './restore.js';
import { warmUp } from './warmUp.js';
import type { Template } from './template.js';
import type { TemplateRequest } from './templates.js';

/** Host memory that an idle clone takes, bytes. */
const CLONE_MEMORY = 160 << 20;
/** How long restoring and warming up a clone may take. */
const LIMIT_MS = 60_000;
/** How long the qemu of a clone may take to answer before a session gets it, milliseconds; one that works needs a few. */
const ANSWER_MS = 2000;
/** Delay before the next attempt if a clone could not be prepared. */
const RETRY_MS = 30_000;
/** Two, since only the second run translates the code that later runs use. */
const WARM_UPS = 2;

/** Settings of a session that must equal those of the clones. */
const SETTINGS = [
  'memsizeMb',
  'smp',
  'network',
  'selinux',
  'verbose',
  'append',
  'accelerator',
  'qemuBinary',
  'appliancePath',
  'temporaryDirectory',
  'cacheDirectory',
] as const satisfies readonly (keyof TemplateRequest)[];

/** A clone in the pool. */
interface Waiting extends Clone<undefined> {
  readonly template: Template;
  readonly base: PreflightResult;
  /** Receives the output of the console and of qemu. */
  listener: (bytes: Buffer) => void;
  /** The end of that output until a session takes the clone. */
  readonly output: ConsoleLog;
}

/** Finds the template of new clones and runs their preflight, whose appliance the caller closes. */
export type SourceOfClones = (
  signal: AbortSignal,
) => Promise<{ readonly template: Template; readonly base: PreflightResult } | { readonly reason: string }>;

/** A pool of clones with the same settings. */
export class ClonePool {
  readonly #waiting: Waiting[] = [];
  readonly #ended = abortController();
  #filling: Promise<void> | undefined;
  /** What has to be waited for at the end: clones that are looked at, or ended. */
  readonly #working = new Set<Promise<unknown>>();
  #retry: NodeJS.Timeout | undefined;

  /** @param request settings of the clones */
  constructor(
    private readonly size: number,
    private readonly request: TemplateRequest,
    private readonly source: SourceOfClones,
    private readonly options: CloneOptions,
  ) {}

  /** How many clones the pool contains. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Starts or continues filling the pool; resolves when it is full or cannot be filled. */
  async fill(): Promise<void> {
    this.#filling ??= this.#fill().finally(() => {
      this.#filling = undefined;
    });
    await this.#filling;
  }

  /**
   * Takes a clone of this template for a session, if the pool has one.
   * @throws GuestfsError for faulty drives, CloneFailed, or the reason of the signal
   */
  async take(
    template: Template,
    config: LaunchConfig,
    prepareMs: number,
    launch: LaunchOptions,
  ): Promise<Machine | undefined> {
    if (SETTINGS.some((name) => config[name] !== this.request[name])) return undefined;
    if (needsHostNetwork(config)) return undefined;
    await this.#dropOthers(template);
    const { signal, onConsole, onMessage } = launch;
    const clone = await this.#next(signal);
    if (clone === undefined) return undefined;
    void this.fill();
    onMessage?.('library', 'launch: attaching the drives to a clone from the pool');
    onConsole(clone.output.tail());
    clone.listener = onConsole;
    const { logger, preflight } = this.options;
    try {
      const started = performance.now();
      const fdSets = new LateFdSets();
      const drives = await prepareDrives(config.drives, {
        runDirectory: clone.runDirectory.path,
        claims: clone.claims,
        qemuBinary: clone.base.qemuBinary,
        fdSets,
        signal,
        probe: preflight.imageProbe,
        disk: config.disk,
      });
      try {
        const opened = performance.now();
        await orCloneFailed(fdSets.send(clone.qemu.files, signal), signal, clone.qemu);
        await attachToClone(
          clone,
          { prepared: drives, firstIndex: 0, startedWith: 'nothing', files: clone.qemu.files },
          signal,
        );
        await drives.dispose();
        await resumeClone(clone, config.drives.length, signal);
        const timings = {
          prepareMs,
          drivesMs: Math.round(opened - started),
          qemuMs: Math.round(performance.now() - opened),
        };
        logger.info('took a clone from the pool', {
          session: config.session,
          pid: clone.qemu.pid,
          template: template.key,
          drives: config.drives.length,
          ...timings,
        });
        return machineOf(
          clone,
          { base: clone.base, config },
          { drives, timings, filesGiven: fdSets.size },
          this.options,
        );
      } finally {
        await drives.dispose();
      }
    } catch (error) {
      await clone.undo.run();
      signal.throwIfAborted();
      throw error;
    }
  }

  /** Ends all clones in the pool. */
  async close(): Promise<void> {
    this.#ended.abort(new Error('the server is shutting down'));
    clearTimeout(this.#retry);
    await this.#filling;
    // A clone that a launch is looking at is ended when it has been looked at.
    while (this.#working.size > 0) await Promise.allSettled(this.#working);
    await Promise.all(this.#waiting.splice(0).map((clone) => clone.undo.run()));
  }

  /** Ends clones of an older template, which was superseded because the appliance was replaced or its clones failed. */
  async #dropOthers(template: Template): Promise<void> {
    const others = this.#waiting.filter((clone) => clone.template !== template);
    for (const clone of others) this.#waiting.splice(this.#waiting.indexOf(clone), 1);
    await Promise.all(others.map((clone) => clone.undo.run()));
  }

  /** The next clone that works; those that do not are ended. A stopped one would cost its session a whole launch limit. */
  async #next(signal: AbortSignal): Promise<Waiting | undefined> {
    for (let clone = this.#waiting.shift(); clone !== undefined; clone = this.#waiting.shift()) {
      const works = await this.#tracked(this.#look(clone, signal));
      signal.throwIfAborted();
      if (works) return clone;
    }
    return undefined;
  }

  /** Whether the clone works, for a launch. It goes back to the pool if the launch was aborted; one that does not work is ended. */
  async #look(clone: Waiting, launch: AbortSignal): Promise<boolean> {
    const works = await isRunning(clone);
    if (!works) this.options.logger.warn('a clone in the pool does not answer', { pid: clone.qemu.pid });
    if (works && !launch.aborted) return true;
    if (works && !this.#ended.signal.aborted) this.#waiting.unshift(clone);
    else this.#end(clone);
    return false;
  }

  /** Ends a clone, and starts another. */
  #end(clone: Waiting): void {
    void this.#tracked(clone.undo.run()).then(() => this.fill());
  }

  #tracked<Value>(work: Promise<Value>): Promise<Value> {
    const tracked = work.finally(() => this.#working.delete(tracked));
    this.#working.add(tracked);
    return tracked;
  }

  async #fill(): Promise<void> {
    const { logger } = this.options;
    while (this.#waiting.length < this.size && !this.#ended.signal.aborted) {
      const available = await availableMemory();
      if (available !== undefined && available < 2 * CLONE_MEMORY) {
        logger.warn('too little free memory to fill the clone pool', {
          wanted: this.size,
          waiting: this.#waiting.length,
          availableMiB: Math.round(available / (1 << 20)),
        });
        this.#again();
        return;
      }
      try {
        const late = (): Error => new Error(`it took longer than ${LIMIT_MS / 1000} s`);
        const clone = await withTimeLimit(LIMIT_MS, late, [this.#ended.signal], (signal) => this.#prepare(signal));
        if (clone === undefined) return;
        this.#waiting.push(clone);
        void clone.qemu.exited.then(() => this.#lost(clone));
      } catch (error) {
        if (this.#ended.signal.aborted) return;
        logger.warn('cannot prepare a clone for the pool', { reason: messageOf(error) });
        this.#again();
        return;
      }
    }
    logger.info('the clone pool is full', { waiting: this.#waiting.length });
  }

  #again(): void {
    if (this.#ended.signal.aborted) return;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.fill(), RETRY_MS).unref();
  }

  /** Handles the exit of a clone that is still in the pool; a session notices the exit of its own. */
  #lost(clone: Waiting): void {
    const index = this.#waiting.indexOf(clone);
    if (index === -1) return;
    this.#waiting.splice(index, 1);
    this.options.logger.warn('a clone in the pool exited unexpectedly', { pid: clone.qemu.pid });
    this.#end(clone);
  }

  async #prepare(signal: AbortSignal): Promise<Waiting | undefined> {
    const found = await this.source(signal);
    if ('reason' in found) {
      this.options.logger.warn('no template for the clone pool', { reason: found.reason });
      this.#again();
      return undefined;
    }
    const { template, base } = found;
    const output = new ConsoleLog();
    const console: Pick<Waiting, 'output' | 'listener'> = { output, listener: (bytes) => output.append(bytes) };
    try {
      const source = { template, base, config: { ...this.request, session: `pool-${randomUUID()}` } };
      const launch = { signal, onConsole: (bytes: Buffer) => console.listener(bytes) };
      const clone = await template.use(() => restoreClone(source, this.options, launch, async () => undefined));
      try {
        await clone.monitor.execute('cont', undefined, signal);
        for (let count = 0; count < WARM_UPS; count++) await warmUp(clone, cloneWarmUpScript(newIdentity()), signal);
        return Object.assign(console, clone, { template, base });
      } catch (error) {
        await clone.undo.run();
        throw error;
      }
    } finally {
      await base.appliance.close();
    }
  }
}

/** Whether qemu answers in time that the machine of a clone runs. */
async function isRunning({ monitor }: Pick<Clone, 'monitor'>): Promise<boolean> {
  const asked = monitor.execute('query-status').then(
    (answer) => (answer as { readonly status?: string }).status === 'running',
    () => false,
  );
  return inTime(ANSWER_MS, false, asked);
}

/** Memory available on the host without swapping, bytes; undefined if unknown. */
async function availableMemory(): Promise<number | undefined> {
  const kibibytes = /^MemAvailable:\s+(\d+) kB$/m.exec(await readFile('/proc/meminfo', 'utf8').catch(() => ''))?.[1];
  return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
}
