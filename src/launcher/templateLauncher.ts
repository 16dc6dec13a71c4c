/**
 * Launches clones of a template, and falls back to a cold boot where that is not possible: with
 * settings that templates do not support, or on a host where none can be created.
 */
import { unlessAborted } from '../common/waiting.js';
import type { Logger } from '../common/logger.js';
import { GuestfsError } from '../common/errors.js';
import type { QemuUsers } from '../qemu/qemuUsers.js';
import { createColdLauncher } from './coldLauncher.js';
import { reportPreflight, type LaunchPreflight } from './preflight.js';
import type { LaunchConfig, Launcher, LaunchOptions, Machine } from './launcher.js';
import { startClone } from './template/clone.js';
import { ClonePool } from './template/clonePool.js';
import { CloneFailed } from './template/blame.js';
import { Template } from './template/template.js';
import { Templates, type NoTemplate, type TemplateRequest } from './template/templates.js';

/** What the launcher needs. */
export interface TemplateLauncherOptions {
  readonly logger: Logger;
  readonly users: QemuUsers;
  readonly preflight: LaunchPreflight;
  /** Size of the pool of prepared clones, and their settings. */
  readonly pool?: { readonly size: number; readonly request: TemplateRequest };
}

/** A launcher with templates. */
export interface TemplateLauncher extends Launcher {
  /** How many prepared clones the pool contains; undefined without a pool. */
  readonly waiting: number | undefined;
  /**
   * Creates the template for machines with these settings; resolves with the reason if that is not possible.
   * @throws GuestfsError as a launch does, if not even a cold boot is possible; or the reason of `signal`
   */
  prepare(request: TemplateRequest, signal: AbortSignal): Promise<NoTemplate | undefined>;
  close(): Promise<void>;
}

interface NoClone extends NoTemplate {
  /** Notes that a clone failed where a cold boot succeeded. */
  readonly failed?: () => Promise<void>;
}

/** Reasons for which a clone may fail where a cold boot succeeds. */
const FALLBACK_REASONS = new Set(['QEMU_FAILED', 'LAUNCH_FAILED', 'OUT_OF_MEMORY', 'KVM_UNUSABLE']);

/** Creates a launcher that clones templates. */
export function createTemplateLauncher(options: TemplateLauncherOptions): TemplateLauncher {
  const { logger, preflight } = options;
  const cold = createColdLauncher(options);
  const templates = new Templates(options);
  const pool = options.pool === undefined ? undefined : createPool(options.pool, templates, options);

  /** A clone, or why there is none. */
  const clone = async (config: LaunchConfig, launch: LaunchOptions): Promise<Machine | NoClone> => {
    if (config.extraQemuArguments.length > 0) return { reason: 'the session has additional qemu arguments' };
    const started = performance.now();
    const base = await preflight.run(config, launch.signal);
    try {
      const template = await templates.get(config, base, launch.signal);
      if (!(template instanceof Template)) return template;
      reportPreflight(base, config, launch);
      const prepareMs = Math.round(performance.now() - started);
      try {
        const machine =
          (await pool?.take(template, config, prepareMs, launch)) ??
          (await template.use(() => startClone({ template, config, base, prepareMs }, options, launch)));
        templates.succeeded(template);
        return machine;
      } catch (error) {
        if (!(error instanceof CloneFailed || (error instanceof GuestfsError && FALLBACK_REASONS.has(error.reason))))
          throw error;
        logger.warn('restoring a clone failed: falling back to a cold boot', {
          session: config.session,
          template: template.key,
          reason: error.message,
        });
        return { reason: error.message, failed: () => templates.failed(template, config, error) };
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
      // Only after the cold boot has started: if that fails as well, the template is not the cause, and no session
      // may discard a template that others can use.
      await machine.failed?.();
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
