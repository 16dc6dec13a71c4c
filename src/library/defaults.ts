/** What a session's settings were before a client changed them: the server's. */
import type { SessionSettings } from '../session/settings.js';

const originals = new WeakMap<SessionSettings, Readonly<SessionSettings>>();

/** Changes settings, remembering the first values. */
export function change(settings: SessionSettings, changes: Partial<SessionSettings>): void {
  if (!originals.has(settings)) originals.set(settings, { ...settings });
  Object.assign(settings, changes);
}

/** The values that the session began with. */
export function originalsOf(settings: SessionSettings): Readonly<SessionSettings> {
  return originals.get(settings) ?? settings;
}
