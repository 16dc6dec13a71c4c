/** Checked changes of settings, for the actions and for `parse_environment`. */
import { MAX_SMP, MIN_MEMSIZE_MB } from '../qemu/limits.js';
import type { SessionSettings } from '../session/settings.js';
import { refused } from './refusal.js';

/** @throws GuestfsError BAD_ARGUMENT if it is too little */
export function setMemsize(settings: SessionSettings, memsize: number): void {
  if (memsize < MIN_MEMSIZE_MB)
    throw refused('memsize', `too small value for memsize (must be at least ${MIN_MEMSIZE_MB})`);
  settings.memsizeMb = memsize;
}

/** @throws GuestfsError BAD_ARGUMENT if no machine has so many */
export function setSmp(settings: SessionSettings, smp: number): void {
  if (smp > MAX_SMP) throw refused('smp', `unsupported number of smp vcpus: ${smp} (at most ${MAX_SMP})`);
  if (smp < 1) throw refused('smp', `invalid smp parameter: ${smp} (at least 1)`);
  settings.smp = smp;
}

/** @throws GuestfsError BAD_ARGUMENT for characters other than the library allows */
export function setIdentifier(settings: SessionSettings, identifier: string): void {
  if (!/^[A-Za-z0-9_-]*$/.test(identifier)) {
    throw refused('identifier', 'identifier must contain only alphanumeric characters, underscore or minus sign');
  }
  settings.identifier = identifier;
}
