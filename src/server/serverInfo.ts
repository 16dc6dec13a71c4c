/** GetServerInfo: what clients can know about this server. */
import { Accelerator, type GetServerInfoResponse } from '../../gen/proto/guestfs/v1/session.js';
import { SERVER_VERSION } from '../common/version.js';
import { PROTOCOL_VERSION } from '../protocol/constants.js';
import type { Accelerator as MachineAccelerator } from '../qemu/accelerator.js';
import type { SessionRegistry } from '../session/sessionRegistry.js';
import type { SettingLimits } from '../session/settingLimits.js';
import { toDuration } from './durations.js';

/** What sessions with default settings are launched with, as far as it is known. */
export interface LaunchFacts {
  readonly accelerator?: MachineAccelerator | undefined;
  readonly daemonVersion?: string | undefined;
  readonly kernelVersion?: string | undefined;
  readonly qemuVersion?: string | undefined;
}

export interface ServerInfo {
  readonly replica: string;
  readonly startTime: Date;
  readonly launch: LaunchFacts;
  readonly settings: SettingLimits | undefined;
  readonly sessionsPerClient: number | undefined;
  /** Bytes. */
  readonly requestMemory: number;
  readonly callsPerClient: number;
}

const ACCELERATORS = { kvm: Accelerator.KVM, tcg: Accelerator.TCG } as const;

/** The answer. */
export function describeServer(info: ServerInfo, registry: SessionRegistry, endpoint: string): GetServerInfoResponse {
  const { replica, startTime, launch, settings } = info;
  return {
    server_version: SERVER_VERSION,
    replica,
    endpoint,
    protocol_version: PROTOCOL_VERSION,
    daemon_version: launch.daemonVersion ?? '',
    kernel_version: launch.kernelVersion ?? '',
    qemu_version: launch.qemuVersion ?? '',
    accelerator: launch.accelerator === undefined ? Accelerator.UNSPECIFIED : ACCELERATORS[launch.accelerator],
    limits: {
      sessions: registry.limit,
      sessions_per_client: info.sessionsPerClient,
      memsize: settings?.memsizeMb,
      smp: settings?.smp,
      idle_timeout: settings?.idleTimeoutMs === undefined ? undefined : toDuration(settings.idleTimeoutMs),
      request_memory: BigInt(info.requestMemory),
      calls_per_client: info.callsPerClient,
    },
    sessions: registry.size,
    free_places: registry.freePlaces,
    draining: registry.isDraining,
    start_time: startTime,
  };
}
