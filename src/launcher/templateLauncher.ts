/**
 * Clones a saved machine, and boots where that does not work: with settings that no template
 * has, on a machine where none can be made.
 */
import { unlessAborted } from '../common/waiting.js';
import type { Logger } from '../common/logger.js';
import { GuestfsError } from '../common/errors.js';
import type { QemuUsers } from '../qemu/qemuUsers.js';
import type { ImageRoots } from '../security/pathPolicy.js';
import { createColdLauncher } from './coldLauncher.js';
import type { NetworkPolicy } from './hostNetwork.js';
import { reportPreflight, type LaunchPreflight } from './preflight.js';
import type { LaunchConfig, Launcher, LaunchOptions, Machine } from './launcher.js';
import { startClone } from './template/clone.js';
import { ClonePool } from './template/clonePool.js';
import { CloneFailed } from './template/restore.js';
import { Template } from './template/template.js';
import { Templates, type NoTemplate, type TemplateRequest } from './template/templates.js';

/** What the launcher works with. */
export interface TemplateLauncherOptions extends NetworkPolicy {
  readonly logger: Logger;
  readonly imageRoots: ImageRoots;
  readonly users: QemuUsers;
  readonly preflight: LaunchPreflight;
  /** How many clones wait for sessions, and with which settings. */
  readonly pool?: { readonly size: number; readonly request: TemplateRequest };
}

/** A launcher that holds templates. */
export interface TemplateLauncher extends Launcher {
  /** How many clones wait for sessions; undefined without a pool. */
  readonly waiting: number | undefined;
  /**
   * Makes the template for such machines; resolves with the reason if that cannot be done.
   * @throws GuestfsError as a launch does, when nothing can be launched at all; or the reason of `signal`
   */
  prepare(request: TemplateRequest, signal: AbortSignal): Promise<NoTemplate | undefined>;
  close(): Promise<void>;
}

interface NoClone extends NoTemplate {
  /** Has the template made anew. */
  readonly giveUp?: () => Promise<void>;
}

/** What ends a clone for reasons that have nothing to do with the template. */
const HOPELESS = new Set(['QEMU_FAILED', 'LAUNCH_FAILED', 'OUT_OF_MEMORY', 'KVM_UNUSABLE']);

/** Makes a launcher that clones. */
export function createTemplateLauncher(options: TemplateLauncherOptions): TemplateLauncher {
  const { logger, preflight } = options;
  const cold = createColdLauncher(options);
  const templates = new Templates(options);
  const pool = options.pool === undefined ? undefined : createPool(options.pool, templates, options);

  /** A clone, or why there is none. */
  const clone = async (config: LaunchConfig, launch: LaunchOptions): Promise<Machine | NoClone> => {
    if (config.extraQemuArguments.length > 0) return { reason: 'the session has qemu arguments of its own' };
    const started = performance.now();
    const base = await preflight.run(config, launch.signal);
    try {
      const template = await templates.get(config, base, launch.signal);
      if (!(template instanceof Template)) return template;
      reportPreflight(base, config, launch);
      const prepareMs = Math.round(performance.now() - started);
      try {
        const waiting = await pool?.take(template, config, prepareMs, launch);
        if (waiting !== undefined) return waiting;
        return await template.use(() => startClone({ template, config, base, prepareMs }, options, launch));
      } catch (error) {
        if (!(error instanceof CloneFailed || (error instanceof GuestfsError && HOPELESS.has(error.reason))))
          throw error;
        logger.warn('a clone failed, the appliance is booted', {
          session: config.session,
          template: template.key,
          reason: error.message,
        });
        return { reason: error.message, giveUp: () => templates.reject(template, config, error.message) };
      }
    } finally {
      await base.appliance.close();
    }
  };

  return {
    get waiting() {
      return pool?.waiting;
    },
    launch: async (config, launch) => {
      const machine = await clone(config, launch);
      if (!('reason' in machine)) return machine;
      launch.onMessage?.('library', `launch: booting without a template: ${machine.reason}`);
      const booted = await cold.launch(config, launch);
      // What keeps a boot from starting as well is not the template's fault: no session can take it from the others.
      await machine.giveUp?.();
      return booted;
    },
    prepare: async (request, signal) => {
      const base = await preflight.run(request, signal);
      try {
        let template = await templates.get(request, base, signal);
        if (!(template instanceof Template)) {
          await unlessAborted(templates.idle(), signal);
          template = await templates.get(request, base, signal);
        }
        if (!(template instanceof Template)) return template;
        if (pool !== undefined) await unlessAborted(pool.fill(), signal);
        return undefined;
      } finally {
        await base.appliance.close();
      }
    },
    close: async () => {
      await pool?.close();
      await templates.close();
    },
  };
}

function createPool(
  { size, request }: NonNullable<TemplateLauncherOptions['pool']>,
  templates: Templates,
  options: TemplateLauncherOptions,
): ClonePool {
  return new ClonePool(
    size,
    request,
    async (signal) => {
      const base = await options.preflight.run(request, signal);
      const template = await templates.get(request, base, signal);
      if (template instanceof Template) return { template, base };
      await base.appliance.close();
      return template;
    },
    options,
  );
}
