/** The backend and its settings. This server has one of the library's backends, `direct`. */
import type { PropertyLibraryActions } from '../../gen/libraryActions.js';
import { GuestfsError } from '../common/errors.js';
import { printable } from '../common/guestText.js';
import { lookUpSetting, valueOfSetting } from '../session/backendSettings.js';
import type { SessionSettings } from '../session/settings.js';
import { refused } from './refusal.js';

type BackendActions = Pick<
  PropertyLibraryActions,
  | 'get_backend'
  | 'set_backend'
  | 'get_attach_method'
  | 'set_attach_method'
  | 'get_backend_settings'
  | 'set_backend_settings'
  | 'get_backend_setting'
  | 'set_backend_setting'
  | 'clear_backend_setting'
>;

const DIRECT = 'direct';
/** Its name in old versions, which `get_attach_method` still returns. */
const APPLIANCE = 'appliance';

/** @throws GuestfsError BAD_ARGUMENT for backends that this server does not have */
export function setBackend(settings: SessionSettings, backend: string): void {
  const name = backend === APPLIANCE ? DIRECT : backend;
  if (name !== DIRECT && !name.startsWith(`${DIRECT}:`)) {
    throw refused(
      'backend',
      `invalid backend: ${printable(backend)} (this server starts appliances itself: its only backend is '${DIRECT}')`,
    );
  }
  settings.backend = name;
}

/** Replaces all settings. */
export function setBackendSettings(settings: SessionSettings, backendSettings: readonly string[]): void {
  settings.backendSettings = [...backendSettings];
}

function without(settings: readonly string[], name: string): string[] {
  return settings.filter((setting) => valueOfSetting(setting, name) === undefined);
}

export const backendActions: BackendActions = {
  get_backend: async ({ session }) => ({ backend: session.settings.backend }),
  get_attach_method: async ({ session }) => ({
    backend: session.settings.backend === DIRECT ? APPLIANCE : session.settings.backend,
  }),
  set_backend: async ({ session }, { backend }) => {
    setBackend(session.settings, backend);
    return {};
  },
  set_attach_method: async ({ session }, { backend }) => {
    setBackend(session.settings, backend);
    return {};
  },
  get_backend_settings: async ({ session }) => ({ settings: [...session.settings.backendSettings] }),
  get_backend_setting: async ({ session }, { name }) => {
    const val = lookUpSetting(session.settings.backendSettings, name);
    if (val === undefined) throw new GuestfsError('ESRCH', 'setting not found');
    return { val };
  },
  set_backend_settings: async ({ session }, { settings }) => {
    setBackendSettings(session.settings, settings);
    return {};
  },
  set_backend_setting: async ({ session }, { name, val }) => {
    setBackendSettings(session.settings, [...without(session.settings.backendSettings, name), `${name}=${val}`]);
    return {};
  },
  clear_backend_setting: async ({ session }, { name }) => {
    const before = session.settings.backendSettings;
    const after = without(before, name);
    setBackendSettings(session.settings, after);
    return { count: before.length - after.length };
  },
};
