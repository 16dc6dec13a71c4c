/** Actions: deleted files, raw blocks and pattern scans */
import type { ActionDef } from '../types.js';
import { bool, daemon, fileIn, fileOut, int64, library, mountable, none, pathname, structs } from '../constructors.js';

const INODE = '12';

export const forensicsActions: readonly ActionDef[] = [
  daemon({
    name: 'download_blocks',
    procedure: 468,
    since: '1.33.45',
    optionalGroup: 'sleuthkit',
    progress: true,
    cancellable: true,
    mutating: false,
    args: [mountable('device'), int64('start'), int64('stop'), fileOut('filename')],
    optargs: [bool('unallocated')],
    returns: none,
    summary: 'Streams a range of filesystem data units',
    description:
      "`device` need not be mounted. `start` and `stop` count the filesystem's own data units (clusters or blocks), not bytes, and `stop` must be larger than `start`. With `unallocated` true only unused units are sent, which can hold the content of deleted files; leave it out to get every unit.",
    example: { start: '0', stop: '8' },
  }),
  daemon({
    name: 'download_inode',
    procedure: 464,
    since: '1.33.14',
    optionalGroup: 'sleuthkit',
    progress: true,
    cancellable: true,
    mutating: false,
    args: [mountable('device'), int64('inode'), fileOut('filename')],
    returns: none,
    summary: 'Streams the content of a file given its inode number',
    description:
      '`device` need not be mounted. Also works for deleted or otherwise unreachable files, as long as their data is still there.',
    example: { inode: INODE },
  }),
  library({
    name: 'filesystem_walk',
    since: '1.33.39',
    optionalGroup: 'libtsk',
    progress: true,
    cancellable: true,
    mutating: false,
    args: [mountable('device')],
    returns: structs('dirents', 'tsk_dirent'),
    summary: 'Lists every entry of a filesystem, deleted ones included',
    description:
      '`device` need not be mounted. The entries are in no particular order; sizes are in bytes, and a deleted entry may have inode 0 and size -1.',
  }),
  library({
    name: 'find_inode',
    since: '1.35.6',
    optionalGroup: 'libtsk',
    progress: true,
    cancellable: true,
    mutating: false,
    args: [mountable('device'), int64('inode')],
    returns: structs('dirents', 'tsk_dirent'),
    summary: 'Lists the filesystem entries that refer to an inode',
    description:
      '`device` need not be mounted. Deleted entries are included; the fields are the same as in filesystem_walk.',
    example: { inode: INODE },
  }),
  daemon({
    name: 'yara_destroy',
    procedure: 473,
    since: '1.37.13',
    optionalGroup: 'libyara',
    returns: none,
    summary: 'Discards the loaded Yara rules',
    description: 'Frees the memory they use in the appliance. Scanning needs a new yara_load afterwards.',
    openedBy: 'yara_load',
  }),
  daemon({
    name: 'yara_load',
    procedure: 472,
    since: '1.37.13',
    optionalGroup: 'libyara',
    progress: true,
    cancellable: true,
    args: [fileIn('filename')],
    returns: none,
    summary: 'Uploads a set of Yara rules for scanning',
    description:
      'The client uploads the rules as a stream, either as source text or compiled with yarac; rules in source form cannot include other files. Rules loaded earlier are replaced.',
    exampleFile: Buffer.from('rule hello { strings: $text = "hello" condition: $text }\n'),
  }),
  library({
    name: 'yara_scan',
    since: '1.37.13',
    optionalGroup: 'libyara',
    progress: true,
    cancellable: true,
    mutating: false,
    args: [pathname('path')],
    returns: structs('detections', 'yara_detection'),
    summary: 'Scans a file with Yara rules loaded earlier',
    description:
      'Returns one entry per matching rule, holding the path of the file and the rule name; an empty list means no match. Fails if no rules were loaded with yara_load.',
    openedBy: 'yara_load',
  }),
];
