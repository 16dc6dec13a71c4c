/**
 * A session's settings before a client changed them, which are the server's.
 *
 * Where the server has its files is none of the client's business. Of paths, it sees those that it has set, and else what
 * libguestfs has by default.
 */
import { hostArchitecture } from '../qemu/arch.js';
import type { SessionSettings } from '../session/settings.js';

/** Settings that are paths of the host. */
type HostPath = 'path' | 'hv' | 'tmpdir' | 'cachedir';

/** Whose value it is. */
export type Origin = 'client' | 'server';

interface Changes {
  readonly originals: Readonly<SessionSettings>;
  /** What the client called the paths that it has set. */
  readonly named: Map<HostPath, string>;
}

const changes = new WeakMap<SessionSettings, Changes>();

function changesOf(settings: SessionSettings): Changes {
  const known = changes.get(settings) ?? { originals: { ...settings }, named: new Map<HostPath, string>() };
  changes.set(settings, known);
  return known;
}

/** The initial values of the session. */
export function originalsOf(settings: SessionSettings): Readonly<SessionSettings> {
  return changes.get(settings)?.originals ?? settings;
}

/**
 * Sets a path.
 * @param value undefined: the initial one
 * @param given what the client called it, if it was the client
 */
export function setHostPath(
  settings: SessionSettings,
  name: HostPath,
  value: string | undefined,
  given: string | undefined,
): void {
  const { originals, named } = changesOf(settings);
  Object.assign(settings, { [name]: value ?? originals[name] });
  if (value !== undefined && given !== undefined) named.set(name, given);
  else named.delete(name);
}

/** What libguestfs has, whatever this server has. */
export function defaultHostPath(name: HostPath): string {
  switch (name) {
    case 'path':
      return '/usr/lib/guestfs';
    case 'hv':
      return hostArchitecture().qemuBinary;
    case 'tmpdir':
      return '/tmp';
    case 'cachedir':
      return '/var/tmp';
  }
}

/** A path as clients see it; setting it to that again changes nothing. */
export function shownHostPath(settings: SessionSettings, name: HostPath): string {
  return changes.get(settings)?.named.get(name) ?? defaultHostPath(name);
}
