/** Actions: reading the systemd journal */
import type { ActionDef } from '../types.js';
import { daemon, int64, library, none, pathname, returnsBool, returnsInt64, structs } from '../constructors.js';

export const journalActions: readonly ActionDef[] = [
  daemon({
    name: 'journal_close',
    procedure: 405,
    since: '1.23.11',
    optionalGroup: 'journal',
    returns: none,
    summary: 'Closes the systemd journal open in this session',
    description: 'It is an error if no journal is open.',
    openedBy: 'journal_open',
  }),
  library({
    name: 'journal_get',
    since: '1.23.11',
    optionalGroup: 'journal',
    mutating: false,
    returns: structs('fields', 'xattr'),
    summary: 'Returns every field of the entry at the reading position',
    description:
      'Each field has a name and a value of raw bytes, which may be cut at the data threshold. Call `journal_next` at least once before. The reading position does not move.',
    openedBy: 'journal_open',
  }),
  daemon({
    name: 'journal_get_data_threshold',
    procedure: 409,
    since: '1.23.11',
    optionalGroup: 'journal',
    mutating: false,
    returns: returnsInt64('threshold'),
    summary: 'Returns the size limit for journal field values',
    description: 'In bytes; 0 means no limit. Longer values may be cut when read, but need not be.',
    openedBy: 'journal_open',
  }),
  daemon({
    name: 'journal_get_realtime_usec',
    procedure: 420,
    since: '1.27.18',
    optionalGroup: 'journal',
    mutating: false,
    returns: returnsInt64('usec'),
    summary: 'Returns the wall-clock time of the entry being read',
    description: 'In microseconds since 1970 in UTC.',
    openedBy: 'journal_open',
  }),
  daemon({
    name: 'journal_next',
    procedure: 406,
    since: '1.23.11',
    optionalGroup: 'journal',
    returns: returnsBool('more'),
    summary: 'Advances the reading position by one journal entry',
    description:
      'Returns true if there is an entry to read and false when none is left. A freshly opened journal stands before its first entry, so call this before reading.',
    openedBy: 'journal_open',
  }),
  daemon({
    name: 'journal_open',
    procedure: 404,
    since: '1.23.11',
    optionalGroup: 'journal',
    args: [pathname('directory')],
    returns: none,
    summary: 'Opens the systemd journal in a guest directory',
    description:
      'A session has at most one open journal; one that was open before is closed. Reading starts before the first entry, so continue with `journal_next`.',
    example: { directory: '/var/log/journal' },
  }),
  daemon({
    name: 'journal_set_data_threshold',
    procedure: 410,
    since: '1.23.11',
    optionalGroup: 'journal',
    args: [int64('threshold')],
    returns: none,
    summary: 'Sets the size limit for journal field values',
    description:
      'In bytes; 0 removes the limit. Longer values may be cut when read, but need not be. The setting is lost when the journal is closed.',
    openedBy: 'journal_open',
    example: { threshold: '65536' },
  }),
  daemon({
    name: 'journal_skip',
    procedure: 407,
    since: '1.23.11',
    optionalGroup: 'journal',
    args: [int64('skip')],
    returns: returnsInt64('rskip'),
    summary: 'Moves several entries through the journal',
    description:
      'A positive `skip` moves towards newer entries, a negative one towards older ones. Returns how many entries were passed, never negative; fewer than requested means that an end of the journal was reached.',
    openedBy: 'journal_open',
    example: { skip: '10' },
  }),
];
