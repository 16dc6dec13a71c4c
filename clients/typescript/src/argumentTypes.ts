/** Checks, at run time, what the compiler checks for programs in TypeScript: types of arguments, and names of options. */
import { isUint8Array } from 'node:util/types';
import { clientError } from './error.js';
import { CALL_OPTIONS, type ActionCallOptions, type CallOptions } from './options.js';

/** Types of arguments, and what each is called. */
const TYPES = {
  string: 'a string of valid Unicode',
  opt_string: 'undefined or a string of valid Unicode',
  string_list: 'a list of strings of valid Unicode',
  buffer: 'bytes (a Uint8Array)',
  bool: 'a boolean',
  int: 'a number, whole, of 32 bits',
  int64: 'a bigint of 64 bits, such as 1024n',
  number: 'a number',
  list: 'a list',
  object: 'an object',
  pointer: 'a string of valid Unicode',
} as const;

/** The type of an argument. */
export type ArgumentType = keyof typeof TYPES;

/** The arguments of an action, under their names in the client. */
export interface ArgumentTypes {
  readonly required: Readonly<Record<string, ArgumentType>>;
  readonly optional?: Readonly<Record<string, ArgumentType>>;
  /** It takes options of uploads as well. */
  readonly isUpload?: true;
}

const UPLOAD_OPTIONS: Readonly<Record<string, ArgumentType>> = {
  progressHint: 'int64',
  exactSize: 'int64',
  sha256: 'buffer',
  crc32c: 'number',
};

/** Text that is valid Unicode: another becomes a different text when it is encoded. */
const isText = (value: unknown): boolean => typeof value === 'string' && value.isWellFormed();

function isOf(type: ArgumentType, value: unknown): boolean {
  switch (type) {
    case 'string':
    case 'pointer':
      return isText(value);
    case 'opt_string':
      return value === undefined || isText(value);
    case 'string_list':
      return Array.isArray(value) && value.every(isText);
    case 'buffer':
      return isUint8Array(value);
    case 'bool':
      return typeof value === 'boolean';
    case 'int':
      return typeof value === 'number' && value === (value | 0);
    case 'int64':
      return typeof value === 'bigint' && value === BigInt.asIntN(64, value);
    case 'number':
      return typeof value === 'number';
    case 'list':
      return Array.isArray(value);
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value);
  }
}

/** What a value is, without the value: it may be a secret. */
function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return 'a list';
  return `of type ${typeof value}`;
}

/**
 * Refuses an object with fields that do not exist, or have the wrong type; undefined fields are as good as none.
 * @param rpc for the error
 * @param what a field is, for the error
 * @throws GuestfsRpcError BAD_ARGUMENT
 */
export function checkFields(
  rpc: string,
  what: string,
  given: object,
  types: Readonly<Record<string, ArgumentType>>,
  { action, others = [] }: { readonly action?: string; readonly others?: readonly string[] } = {},
): void {
  const refuse = (details: string) => clientError(rpc, 'BAD_ARGUMENT', details, { action });
  if (!isOf('object', given)) throw refuse(`${what} belongs into an object, which is ${kindOf(given)}`);
  for (const [name, value] of Object.entries(given)) {
    if (others.includes(name)) continue;
    const type = Object.hasOwn(types, name) ? types[name] : undefined;
    if (type === undefined) {
      const known = [...Object.keys(types), ...others].join(', ');
      throw refuse(`${name} is not ${what}; there are ${known}`);
    }
    if (value !== undefined && !isOf(type, value))
      throw refuse(`${name} has to be ${TYPES[type]}, and is ${kindOf(value)}`);
  }
}

/**
 * Refuses arguments that the compiler would have refused.
 * @param action the libguestfs name
 * @param types those of its arguments
 * @param given the required arguments
 * @param options the optional ones, and options of the call
 * @returns the options, for the call
 * @throws GuestfsRpcError BAD_ARGUMENT
 */
export function checked<Options extends CallOptions>(
  action: string,
  { required, optional = {}, isUpload }: ArgumentTypes,
  given: readonly unknown[],
  options: Options,
): Options & ActionCallOptions {
  for (const [index, [name, type]] of Object.entries(required).entries()) {
    if (isOf(type, given[index])) continue;
    const details = `${name} has to be ${TYPES[type]}, and is ${kindOf(given[index])}`;
    throw clientError(action, 'BAD_ARGUMENT', details, { action });
  }
  const types = isUpload ? { ...optional, ...UPLOAD_OPTIONS } : optional;
  checkFields(action, `an option of ${action}`, options, types, { action, others: CALL_OPTIONS });
  return { ...options, action };
}
