/** Creates a session, subscribes to its events, and creates a disk image in it. */
import { DriveServiceService } from '../../gen/proto/guestfs/v1/drive.js';
import { EventServiceService, EventType } from '../../gen/proto/guestfs/v1/event.js';
import { SessionServiceService } from '../../gen/proto/guestfs/v1/session.js';
import { EventTicker } from '../eventTicker.js';
import type { Guide } from '../guide.js';
import { bytes } from '../terminal/format.js';

const IMAGE_NAME = 'disk.img';
export const IMAGE_SIZE = 1024n * 1024n * 1024n;

export async function session(guide: Guide): Promise<void> {
  const { out, client } = guide;
  const created = await guide.tell(
    SessionServiceService.createSession,
    async () => (await client.session({ labels: { purpose: 'tour' } })).session,
    ({ id }) => `session ${id}`,
  );
  const types = [
    EventType.LAUNCH_DONE,
    EventType.SUBPROCESS_QUIT,
    EventType.CLOSE,
    EventType.APPLIANCE,
    EventType.PROGRESS,
    EventType.WARNING,
    EventType.STARTED,
    EventType.FINISHED,
  ];
  const events = await guide.tell(
    EventServiceService.subscribe,
    () => created.events(types),
    'its events are printed next to the calls, marked ┊',
  );
  const ticker = new EventTicker(out);
  guide.current = { session: created, events: ticker, eventsEnded: ticker.follow(events) };
  await guide.call(
    DriveServiceService.diskCreate,
    { filename: imagePath(guide), format: 'raw', size: IMAGE_SIZE },
    `${IMAGE_NAME}, raw, ${bytes(IMAGE_SIZE)}, empty`,
  );
  await guide.call(
    DriveServiceService.addDrive,
    { filename: imagePath(guide), format: 'raw', server: undefined },
    'will be /dev/sda, writable',
  );
}

/** Path of the image. */
export function imagePath(guide: Guide): string {
  return guide.workspace.path('images', IMAGE_NAME);
}
