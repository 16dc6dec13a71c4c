/** Actions: looking into the appliance; off by default */
import type { ActionDef } from '../types.js';
import { daemon, fileIn, int, library, none, returnsString, returnsStrings, str, strings } from '../constructors.js';
import { MODE_0644, NEW } from '../exampleGuest.js';

export const debugActions: readonly ActionDef[] = [
  daemon({
    name: 'debug',
    procedure: 76,
    since: '1.0.11',
    visibility: 'debug',
    args: [str('subcmd'), strings('extraargs')],
    returns: returnsString('result'),
    summary: 'Runs a debugging subcommand in the appliance',
    description:
      'For developers only: subcommands may change or vanish at any time, and some, such as `sh` or `segv`, can alter or crash the appliance. Use `help` to list them.',
    example: { subcmd: 'help', extraargs: [] },
  }),
  library({
    name: 'debug_drives',
    since: '1.13.22',
    visibility: 'debug',
    mutating: false,
    returns: returnsStrings('cmdline'),
    summary: 'Lists the drives as recorded in the session',
    description:
      'Images have the names that the client gave them. For developers only; the format of the entries may change at any time.',
  }),
  daemon({
    name: 'debug_upload',
    procedure: 241,
    since: '1.3.5',
    visibility: 'debug',
    cancellable: true,
    args: [fileIn('filename'), str('tmpname'), int('mode')],
    returns: none,
    summary: 'Writes an uploaded stream to a file of the appliance',
    description:
      "For developers only. The client uploads a stream; `tmpname` is a path in the appliance's own filesystem, not in the guest, and `mode` holds the permission bits. An existing file is replaced.",
    example: { tmpname: NEW, mode: MODE_0644 },
  }),
  daemon({
    name: 'internal_exit',
    procedure: 414,
    since: '1.23.30',
    visibility: 'debug',
    cancellable: true,
    returns: none,
    summary: 'Stops the service program inside the appliance',
    description: 'For testing only: the session is unusable afterwards.',
  }),
];
