/** Small constructors that keep the records of the action list short. */
import type {
  AbsentPath,
  ActionDef,
  ArgumentDef,
  ExampleValue,
  OptionalArgumentDef,
  ReturnDef,
  StringKind,
} from './types.js';

type Defaulted = 'args' | 'optargs' | 'impl' | 'visibility' | 'mutating' | 'description';
type Given<Without extends keyof ActionDef = never> = Omit<ActionDef, Defaulted | keyof WithExample | Without> &
  Partial<Pick<ActionDef, Exclude<Defaulted, 'impl' | keyof WithExample>>>;

/** Arguments, and an example that can name no others. */
interface WithExample<
  Args extends readonly ArgumentDef[] = readonly ArgumentDef[],
  Optargs extends readonly OptionalArgumentDef[] = readonly OptionalArgumentDef[],
> {
  readonly args?: Args;
  readonly optargs?: Optargs;
  readonly example?: { readonly [Name in (Args | Optargs)[number]['name']]?: ExampleValue };
}

const defaults = { args: [], optargs: [], visibility: 'public', mutating: true, description: '' } as const;

/** A daemon action: guestfsd executes it. */
export function daemon<
  const Args extends readonly ArgumentDef[] = readonly [],
  const Optargs extends readonly OptionalArgumentDef[] = readonly [],
>(
  action: Given<'configOnly' | 'readyOnly' | 'notLaunching' | 'permissions' | 'notOverNetwork' | 'usesDaemon'> &
    WithExample<Args, Optargs>,
): ActionDef {
  return { ...defaults, ...action, impl: 'daemon' };
}

/** A library-side action: the server implements it. */
export function library<
  const Args extends readonly ArgumentDef[] = readonly [],
  const Optargs extends readonly OptionalArgumentDef[] = readonly [],
>(action: Given<'procedure' | 'largeAnswerText' | 'mayNotAnswer'> & WithExample<Args, Optargs>): ActionDef {
  return { ...defaults, ...action, procedure: 0, impl: 'library' };
}

const stringOf =
  <Kind extends StringKind>(kind: Kind) =>
  <Name extends string>(name: Name) =>
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
export function disk<Name extends string>(name: Name) {
  return { ...device(name), wholeDisk: true } as const;
}

/** List of strings, all of one kind. */
export function strings<Name extends string>(
  name: Name,
  kind: Extract<ArgumentDef, { type: 'string_list' }>['kind'] = 'plain',
) {
  return { type: 'string_list', kind, name } as const;
}

const named =
  <Type extends string>(type: Type) =>
  <Name extends string>(name: Name) =>
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
export function since<Argument extends OptionalArgumentDef>(version: string, argument: Argument): Argument {
  return { ...argument, since: version };
}

/** An argument with a description for its field's comment. */
export function described<Argument extends ArgumentDef | OptionalArgumentDef>(
  about: string,
  argument: Argument,
): Argument {
  return { ...argument, about };
}

/** A secret argument that libguestfs does not declare as a key. */
export function secret<Argument extends ArgumentDef | OptionalArgumentDef>(argument: Argument): Argument {
  return { ...argument, secret: true };
}

/** A number that must not be negative. */
export function notNegative<Argument extends ArgumentDef | OptionalArgumentDef>(argument: Argument): Argument {
  return { ...argument, notNegative: true };
}

/** A string that must be one of these. */
export function oneOf<Argument extends ArgumentDef | OptionalArgumentDef>(
  values: readonly string[],
  argument: Argument,
): Argument {
  return { ...argument, values };
}

/** An argument that is a path on the server. */
export function onServer<Argument extends ArgumentDef | OptionalArgumentDef>(argument: Argument): Argument {
  return { ...argument, onServer: true };
}

type PathArgument = ArgumentDef & {
  readonly kind: 'pathname' | 'dev_or_path' | 'mountable_or_path';
};
type DeviceArgument = ArgumentDef & { readonly kind: 'device' | 'mountable' | 'dev_or_path' | 'mountable_or_path' };

/** An argument that names a drive, and is not a path on the server. */
export function namesDrive<Argument extends ArgumentDef>(argument: Argument): Argument {
  return { ...argument, namesDrive: true };
}

/** A path for which ENOENT is not what happens if it does not exist. */
export function ifAbsent<Argument extends PathArgument>(what: AbsentPath, argument: Argument): Argument {
  return { ...argument, ifAbsent: what };
}

/** A device that need not exist. */
export function notLookedFor<Argument extends DeviceArgument>(argument: Argument): Argument {
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
