/** Actions: watching files in the guest */
import type { ActionDef } from '../types.js';
import { daemon, int, none, pathname, returnsInt64, returnsStrings, structs } from '../constructors.js';

export const inotifyActions: readonly ActionDef[] = [
  daemon({
    name: 'inotify_add_watch',
    procedure: 180,
    since: '1.0.66',
    optionalGroup: 'inotify',
    args: [pathname('path'), int('mask')],
    returns: returnsInt64('wd'),
    summary: 'Starts watching a file or directory for events',
    description:
      '`mask` is a bit set of Linux IN_* event values. Watching a directory covers its direct entries but not subdirectories. Returns the watch number that appears in events and that `inotify_rm_watch` takes; `inotify_init` must come first.',
    openedBy: 'inotify_init',
    example: { path: '/etc', mask: 4095 },
  }),
  daemon({
    name: 'inotify_close',
    procedure: 184,
    since: '1.0.66',
    optionalGroup: 'inotify',
    returns: none,
    summary: 'Ends event watching and drops all watches',
    description: 'Events not yet read are discarded. It is an error if `inotify_init` was not called.',
    openedBy: 'inotify_init',
  }),
  daemon({
    name: 'inotify_files',
    procedure: 183,
    since: '1.0.66',
    optionalGroup: 'inotify',
    returns: returnsStrings('paths'),
    summary: 'Returns the names touched since the last read',
    description:
      'Takes all waiting events off the queue and returns their names, sorted and without repeats. Names are relative to the watched directory.',
    openedBy: 'inotify_init',
  }),
  daemon({
    name: 'inotify_init',
    procedure: 179,
    since: '1.0.66',
    optionalGroup: 'inotify',
    args: [int('maxevents')],
    returns: none,
    summary: 'Starts event watching in this session',
    description:
      '`maxevents` limits how many events wait between two reads; 0 keeps the current limit. Once the queue is full, further events are lost and an overflow event marks the gap. An earlier event queue in this session is closed first, and a filesystem must be mounted on `/`.',
    example: { maxevents: 1000 },
  }),
  daemon({
    name: 'inotify_read',
    procedure: 182,
    since: '1.0.66',
    optionalGroup: 'inotify',
    returns: structs('events', 'inotify_event'),
    summary: 'Returns waiting events and removes them from the queue',
    description:
      'The list is empty when nothing happened. One answer has a size limit, so call again until the list is empty to get everything. Each event has the watch number, the event bits, a number linking the two halves of a rename, and a name that may be empty.',
    openedBy: 'inotify_init',
  }),
  daemon({
    name: 'inotify_rm_watch',
    procedure: 181,
    since: '1.0.66',
    optionalGroup: 'inotify',
    args: [int('wd')],
    returns: none,
    summary: 'Stops one watch',
    description: '`wd` is the number that `inotify_add_watch` returned.',
    openedBy: 'inotify_init',
    example: { wd: 1 },
  }),
];
