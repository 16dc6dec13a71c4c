/** Checked changes of settings, for the actions and for `parse_environment`. */
import { MAX_SMP, MIN_MEMSIZE_MB } from '../qemu/limits.js';
import { requireLength, requireMemsize, requireSmp } from '../session/settingLimits.js';
import type { SessionSettings } from '../session/settings.js';
import { refused } from './refusal.js';

/** @throws GuestfsError BAD_ARGUMENT if it is too little, LIMIT_EXCEEDED */
export function setMemsize(settings: SessionSettings, memsize: number): void {
  if (memsize < MIN_MEMSIZE_MB)
    throw refused('memsize', `too small value for memsize (must be at least ${MIN_MEMSIZE_MB})`);
  requireMemsize(settings.limits, memsize);
  settings.memsizeMb = memsize;
}

/** @throws GuestfsError BAD_ARGUMENT if it is outside the supported range, LIMIT_EXCEEDED */
export function setSmp(settings: SessionSettings, smp: number): void {
  if (smp > MAX_SMP) throw refused('smp', `unsupported number of smp vcpus: ${smp} (at most ${MAX_SMP})`);
  if (smp < 1) throw refused('smp', `invalid smp parameter: ${smp} (at least 1)`);
  requireSmp(settings.limits, smp);
  settings.smp = smp;
}

/** @throws GuestfsError BAD_ARGUMENT for characters other than the library allows, LIMIT_EXCEEDED */
export function setIdentifier(settings: SessionSettings, identifier: string): void {
  requireLength('identifier', identifier);
  if (!/^[A-Za-z0-9_-]*$/.test(identifier)) {
    throw refused('identifier', 'identifier must contain only alphanumeric characters, underscore or minus sign');
  }
  settings.identifier = identifier;
}
