/** The operator's limits for the settings of a session. */
import { limitExceeded } from '../common/limitExceeded.js';

export interface SettingLimits {
  /** MiB. */
  readonly memsizeMb: number;
  readonly smp: number;
  /** Milliseconds; undefined: no limit. */
  readonly idleTimeoutMs: number | undefined;
}

/** Maximum length of `identifier`, `program` and the like, which are used on the command line and in the log. */
export const MAX_TEXT_LENGTH = 1024;

/** Maximum launch timeout, milliseconds: an appliance that has not started by then never will. */
export const MAX_LAUNCH_TIMEOUT_MS = 3_600_000;

const SECOND_MS = 1000;

/** @throws GuestfsError LIMIT_EXCEEDED */
export function requireMemsize(limits: SettingLimits | undefined, memsizeMb: number): void {
  if (limits === undefined || memsizeMb <= limits.memsizeMb) return;
  throw limitExceeded(
    `a memsize of ${memsizeMb} MiB; this server allows at most ${limits.memsizeMb} MiB (--max-memsize)`,
    { limit: 'max-memsize', maximum: limits.memsizeMb },
  );
}

/** @throws GuestfsError LIMIT_EXCEEDED */
export function requireSmp(limits: SettingLimits | undefined, smp: number): void {
  if (limits === undefined || smp <= limits.smp) return;
  throw limitExceeded(`${smp} virtual CPUs; this server allows at most ${limits.smp} (--max-smp)`, {
    limit: 'max-smp',
    maximum: limits.smp,
  });
}

/** @throws GuestfsError LIMIT_EXCEEDED */
export function requireIdleTimeout(limits: SettingLimits | undefined, idleTimeoutMs: number): void {
  const most = limits?.idleTimeoutMs;
  if (most === undefined || idleTimeoutMs <= most) return;
  const maximum = Math.floor(most / SECOND_MS);
  throw limitExceeded(
    `an idle timeout of ${idleTimeoutMs / SECOND_MS} s; this server allows at most ${maximum} s (--max-idle-timeout)`,
    { limit: 'max-idle-timeout', maximum },
  );
}

/** @throws GuestfsError LIMIT_EXCEEDED */
export function requireLaunchTimeout(launchTimeoutMs: number): void {
  if (launchTimeoutMs <= MAX_LAUNCH_TIMEOUT_MS) return;
  const maximum = MAX_LAUNCH_TIMEOUT_MS / SECOND_MS;
  throw limitExceeded(`a launch timeout of ${launchTimeoutMs / SECOND_MS} s; at most ${maximum} s are allowed`, {
    limit: 'launch_timeout',
    maximum,
  });
}

/** @throws GuestfsError LIMIT_EXCEEDED */
export function requireLength(name: string, text: string): void {
  if (text.length <= MAX_TEXT_LENGTH) return;
  throw limitExceeded(`${name} has ${text.length} characters; at most ${MAX_TEXT_LENGTH} are allowed`, {
    limit: name,
    maximum: MAX_TEXT_LENGTH,
  });
}
