/** A set of related calls. */
import { fieldArguments } from '../../../src/generator/shape.js';
import { actionOf, type Argument, type Call } from '../call.js';
import type { Random } from '../random.js';

export interface Domain {
  readonly name: string;
  /** Brings both sides to the same initial state after any sequence; may fail if there is nothing to do. */
  readonly beginning: readonly Call[];
  /** Succeeds if that worked; otherwise the handles are reopened. */
  readonly begun?: Call;
  /** False: each sequence has new handles, which are not launched; true by default. */
  readonly launched?: boolean;
  /** One call, which may be valid or invalid. */
  call(random: Random): Call;
}

/**
 * Makes a call with its arguments by name.
 * @throws Error if they are not those of the action
 */
export function make(name: string, args: Readonly<Record<string, Argument>> = {}, file?: Buffer): Call {
  const action = actionOf({ name });
  const required = fieldArguments(action).map((argument) => argument.name);
  const wrong = [
    ...required.filter((one) => !(one in args)),
    ...Object.keys(args).filter(
      (one) => !required.includes(one) && !action.optargs.some((argument) => argument.name === one),
    ),
  ];
  if (wrong.length > 0) throw new Error(`${name}: wrong arguments ${wrong.join(', ')}; it has ${required.join(', ')}`);
  return file === undefined ? { name, args } : { name, args, file: file.toString('base64') };
}

/** Optional arguments, each set half of the time. */
export function sometimes(random: Random, args: Readonly<Record<string, Argument>>): Record<string, Argument> {
  return Object.fromEntries(Object.entries(args).filter(() => random.chance(0.5)));
}

/** The initial state of every domain: nothing is mounted or active, and both drives are empty. */
export const CLEARED: readonly Call[] = [
  make('umount_all'),
  ...['/dev/sda1', '/dev/sdb'].map((device) => make('swapoff_device', { device })),
  make('lvm_remove_all'),
  ...['/dev/sda', '/dev/sdb'].map((device) => make('zero', { device })),
  ...['/dev/sda', '/dev/sdb'].map((device) => make('blockdev_rereadpt', { device })),
  make('umask', { mask: 0o22 }),
];
