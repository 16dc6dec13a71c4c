/** A session, its events, and a disk image that it makes itself. */
import { DriveServiceService } from '../../gen/proto/guestfs/v1/drive.js';
import { EventServiceService, EventType } from '../../gen/proto/guestfs/v1/event.js';
import { SessionServiceService } from '../../gen/proto/guestfs/v1/session.js';
import { subscribe } from '../client/eventFeed.js';
import { EventTicker } from '../eventTicker.js';
import type { Guide } from '../guide.js';
import { bytes } from '../terminal/format.js';

const IMAGE_NAME = 'disk.img';
export const IMAGE_SIZE = 1024n * 1024n * 1024n;

export async function session(guide: Guide): Promise<void> {
  const { out, root } = guide;
  const { id } = await guide.tell(
    SessionServiceService.createSession,
    () =>
      root.call(SessionServiceService.createSession, {
        drives: [],
        settings: undefined,
        launch: false,
        idle_timeout: undefined,
        labels: new Map([['purpose', 'tour']]),
      }),
    (created) => `session ${created.id}`,
  );
  const client = root.inSession(id);
  const events = new EventTicker(out);
  guide.session = { id, client, events };
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
  await guide.tell(
    EventServiceService.subscribe,
    () => subscribe(client, types, (event) => events.handle(event)),
    'its events are printed beside the calls, with ┊',
  );
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

/** Where the image is. */
export function imagePath(guide: Guide): string {
  return guide.workspace.path('images', IMAGE_NAME);
}
