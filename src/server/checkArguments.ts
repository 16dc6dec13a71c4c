/** Checks of arguments that apply to every action. */
import type { ActionDef } from '../actions/types.js';
import { badArgument } from '../common/errors.js';
import { printable } from '../common/guestText.js';

function checkString(field: string, value: unknown): void {
  if (typeof value === 'string' && value.includes('\0')) throw badArgument(field, 'must not contain a NUL character');
}

/** The form that libguestfs accepts (lib/guid.c): with or without braces, and not only hexadecimal. */
const GUID = /^(\{(?=.{36}\}$))?[A-Za-z0-9]{8}(-[A-Za-z0-9]{4}){3}-[A-Za-z0-9]{12}\}?$/;

/** Checks that the C library makes before it calls the daemon; the daemon relies on them. */
function checkKind({ name, kind }: { readonly name: string; readonly kind: string }, value: string): void {
  if (kind === 'guid' && !(GUID.test(value) && value.startsWith('{') === value.endsWith('}')))
    throw badArgument(name, 'parameter is not a valid GUID');
  if (kind === 'filename' && value.includes('/')) throw badArgument(name, `'${printable(value)}' is not a file name`);
}

/**
 * Checks what the daemon relies on without checking it, or checks too late: it answers the call of an upload without
 * reading the file, and takes the file for calls.
 */
function checkValue(
  { name, notNegative, values }: ActionDef['optargs'][number] | ActionDef['args'][number],
  value: unknown,
): void {
  const isNumber = typeof value === 'number' || typeof value === 'bigint';
  if (notNegative === true && isNumber && value < 0) throw badArgument(name, 'must not be negative');
  if (values !== undefined && typeof value === 'string' && !values.includes(value))
    throw badArgument(name, `'${printable(value)}' is not one of ${values.join(', ')}`);
}

/**
 * Rejects what the C API cannot express (strings that contain NUL), what the C library rejects itself, and what the
 * daemon mishandles.
 * @throws GuestfsError BAD_ARGUMENT naming the field
 */
export function checkArguments(action: ActionDef, request: object): void {
  for (const argument of action.args) {
    if (!('kind' in argument)) continue;
    const value = (request as Readonly<Record<string, string | readonly string[] | undefined>>)[argument.name];
    for (const one of value === undefined ? [] : [value].flat()) checkKind(argument, one);
  }
  for (const argument of [...action.args, ...action.optargs]) {
    const { name, type } = argument;
    const value = (request as Readonly<Record<string, unknown>>)[name];
    checkValue(argument, value);
    if (type === 'string' || type === 'opt_string' || type === 'pointer') checkString(name, value);
    if (type !== 'string_list' || value === undefined) continue;
    const values = Array.isArray(value) ? (value as unknown[]) : (value as { values: unknown[] }).values;
    values.forEach((one, index) => checkString(`${name}[${index}]`, one));
  }
}
