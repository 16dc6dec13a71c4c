/**
 * Clones without drives that wait for sessions. Each has attached a drive and let it go, so that
 * an emulating qemu has translated what the appliance runs for that, and only the session's own
 * drives are left to be attached.
 */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { ConsoleLog } from '../../common/consoleLog.js';
import { messageOf } from '../../common/errors.js';
import { abortController, withTimeLimit } from '../../common/waiting.js';
import { prepareDrives } from '../../images/prepareDrives.js';
import { LateFdSets } from '../../qemu/fdSender.js';
import type { PreflightResult } from '../preflight.js';
import { needsHostNetwork } from '../hostNetwork.js';
import type { LaunchConfig, LaunchOptions, Machine } from '../launcher.js';
import { arrive, attachToClone, machineOf, newIdentity, type CloneOptions } from './clone.js';
import { arrivalRehearsal } from '../appliance/applianceScripts.js';
import { orCloneFailed, restoreClone, type Clone } from './restore.js';
import { rehearse } from './rehearse.js';
import type { Template } from './template.js';
import type { TemplateRequest } from './templates.js';

/** What a clone takes of the host's memory while it waits, bytes. */
const CLONE_MEMORY = 160 << 20;
/** How long restoring and rehearsing may take. */
const LIMIT_MS = 60_000;
/** After a clone that could not be prepared, the next is tried after this time. */
const RETRY_MS = 30_000;
/** Twice: what is translated the second time is what stays. */
const REHEARSALS = 2;

/** What a session has to have in common with the clones. */
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

/** A clone that waits. */
interface Waiting extends Clone<undefined> {
  readonly template: Template;
  readonly base: PreflightResult;
  /** Who hears what the appliance and qemu say. */
  listener: (bytes: Buffer) => void;
  /** The end of what they have said until somebody listens. */
  readonly said: ConsoleLog;
}

/** Finds the template of new clones and what they are launched with; the caller closes the latter. */
export type SourceOfClones = (
  signal: AbortSignal,
) => Promise<{ readonly template: Template; readonly base: PreflightResult } | { readonly reason: string }>;

/** A pool of one kind of clones. */
export class ClonePool {
  readonly #waiting: Waiting[] = [];
  readonly #ended = abortController();
  #filling: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;

  /** @param request settings of the clones */
  constructor(
    private readonly size: number,
    private readonly request: TemplateRequest,
    private readonly source: SourceOfClones,
    private readonly options: CloneOptions,
  ) {}

  /** How many clones wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Starts, or goes on, preparing clones; resolves when the pool is full or cannot be filled. */
  async fill(): Promise<void> {
    this.#filling ??= this.#fill().finally(() => {
      this.#filling = undefined;
    });
    await this.#filling;
  }

  /**
   * A machine for a session, if one waits that is a clone of this template.
   * @throws GuestfsError what is wrong with the drives, CloneFailed, or the reason of the signal
   */
  async take(
    template: Template,
    config: LaunchConfig,
    prepareMs: number,
    launch: LaunchOptions,
  ): Promise<Machine | undefined> {
    if (SETTINGS.some((name) => config[name] !== this.request[name])) return undefined;
    if (needsHostNetwork(config, this.options) !== needsHostNetwork(this.request, this.options)) return undefined;
    await this.#dropOthers(template);
    const clone = this.#waiting.shift();
    if (clone === undefined) return undefined;
    void this.fill();
    const { signal, onConsole, onMessage } = launch;
    onMessage?.('library', 'launch: a waiting clone of a booted appliance takes the drives');
    onConsole(clone.said.tail());
    clone.listener = onConsole;
    const { logger, imageRoots, preflight } = this.options;
    try {
      const started = performance.now();
      const fdSets = new LateFdSets();
      const drives = await prepareDrives(config.drives, {
        runDirectory: clone.runDirectory.path,
        qemuBinary: clone.base.qemuBinary,
        fdSets,
        imageRoots,
        signal,
        probe: preflight.imageProbe,
      });
      try {
        const opened = performance.now();
        await orCloneFailed(fdSets.send(clone.qemu.files, signal), signal);
        await attachToClone(clone, { prepared: drives, firstIndex: 0, nodes: 'add nodes' }, signal);
        await drives.dispose();
        await arrive(clone, config.drives.length, signal);
        const timings = {
          prepareMs,
          drivesMs: Math.round(opened - started),
          qemuMs: Math.round(performance.now() - opened),
        };
        logger.info('taken from the pool', {
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

  /** Ends all clones that wait. */
  async close(): Promise<void> {
    this.#ended.abort(new Error('the server ends'));
    clearTimeout(this.#retry);
    await this.#filling;
    await Promise.all(this.#waiting.splice(0).map((clone) => clone.undo.run()));
  }

  /** With the same settings there is another template when the appliance was replaced, or clones of the old one failed. */
  async #dropOthers(template: Template): Promise<void> {
    const others = this.#waiting.filter((clone) => clone.template !== template);
    for (const clone of others) this.#waiting.splice(this.#waiting.indexOf(clone), 1);
    await Promise.all(others.map((clone) => clone.undo.run()));
  }

  async #fill(): Promise<void> {
    const { logger } = this.options;
    while (this.#waiting.length < this.size && !this.#ended.signal.aborted) {
      const available = await availableMemory();
      if (available !== undefined && available < 2 * CLONE_MEMORY) {
        logger.warn('the pool is larger than the memory of this host', {
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
        logger.warn('a clone for the pool cannot be prepared', { reason: messageOf(error) });
        this.#again();
        return;
      }
    }
    logger.info('the pool is full', { waiting: this.#waiting.length });
  }

  #again(): void {
    if (this.#ended.signal.aborted) return;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.fill(), RETRY_MS).unref();
  }

  /** Only one that waits: who took it knows its end by itself. */
  #lost(clone: Waiting): void {
    const index = this.#waiting.indexOf(clone);
    if (index === -1) return;
    this.#waiting.splice(index, 1);
    this.options.logger.warn('a waiting clone ended', { pid: clone.qemu.pid });
    void clone.undo.run().then(() => this.fill());
  }

  async #prepare(signal: AbortSignal): Promise<Waiting | undefined> {
    const found = await this.source(signal);
    if ('reason' in found) {
      this.options.logger.warn('there is no template for the pool', { reason: found.reason });
      this.#again();
      return undefined;
    }
    const { template, base } = found;
    const said = new ConsoleLog();
    const ears: Pick<Waiting, 'said' | 'listener'> = { said, listener: (bytes) => said.append(bytes) };
    try {
      const source = { template, base, config: { ...this.request, session: `pool-${randomUUID()}` } };
      const launch = { signal, onConsole: (bytes: Buffer) => ears.listener(bytes) };
      const clone = await template.use(() => restoreClone(source, this.options, launch, async () => undefined));
      try {
        await clone.monitor.execute('cont', undefined, signal);
        for (let count = 0; count < REHEARSALS; count++) await rehearse(clone, arrivalRehearsal(newIdentity()), signal);
        return Object.assign(ears, clone, { template, base });
      } catch (error) {
        await clone.undo.run();
        throw error;
      }
    } finally {
      await base.appliance.close();
    }
  }
}

/** Memory that the host can give without swapping, bytes; undefined when it does not tell. */
async function availableMemory(): Promise<number | undefined> {
  const kibibytes = /^MemAvailable:\s+(\d+) kB$/m.exec(await readFile('/proc/meminfo', 'utf8').catch(() => ''))?.[1];
  return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
}
