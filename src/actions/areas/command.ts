/** Actions: running commands of the guest */
import { streamedOutput } from '../alternatives.js';
import type { ActionDef } from '../types.js';
import { daemon, fileOut, none, returnsString, returnsStrings, str, strings } from '../constructors.js';

const PROGRAM = ['/bin/uname', '-a'];

export const commandActions: readonly ActionDef[] = [
  daemon({
    name: 'command',
    procedure: 50,
    since: '1.9.1',
    insteadOfLargeAnswer: streamedOutput('CommandOut'),
    args: [strings('arguments')],
    returns: returnsString('output'),
    summary: 'Runs a program of the guest and returns its output',
    description:
      'A compatible Linux guest must be mounted with everything the program needs. `arguments` holds the program and its arguments and must not be empty; no shell is involved. Returns standard output; a non-zero exit status makes the call fail with the standard error text.',
    example: { arguments: PROGRAM },
  }),
  daemon({
    name: 'command_lines',
    procedure: 51,
    since: '1.9.1',
    insteadOfLargeAnswer: streamedOutput('CommandOut'),
    args: [strings('arguments')],
    returns: returnsStrings('lines'),
    summary: 'Runs a program of the guest and returns output lines',
    description: 'Same as command, with the standard output split into a list of lines.',
    example: { arguments: PROGRAM },
  }),
  daemon({
    name: 'command_out',
    procedure: 516,
    since: '1.55.6',
    progress: true,
    cancellable: true,
    args: [strings('arguments'), fileOut('output')],
    returns: none,
    summary: 'Runs a program of the guest and streams its output',
    description: 'Same as command, but the server streams standard output, so its size is not limited.',
    example: { arguments: PROGRAM },
  }),
  daemon({
    name: 'sh',
    procedure: 111,
    since: '1.0.50',
    insteadOfLargeAnswer: streamedOutput('ShOut'),
    args: [str('command')],
    returns: returnsString('output'),
    summary: 'Runs a shell command inside the guest and returns its output',
    description:
      'The text is run by /bin/sh of the guest, so wildcards, variables and pipes work as in that shell. A guest root filesystem with a matching processor type must be mounted; the programs are untrusted guest code running in the appliance. The call fails if the command exits with an error, and the output size is limited: use sh_out for more.',
    example: { command: 'uname -a' },
  }),
  daemon({
    name: 'sh_lines',
    procedure: 112,
    since: '1.0.50',
    insteadOfLargeAnswer: streamedOutput('ShOut'),
    args: [str('command')],
    returns: returnsStrings('lines'),
    summary: 'Runs a shell command inside the guest and returns output lines',
    description: 'Works like sh, with the output split into lines.',
    example: { command: 'uname -a' },
  }),
  daemon({
    name: 'sh_out',
    procedure: 517,
    since: '1.55.6',
    args: [str('command'), fileOut('output')],
    returns: none,
    summary: 'Runs a shell command inside the guest and streams its output',
    description: 'Works like sh, but the server streams the output, so its size is not limited.',
    example: { command: 'uname -a' },
  }),
];
