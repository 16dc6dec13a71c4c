/** Small constructors that keep the records of the action list short. */
import type { AbsentPath, ActionDef, ArgumentDef, OptionalArgumentDef, ReturnDef, StringKind } from './types.js';

type Defaulted = 'args' | 'optargs' | 'impl' | 'visibility' | 'mutating' | 'description';
type Given<Without extends keyof ActionDef = never> = Omit<ActionDef, Defaulted | Without> &
  Partial<Pick<ActionDef, Exclude<Defaulted, 'impl'>>>;

const defaults = { args: [], optargs: [], visibility: 'public', mutating: true, description: '' } as const;

/** An action that guestfsd does. */
export function daemon(
  action: Given<'configOnly' | 'readyOnly' | 'notLaunching' | 'permissions' | 'notOverNetwork' | 'usesDaemon'>,
): ActionDef {
  return { ...defaults, ...action, impl: 'daemon' };
}

/** An action that is done on the library's side, here: by the server. */
export function library(action: Given<'procedure' | 'largeAnswerText' | 'mayNotAnswer'>): ActionDef {
  return { ...defaults, ...action, procedure: 0, impl: 'library' };
}

const stringOf =
  <Kind extends StringKind>(kind: Kind) =>
  (name: string) =>
    ({ type: 'string', kind, name }) as const;

export const str = stringOf('plain');
export const pathname = stringOf('pathname');
export const filename = stringOf('filename');
export const device = stringOf('device');
export const mountable = stringOf('mountable');
export const devOrPath = stringOf('dev_or_path');
export const mountableOrPath = stringOf('mountable_or_path');
export const key = stringOf('key');
export const guid = stringOf('guid');
export const fileIn = stringOf('filein');
export const fileOut = stringOf('fileout');

/** A device that is a whole disk. */
export function disk(name: string): ArgumentDef {
  return { ...device(name), wholeDisk: true };
}

/** List of strings, all of one kind. */
export function strings(
  name: string,
  kind: Extract<ArgumentDef, { type: 'string_list' }>['kind'] = 'plain',
): ArgumentDef {
  return { type: 'string_list', kind, name };
}

const named =
  <Type extends string>(type: Type) =>
  (name: string) =>
    ({ type, name }) as const;

/** Required argument that may be null. */
export const optStr = named('opt_string');
export const buffer = named('buffer');
export const pointer = named('pointer');
/** Required or optional. */
export const bool = named('bool');
export const int = named('int');
export const int64 = named('int64');
/** Optional string. */
export const optional = named('string');
/** Optional list of strings: unset and empty differ. */
export const optionalStrings = named('string_list');

/** An optional argument that came later than its action. */
export function since(version: string, argument: OptionalArgumentDef): OptionalArgumentDef {
  return { ...argument, since: version };
}

/** An argument with what its field's comment says of it. */
export function described<Argument extends ArgumentDef | OptionalArgumentDef>(
  about: string,
  argument: Argument,
): Argument {
  return { ...argument, about };
}

/** An argument that is a secret, and no key to libguestfs. */
export function secret<Argument extends ArgumentDef | OptionalArgumentDef>(argument: Argument): Argument {
  return { ...argument, secret: true };
}

/** An argument that is a path on the server. */
export function onServer<Argument extends ArgumentDef | OptionalArgumentDef>(argument: Argument): Argument {
  return { ...argument, onServer: true };
}

/** A path for which ENOENT is not what happens if it does not exist. */
export function ifAbsent(what: AbsentPath, argument: ArgumentDef): ArgumentDef {
  return { ...argument, ifAbsent: what };
}

/** A device that need not exist. */
export function notLookedFor(argument: ArgumentDef): ArgumentDef {
  return { ...argument, notLookedFor: true };
}

/** Returns nothing but success or an error. */
export const none: ReturnDef = { type: 'err' };
export const returnsBool = named('bool');
export const returnsInt = named('int');
export const returnsInt64 = named('int64');
export const constString = named('const_string');
export const constOptString = named('const_opt_string');
export const returnsBuffer = named('buffer');

type ListedKind = Extract<ReturnDef, { type: 'string' | 'string_list' }>['kind'];

export function returnsString(name: string, kind: ListedKind = 'plain'): ReturnDef {
  return { type: 'string', kind, name };
}
export function returnsStrings(name: string, kind: ListedKind = 'plain'): ReturnDef {
  return { type: 'string_list', kind, name };
}
export function hashtable(name: string, keyKind = 'plain', valueKind = 'plain'): ReturnDef {
  return { type: 'hashtable', keyKind, valueKind, name };
}
export function struct(name: string, of: string): ReturnDef {
  return { type: 'struct', struct: of, name };
}
export function structs(name: string, of: string): ReturnDef {
  return { type: 'struct_list', struct: of, name };
}
