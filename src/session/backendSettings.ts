/** Backend settings: `name=value`, or `name` alone for 1. Only those that force an accelerator have an effect here. */
import { isTrue } from '../common/booleans.js';
import { badArgument } from '../common/errors.js';
import { printable } from '../common/guestText.js';
import type { AcceleratorChoice } from '../launcher/launcher.js';
import type { SessionSettings } from './settings.js';

/** Value of a setting, if it has this name. */
export function valueOfSetting(setting: string, name: string): string | undefined {
  if (setting === name) return '1';
  return setting.startsWith(`${name}=`) ? setting.slice(name.length + 1) : undefined;
}

/** Value of the first setting of a name. */
export function lookUpSetting(settings: readonly string[], name: string): string | undefined {
  for (const setting of settings) {
    const value = valueOfSetting(setting, name);
    if (value !== undefined) return value;
  }
  return undefined;
}

function isOn(settings: readonly string[], name: string): boolean {
  const value = lookUpSetting(settings, name) ?? '0';
  const on = isTrue(value);
  if (on === undefined) throw badArgument('settings', `backend setting ${name}=${printable(value)} is not a boolean`);
  return on;
}

/**
 * The accelerator: the one that the backend settings force, otherwise the server's default.
 * @throws GuestfsError BAD_ARGUMENT for settings that contradict each other or are not booleans; the library reports
 *   these only at launch
 */
export function acceleratorOf({
  accelerator,
  backendSettings,
}: Pick<SessionSettings, 'accelerator' | 'backendSettings'>): AcceleratorChoice {
  const tcg = isOn(backendSettings, 'force_tcg');
  const kvm = isOn(backendSettings, 'force_kvm');
  if (tcg && kvm) throw badArgument('settings', 'the backend settings force_tcg and force_kvm exclude each other');
  if (tcg) return 'tcg';
  return kvm ? 'kvm' : accelerator;
}
