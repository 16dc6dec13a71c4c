/** Checks of arguments that hold for every action. */
import type { ActionDef } from '../actions/types.js';
import { badArgument } from '../common/errors.js';

function checkString(field: string, value: unknown): void {
  if (typeof value === 'string' && value.includes('\0')) throw badArgument(field, 'must not contain a NUL character');
}

/**
 * What the C library cannot even be given: strings with a NUL in them.
 * @throws GuestfsError BAD_ARGUMENT naming the field
 */
export function checkArguments(action: ActionDef, request: object): void {
  for (const { name, type } of [...action.args, ...action.optargs]) {
    const value = (request as Readonly<Record<string, unknown>>)[name];
    if (type === 'string' || type === 'opt_string' || type === 'pointer') checkString(name, value);
    if (type !== 'string_list' || value === undefined) continue;
    const values = Array.isArray(value) ? (value as unknown[]) : (value as { values: unknown[] }).values;
    values.forEach((one, index) => checkString(`${name}[${index}]`, one));
  }
}
