/** Actions: Linux MD arrays */
import type { ActionDef } from '../types.js';
import {
  daemon,
  device,
  hashtable,
  int,
  int64,
  none,
  optional,
  returnsStrings,
  str,
  strings,
  structs,
} from '../constructors.js';
import { DISK } from '../exampleGuest.js';

const ARRAY = '/dev/md127';

export const raidActions: readonly ActionDef[] = [
  daemon({
    name: 'list_md_devices',
    procedure: 300,
    since: '1.15.4',
    mutating: false,
    returns: returnsStrings('devices', 'device'),
    summary: 'Lists the Linux software RAID devices',
    description: 'Names have the form `/dev/md0`. Only arrays that have been started are listed.',
  }),
  daemon({
    name: 'md_create',
    procedure: 299,
    since: '1.15.6',
    optionalGroup: 'mdadm',
    args: [str('name'), strings('devices', 'device')],
    optargs: [int64('missingbitmap'), int('nrdevices'), int('spare'), int64('chunk'), optional('level')],
    returns: none,
    summary: 'Creates a Linux software RAID array',
    description:
      'The data on `devices` is lost. `level` defaults to `raid1`, `spare` to 0, and `nrdevices` (active members, at least 2) to all devices plus the missing ones; bit n of `missingbitmap` leaves position n empty. `chunk` is in bytes, a multiple of 1024, and must not be given for `raid1`.',
    example: { name: 'array', devices: [DISK, '/dev/sdc'] },
  }),
  daemon({
    name: 'md_detail',
    procedure: 301,
    since: '1.15.6',
    optionalGroup: 'mdadm',
    mutating: false,
    args: [device('md')],
    returns: hashtable('info'),
    summary: 'Returns descriptive data about a software RAID array',
    description: 'Usual keys are `level`, `devices`, `metadata`, `uuid` and `name`; all values are text.',
    example: { md: ARRAY },
  }),
  daemon({
    name: 'md_stat',
    procedure: 316,
    since: '1.17.21',
    optionalGroup: 'mdadm',
    mutating: false,
    args: [device('md')],
    returns: structs('devices', 'mdstat'),
    summary: 'Returns the member devices of a software RAID array',
    description:
      'Each entry has the device, its position, and flag letters: `F` faulty, `S` spare, `W` write-mostly, `R` replacement.',
    example: { md: ARRAY },
  }),
  daemon({
    name: 'md_stop',
    procedure: 302,
    since: '1.15.6',
    optionalGroup: 'mdadm',
    args: [device('md')],
    returns: none,
    summary: 'Stops a software RAID array',
    description: "The array's device is removed, but the data on its members remains.",
    example: { md: ARRAY },
  }),
];
