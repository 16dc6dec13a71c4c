/**
 * The errors that an action can be expected to fail with, besides those of any call (docs/errors.md). Some follow from
 * the action's arguments and answer; the record states the rest.
 * test/integration/knownErrors.test.ts provokes each of them.
 */
import { isFileIn, isFileOut, isStreamedAnswer, takesAnySize } from '../actions/shape.js';
import type { AbsentPath, ActionDef, ArgumentDef, KnownError } from '../actions/types.js';

/** The oldest daemon that an appliance may have. */
const OLDEST_DAEMON = { major: 1, minor: 48 };

const STATUS: Readonly<Record<string, string>> = {
  ENOENT: 'NOT_FOUND',
  DAEMON_ERROR: 'UNKNOWN',
  ENOSPC: 'RESOURCE_EXHAUSTED',
};

const UNBOUNDED = new Set(['string', 'string_list', 'buffer', 'hashtable', 'struct_list']);

function argumentsOf(action: ActionDef, kinds: readonly string[]): readonly ArgumentDef[] {
  return action.args.filter((argument) => 'kind' in argument && kinds.includes(argument.kind));
}

const namesOf = (args: readonly ArgumentDef[]): readonly string[] => args.map(({ name }) => name);

/** Kinds of arguments that can be a path of the guest or a device of the appliance. */
const EITHER = ['dev_or_path', 'mountable_or_path'];

/** Arguments that can be paths of the guest. */
export function pathArguments(action: ActionDef): readonly string[] {
  return namesOf(argumentsOf(action, ['pathname', ...EITHER]));
}

/** Arguments that can be devices of the appliance, and whose existence the action checks. */
export function deviceArguments(action: ActionDef): readonly string[] {
  return namesOf(argumentsOf(action, ['device', 'mountable', ...EITHER]).filter(({ notLookedFor }) => !notLookedFor));
}

/** What happens if a path does not exist. */
export function absentPath(action: ActionDef, argument: string): AbsentPath {
  return action.args.find(({ name }) => name === argument)?.ifAbsent ?? 'ENOENT';
}

const list = (names: readonly string[]): string => names.map((name) => `\`${name}\``).join(' or ');

function isNewer(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > OLDEST_DAEMON.major || (major === OLDEST_DAEMON.major && minor > OLDEST_DAEMON.minor);
}

/** Errors for paths and devices that do not exist. */
function ofNames(action: ActionDef): readonly KnownError[] {
  const paths = pathArguments(action);
  const where = (absent: AbsentPath): readonly string[] => paths.filter((path) => absentPath(action, path) === absent);
  const devices = deviceArguments(action);
  const rows: readonly (readonly [reason: string, names: readonly string[], when: string])[] = [
    ['ENOENT', [...where('ENOENT'), ...devices.filter((name) => !paths.includes(name))], 'there is no'],
    ['ENOENT', where('ENOENT for its directory'), 'there is no directory for'],
    [
      'ENOENT',
      devices.filter((name) => paths.includes(name) && absentPath(action, name) !== 'ENOENT'),
      'there is no device',
    ],
    ['DAEMON_ERROR', where('DAEMON_ERROR'), 'there is no'],
    ['DAEMON_ERROR', where('DAEMON_ERROR for its directory'), 'there is no directory for'],
    ['DAEMON_ERROR', paths, 'no file system is mounted on /, or a path is not absolute:'],
  ];
  return rows
    .filter(([, names]) => names.length > 0)
    .map(([reason, names, when]) => ({ status: STATUS[reason] ?? '', reason, when: `${when} ${list(names)}` }));
}

/** Errors for daemons that are too old for the action, or for an optional argument added after it. */
function ofVersions(action: ActionDef): readonly KnownError[] {
  if (action.impl !== 'daemon') return [];
  const row = (when: string): KnownError => ({ status: 'UNIMPLEMENTED', reason: 'ACTION_NOT_IN_DAEMON', when });
  return [
    ...(isNewer(action.since) ? [row(`the daemon of the appliance is older than ${action.since}`)] : []),
    ...action.optargs
      .filter(({ since }) => since !== undefined)
      .map(({ name, since }) =>
        row(`\`${name}\` is given, and the daemon of the appliance is older than ${since ?? ''}`),
      ),
  ];
}

/** Errors of the server before it calls the daemon. */
function ofServer({ permissions = [], args, optargs, configOnly, readyOnly }: ActionDef): readonly KnownError[] {
  const paths = [...args, ...optargs].filter(({ onServer }) => onServer).map(({ name }) => name);
  return [
    ...permissions.map(({ permission, purpose }) => ({
      status: 'PERMISSION_DENIED',
      reason: 'NOT_ALLOWED',
      when: `the server runs without \`--allow ${permission}\`${purpose === undefined ? '' : `, which is needed ${purpose}`}`,
    })),
    ...(paths.length === 0
      ? []
      : [
          {
            status: 'PERMISSION_DENIED',
            reason: 'OUTSIDE_IMAGE_ROOTS',
            when: `outside the server's image roots: ${list(paths)}`,
          },
        ]),
    ...(configOnly
      ? [{ status: 'FAILED_PRECONDITION', reason: 'WRONG_STATE', when: 'the session is already launched' }]
      : []),
    ...(readyOnly
      ? [{ status: 'FAILED_PRECONDITION', reason: 'WRONG_STATE', when: 'the session is not launched' }]
      : []),
  ];
}

/** The errors of an action, the most frequent first. */
export function knownErrors(action: ActionDef): readonly KnownError[] {
  if (action.notOverNetwork !== undefined)
    return [{ status: 'UNIMPLEMENTED', reason: 'NOT_OVER_NETWORK', when: 'always' }];
  const errors: KnownError[] = [...(action.errors ?? []), ...ofNames(action)];
  const add = (status: string, reason: string, when: string): void => void errors.push({ status, reason, when });
  if (action.afterwards === 'is it writable')
    add('FAILED_PRECONDITION', 'NTFS_HIBERNATED', 'the file system is the NTFS of a hibernated Windows');
  if (action.openedBy !== undefined) add('UNKNOWN', 'DAEMON_ERROR', `\`${action.openedBy}\` was not called before`);
  const { blocks, files } = action.fullFileSystem ?? {};
  if (blocks !== undefined) add(STATUS[blocks] ?? '', blocks, 'the file system is full');
  if (files !== undefined && files !== blocks)
    add(STATUS[files] ?? '', files, 'the file system can hold no more files');
  if (action.promisesDurability) {
    add('DATA_LOSS', 'EIO', "writes to an image have failed on the server's host, now or earlier");
    add('RESOURCE_EXHAUSTED', 'ENOSPC', "... because the host's file system is full");
    add(
      'DATA_LOSS',
      'IMAGE_CHANGED',
      "an image was truncated, deleted or replaced on the server's host while attached",
    );
  }
  errors.push(...ofServer(action));
  const { insteadOfLargeAnswer: insteadOfAnswer, insteadOfLargeRequest: insteadOfRequest } = action;
  if (UNBOUNDED.has(action.returns.type) && !isStreamedAnswer(action) && !isFileOut(action)) {
    add(
      'RESOURCE_EXHAUSTED',
      'MESSAGE_TOO_LARGE',
      `the answer does not fit into one message (4 MiB)${insteadOfAnswer === undefined ? '' : `: ${insteadOfAnswer}`}`,
    );
  }
  if (takesAnySize(action)) {
    add(
      'RESOURCE_EXHAUSTED',
      'MESSAGE_TOO_LARGE',
      `the arguments take more than the server's memory for large requests (\`--request-memory\`): ${insteadOfRequest ?? ''}`,
    );
    add('RESOURCE_EXHAUSTED', 'OUT_OF_MEMORY', "other large requests use up the server's memory for them");
  } else if (insteadOfRequest !== undefined) {
    add(
      'RESOURCE_EXHAUSTED',
      'MESSAGE_TOO_LARGE',
      `the arguments do not fit into one message (${action.impl === 'daemon' ? 4 : 8} MiB): ${insteadOfRequest}`,
    );
  }
  if (isFileIn(action))
    add('CANCELLED', 'CANCELLED', 'the client ended the call before the end of the file; a partial file may remain');
  if (action.optionalGroup !== undefined)
    add(
      'UNIMPLEMENTED',
      'ENOTSUP',
      `the appliance lacks the group \`${action.optionalGroup}\`; \`feature_available\` tests for it`,
    );
  return [...errors, ...ofVersions(action)];
}
