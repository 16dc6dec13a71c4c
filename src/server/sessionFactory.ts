/** Creates sessions with the server's defaults. */
import type { SessionSettings as ProtoSettings } from '../../gen/proto/guestfs/v1/session.js';
import { badArgument } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import type { DiskQuota } from '../images/diskQuota.js';
import type { Launcher } from '../launcher/launcher.js';
import { MAX_SMP, MIN_MEMSIZE_MB } from '../qemu/limits.js';
import { Session } from '../session/session.js';
import { requireIdleTimeout, requireLaunchTimeout, requireMemsize, requireSmp } from '../session/settingLimits.js';
import type { SessionSettings } from '../session/settings.js';
import type { Duration } from '../../gen/proto/google/protobuf/duration.js';
import { fromDuration } from './durations.js';

export interface NewSession {
  readonly id: string;
  readonly settings: SessionSettings;
  readonly labels: ReadonlyMap<string, string>;
  readonly owner: string | undefined;
  /** The client whose budget it counts against. */
  readonly client: string;
  /** What it may write to files of the host. */
  readonly disk: DiskQuota;
  /** Undefined: the server's default. */
  readonly idleTimeoutMs: number | undefined;
}

export interface SessionFactoryOptions {
  readonly defaults: SessionSettings;
  readonly defaultIdleTimeoutMs: number | undefined;
  /** Undefined: sessions have no maximum age. */
  readonly maxAgeMs?: number | undefined;
  /** As in a session. */
  readonly abandonedMs?: number | undefined;
  /** As of a session. */
  readonly unresponsiveMs?: number | undefined;
  readonly launcher: Launcher;
  readonly logger: Logger;
}

export class SessionFactory {
  constructor(private readonly options: SessionFactoryOptions) {}

  /**
   * The server's default settings, overridden by those of a request.
   * @throws GuestfsError BAD_ARGUMENT, LIMIT_EXCEEDED
   */
  settings(given: ProtoSettings | undefined): SessionSettings {
    const settings = { ...this.options.defaults };
    if (given === undefined) return settings;
    const { memsize, smp, network, verbose, trace, autosync, launch_timeout: launchTimeout } = given;
    if (memsize !== undefined) {
      if (memsize < MIN_MEMSIZE_MB) throw badArgument('settings.memsize', `must be at least ${MIN_MEMSIZE_MB} (MiB)`);
      requireMemsize(settings.limits, memsize);
      settings.memsizeMb = memsize;
    }
    if (smp !== undefined) {
      if (smp < 1 || smp > MAX_SMP) throw badArgument('settings.smp', `must be 1 to ${MAX_SMP}`);
      requireSmp(settings.limits, smp);
      settings.smp = smp;
    }
    settings.network = network ?? settings.network;
    settings.verbose = verbose ?? settings.verbose;
    settings.trace = trace ?? settings.trace;
    settings.autosync = autosync ?? settings.autosync;
    if (launchTimeout !== undefined) {
      settings.launchTimeoutMs = fromDuration('settings.launch_timeout', launchTimeout);
      requireLaunchTimeout(settings.launchTimeoutMs);
    }
    return settings;
  }

  /**
   * The idle timeout in a request, in milliseconds; undefined if it has none.
   * @throws GuestfsError BAD_ARGUMENT, LIMIT_EXCEEDED
   */
  idleTimeout(given: Duration | undefined): number | undefined {
    if (given === undefined) return undefined;
    const milliseconds = fromDuration('idle_timeout', given);
    requireIdleTimeout(this.options.defaults.limits, milliseconds);
    return milliseconds;
  }

  create({ id, settings, labels, owner, client, disk, idleTimeoutMs }: NewSession): Session {
    const { launcher, logger, defaultIdleTimeoutMs, maxAgeMs, abandonedMs, unresponsiveMs } = this.options;
    return new Session({
      id,
      settings,
      labels,
      owner,
      client,
      disk,
      launcher,
      logger: logger.child({ session: id, ...(owner === undefined ? {} : { identity: owner }) }),
      idleTimeoutMs: idleTimeoutMs ?? defaultIdleTimeoutMs,
      maxAgeMs,
      abandonedMs,
      unresponsiveMs,
    });
  }
}
