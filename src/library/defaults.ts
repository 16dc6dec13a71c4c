/** A session's settings before a client changed them, which are the server's. */
import type { SessionSettings } from '../session/settings.js';

const originals = new WeakMap<SessionSettings, Readonly<SessionSettings>>();

/** Changes settings, and remembers their initial values. */
export function change(settings: SessionSettings, changes: Partial<SessionSettings>): void {
  if (!originals.has(settings)) originals.set(settings, { ...settings });
  Object.assign(settings, changes);
}

/** The initial values of the session. */
export function originalsOf(settings: SessionSettings): Readonly<SessionSettings> {
  return originals.get(settings) ?? settings;
}
