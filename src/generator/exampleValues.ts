/** Requests of the examples in the reference: the record's own arguments, and the example guest's for the others. */
import { BYTES, DIRECTORIES, VALUES_BY_KIND, VALUES_BY_NAME } from '../actions/exampleGuest.js';
import { isFileIn } from '../actions/shape.js';
import type { ActionDef, ArgumentDef, ExampleArguments, ExampleValue } from '../actions/types.js';
import { fieldArguments } from './shape.js';

/** Examples do not modify the disk that the guest itself is on. */
function deviceFor({ mutating }: ActionDef, { wholeDisk }: ArgumentDef): string {
  const disk = mutating ? '/dev/sdb' : '/dev/sda';
  return wholeDisk ? disk : `${disk}1`;
}

function defaultOf(action: ActionDef, argument: ArgumentDef): ExampleValue | undefined {
  const { name } = argument;
  const kind = 'kind' in argument ? argument.kind : 'plain';
  if (kind === 'pathname' && name in DIRECTORIES) return DIRECTORIES[name];
  if ((kind === 'device' || kind === 'mountable') && argument.type === 'string') return deviceFor(action, argument);
  if (name in VALUES_BY_NAME) return VALUES_BY_NAME[name];
  if (argument.type === 'buffer') return BYTES;
  return argument.type === 'string' ? VALUES_BY_KIND[kind] : undefined;
}

/**
 * Arguments of an action in protobuf's JSON: all required ones, and those optional ones without which the
 * call would be pointless.
 * @throws Error for an argument without a value
 */
export function exampleRequest(action: ActionDef): ExampleArguments {
  const own = action.example ?? {};
  const names = [...fieldArguments(action), ...action.optargs].map(({ name }) => name);
  const unknown = Object.keys(own).filter((name) => !names.includes(name));
  if (unknown.length > 0)
    throw new Error(`the example of ${action.name} has ${unknown.join(' and ')}, which the action does not have`);
  const values = fieldArguments(action).map((argument) => {
    const value = own[argument.name] ?? (argument.type === 'opt_string' ? undefined : defaultOf(action, argument));
    if (value === undefined && argument.type !== 'opt_string')
      throw new Error(`the example of ${action.name} has no value for ${argument.name}`);
    return [argument.name, value] as const;
  });
  const optional = action.optargs.map(({ name }) => [name, own[name]] as const);
  return Object.fromEntries(
    [...values, ...optional].filter((entry): entry is [string, ExampleValue] => entry[1] !== undefined),
  );
}

/** The file that the example of an action sends. */
export function exampleFile(action: ActionDef): Buffer {
  if (!isFileIn(action)) throw new Error(`${action.name} takes no file`);
  return action.exampleFile ?? Buffer.from('hello\n');
}
