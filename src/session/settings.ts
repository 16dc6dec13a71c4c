/** Settings of a session: what libguestfs calls the properties of a handle. */
import type { AcceleratorChoice } from '../launcher/launcher.js';
import type { SettingLimits } from './settingLimits.js';

/** All settings; a session starts with the server's. */
export interface SessionSettings {
  /** Memory of the appliance, MiB. */
  memsizeMb: number;
  /** Virtual CPUs. */
  smp: number;
  network: boolean;
  verbose: boolean;
  /** Whether trace events are sent. */
  trace: boolean;
  /** Whether to sync and unmount when the appliance is stopped. */
  autosync: boolean;
  selinux: boolean;
  /** Stored and reported only: the server's qemu always has its own process group. */
  pgroup: boolean;
  /** Stored and reported only: the kernel kills qemu when the server dies. */
  recoveryProc: boolean;
  /** Stored and reported only: console output is always sent as events. */
  direct: boolean;
  identifier: string;
  program: string;
  append: string | undefined;
  /** Search path of appliances. */
  path: string;
  /** qemu binary; undefined: the default one. */
  hv: string | undefined;
  tmpdir: string;
  cachedir: string;
  backend: string;
  /** These can force an accelerator: see {@link acceleratorOf} in backendSettings.ts. */
  backendSettings: readonly string[];
  /** The server's default accelerator. */
  accelerator: AcceleratorChoice;
  /** Time limit for a launch, milliseconds. */
  launchTimeoutMs: number;
  /** Additional arguments of qemu. */
  extraQemuArguments: readonly (readonly [string, string | undefined])[];
  /** Limits for what clients can set; undefined: only those of qemu. */
  readonly limits?: SettingLimits;
}
