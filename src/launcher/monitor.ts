/** Who a qemu runs as, and its monitor. */
import type { PreparedDrives } from '../images/prepareDrives.js';
import type { QemuIdentity, QemuProcess } from '../qemu/qemuProcess.js';
import type { QemuUser } from '../qemu/qemuUsers.js';
import { QmpClient } from '../qemu/qmpClient.js';
import type { LaunchGround } from './groundwork.js';
import { explainLaunchFailure } from './launchFailure.js';
import type { LaunchConfig } from './launcher.js';

/** The user with the groups that the accelerator needs. */
export function identityOf(user: QemuUser, ground: LaunchGround): QemuIdentity {
  return { uid: user.uid, gid: user.gid, groups: ground.kvmGroups };
}

/** qemu greets when all its files are open and all its devices there; what it does not like, it says before. */
export async function connectMonitor(
  qemu: QemuProcess,
  config: Pick<LaunchConfig, 'memsizeMb'>,
  ground: LaunchGround,
  drives: Pick<PreparedDrives, 'explain'> | undefined,
  signal: AbortSignal,
): Promise<QmpClient> {
  try {
    return await QmpClient.connect(qemu.monitor, signal);
  } catch {
    signal.throwIfAborted();
    const exit = await qemu.stop(1000);
    throw explainLaunchFailure({
      exit,
      qemuMessages: exit.qemuMessages,
      console: '',
      accelerator: ground.accelerator,
      memsizeMb: config.memsizeMb,
      explainDrives: (messages) => drives?.explain(messages),
    });
  }
}
