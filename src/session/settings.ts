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
  /** Trace events are sent. */
  trace: boolean;
  /** Sync and unmount when the appliance is stopped. */
  autosync: boolean;
  selinux: boolean;
  /** Kept and reported only: the server's qemu is always in a process group of its own. */
  pgroup: boolean;
  /** Kept and reported only: the kernel kills qemu when the server dies. */
  recoveryProc: boolean;
  /** Kept and reported only: the console always comes as events. */
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
  /** They can force an accelerator: see {@link acceleratorOf} in backendSettings.ts. */
  backendSettings: readonly string[];
  /** What the server was started with. */
  accelerator: AcceleratorChoice;
  /** Limit of a launch, milliseconds. */
  launchTimeoutMs: number;
  /** More arguments of qemu. */
  extraQemuArguments: readonly (readonly [string, string | undefined])[];
  /** What clients can set at most; undefined: what qemu can do. */
  readonly limits?: SettingLimits;
}
