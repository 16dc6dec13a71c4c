/** Rules for the action list; each failure names the action. */
import { allActions, areas } from '../actions/areas.js';
import { isFileIn, isStreamedAnswer, needsDaemon } from '../actions/shape.js';
import { structs } from '../actions/structs.js';
import type { ActionDef } from '../actions/types.js';
import { pascalCase } from '../actions/names.js';
import { fullDescription } from './shape.js';

/** The bitmask of the optional arguments has 64 bits; the library leaves the last one free. */
const MAX_OPTIONAL_ARGUMENTS = 63;
const SUMMARY_MAX = 90;

function problemsOf(action: ActionDef): string[] {
  const problems: string[] = [];
  const rule = (holds: boolean, text: string): void => void (holds || problems.push(`${action.name}: ${text}`));
  rule(/^[a-z][a-zA-Z0-9]*(_[a-zA-Z0-9]+)*$/.test(action.name), 'not a libguestfs name');
  rule(
    (action.impl === 'daemon') === action.procedure > 0,
    'a daemon action has a procedure number, a library action has none',
  );
  rule(!(action.configOnly && needsDaemon(action)), 'an action that needs the daemon cannot be for state CONFIG only');
  rule(
    action.impl === 'library' || !(action.readyOnly || action.permissions || action.notOverNetwork),
    'a daemon action needs state READY, no permission, and works over a network',
  );
  rule(
    !isFileIn(action) || !(action.permissions ?? []).some(({ when }) => typeof when === 'object'),
    'a permission that depends on the request of a client stream, which has not arrived when permissions are checked',
  );
  rule(action.impl === 'daemon' || !action.promisesDurability, 'a promise that only a turn with the daemon can keep');
  rule(
    action.afterwards !== 'is it writable' ||
      ['mountable', 'mountpoint'].every((wanted) => action.args.some(({ name }) => name === wanted)),
    'mounts, but has no `mountable` or no `mountpoint`',
  );
  rule(action.impl === 'daemon' || !action.afterwards, 'examined afterwards, but not by the daemon');
  rule(!(action.configOnly && action.readyOnly), 'for one state only, and for another only');
  rule(!(action.replacedBy && !action.deprecated), 'replacedBy without deprecated');
  rule(
    !action.replacedBy || allActions.some((other) => other.name === action.replacedBy),
    `no action ${action.replacedBy ?? ''}`,
  );
  rule(
    !action.openedBy || allActions.some((other) => other.name === action.openedBy),
    `no action ${action.openedBy ?? ''}`,
  );
  rule(!action.onceHadNoOptargs || action.optargs.length > 0, 'onceHadNoOptargs, but it has none');
  rule(!action.exampleFile || isFileIn(action), 'a file for the example, but the action takes none');
  rule(action.optargs.length <= MAX_OPTIONAL_ARGUMENTS, `more than ${MAX_OPTIONAL_ARGUMENTS} optional arguments`);
  rule(
    /^[A-Z]/.test(action.summary) && !action.summary.endsWith('.'),
    'the summary starts with a capital and ends without a full stop',
  );
  rule(action.summary.length <= SUMMARY_MAX, `the summary is longer than ${SUMMARY_MAX} characters`);
  rule(
    ![fullDescription(action), action.summary, ...[...action.args, ...action.optargs].map(({ about = '' }) => about)]
      .join()
      .includes('$'),
    'a dollar sign in a text: generators of gRPC for C++, PHP and Ruby abort on it',
  );
  rule(/^\d+\.\d+\.\d+$/.test(action.since), 'since is not a version');
  const names = [...action.args, ...action.optargs, ...(action.ownFields ?? [])].map(({ name }) => name);
  rule(action.ownFields === undefined || action.impl === 'library', 'fields that the daemon does not have');
  rule(new Set(names).size === names.length, 'two arguments with the same name');
  const files = action.args.filter(
    (argument) => argument.type === 'string' && (argument.kind === 'filein' || argument.kind === 'fileout'),
  );
  rule(files.length <= 1, 'more than one streamed file');
  rule(!files.length || action.returns.type === 'err', 'a streamed file and a value');
  rule(!isStreamedAnswer(action) || action.returns.type.endsWith('_list'), 'answered in batches, but not a list');
  const { returns } = action;
  rule(!('struct' in returns) || structs.some((struct) => struct.name === returns.struct), 'returns an unknown struct');
  return problems;
}

function duplicates(values: readonly (string | number)[], what: string): string[] {
  return values
    .filter((value, index) => values.indexOf(value) !== index)
    .map((value) => `${what} ${value} is used twice`);
}

/** All violations of the rules. */
export function checkActions(): string[] {
  return [
    ...allActions.flatMap(problemsOf),
    ...duplicates(
      allActions.map((action) => action.name),
      'action',
    ),
    ...duplicates(
      [
        ...allActions.map((action) => pascalCase(action.name)),
        ...areas.flatMap(({ compositeRpcs = [] }) => compositeRpcs.map(({ name }) => name)),
      ],
      'RPC',
    ),
    ...duplicates(
      allActions.map((action) => action.procedure).filter((procedure) => procedure > 0),
      'procedure',
    ),
    ...areas
      .filter((area) => area.service === undefined && area.actions.some((action) => action.visibility !== 'internal'))
      .map((area) => `${area.name}: public actions without a service`),
  ];
}
