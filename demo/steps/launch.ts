/** Starts the appliance. */
import { ApplianceServiceService } from '../../gen/proto/guestfs/v1/appliance.js';
import {
  Accelerator,
  LaunchKind,
  SessionServiceService,
  type LaunchTimings,
} from '../../gen/proto/guestfs/v1/session.js';
import type { Guide } from '../guide.js';
import { seconds } from '../terminal/format.js';

export async function launch(guide: Guide): Promise<void> {
  await guide.tell(
    ApplianceServiceService.launch,
    () => guide.session.call(ApplianceServiceService.launch, {}),
    '',
    () => guide.current?.events.console ?? '',
  );
  await guide.tell(
    SessionServiceService.getSession,
    () => guide.session.describe(),
    (session) => {
      const kind = `${LaunchKind[session.launch_kind].toLowerCase()} launch on ${Accelerator[session.accelerator]}, daemon ${session.daemon_version}`;
      return session.launch_timings === undefined ? kind : `${kind}\n${timings(session.launch_timings)}`;
    },
  );
}

function timings(steps: LaunchTimings): string {
  const named = (['prepare', 'drives', 'qemu', 'boot', 'total'] as const).flatMap((name) => {
    const duration = steps[name];
    return duration === undefined ? [] : [`${name} ${seconds(Number(duration.seconds) * 1000 + duration.nanos / 1e6)}`];
  });
  return named.join(', ');
}
