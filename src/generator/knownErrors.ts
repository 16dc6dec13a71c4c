/** What an action can be expected to fail with, besides what any call can (docs/errors.md): from what is known of its arguments and its answer. */
import { insteadOfLargeAnswer, insteadOfLargeRequest } from '../actions/largeMessages.js';
import { isFileIn, isFileOut, isStreamedAnswer } from '../actions/shape.js';
import type { ActionDef, ArgumentDef } from '../actions/types.js';

/** One way to fail. */
export interface KnownError {
  /** Name of the gRPC status. */
  readonly status: string;
  /** `reason` of ErrorInfo. */
  readonly reason: string;
  readonly when: string;
}

/** The daemon that every appliance has at least. */
const OLDEST_DAEMON = { major: 1, minor: 48 };

/** What has to be called first, by the beginning of the name of actions which work on what it opened. */
const OPENED_BY: readonly { readonly prefix: string; readonly opener: string }[] = [
  { prefix: 'aug_', opener: 'aug_init' },
  { prefix: 'hivex_', opener: 'hivex_open' },
  { prefix: 'inotify_', opener: 'inotify_init' },
  { prefix: 'journal_', opener: 'journal_open' },
  { prefix: 'inspect_', opener: 'inspect_os' },
];

const UNBOUNDED = new Set(['string', 'string_list', 'buffer', 'hashtable', 'struct_list']);

function namesOf(action: ActionDef, kinds: readonly string[]): string {
  const named = (argument: ArgumentDef): boolean => 'kind' in argument && kinds.includes(argument.kind);
  return action.args.filter(named).map(({ name }) => `\`${name}\``).join(' or ');
}

function isNewer(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > OLDEST_DAEMON.major || (major === OLDEST_DAEMON.major && minor > OLDEST_DAEMON.minor);
}

/** Ways to fail, the most frequent first. */
export function knownErrors(action: ActionDef): readonly KnownError[] {
  const errors: KnownError[] = [];
  const add = (status: string, reason: string, when: string): void => void errors.push({ status, reason, when });
  const paths = namesOf(action, ['pathname']);
  const devices = namesOf(action, ['device', 'mountable', 'dev_or_path', 'mountable_or_path']);
  const opener = OPENED_BY.find(({ prefix, opener: name }) => action.name.startsWith(prefix) && action.name !== name)?.opener;
  if (action.impl === 'daemon') {
    if (paths) {
      add('NOT_FOUND', 'ENOENT', action.mutating ? `there is no ${paths}, or no directory to make it in` : `there is no ${paths}`);
      add('UNKNOWN', 'DAEMON_ERROR', `no file system is mounted on /, or ${paths} is not absolute`);
    }
    if (devices) add('NOT_FOUND', 'ENOENT', `there is no ${devices}`);
  }
  if (opener !== undefined) add('UNKNOWN', 'DAEMON_ERROR', `\`${opener}\` was not called before`);
  if (action.impl === 'daemon' && paths && action.mutating) add('RESOURCE_EXHAUSTED', 'ENOSPC', 'the file system is full');
  if (action.configOnly) add('FAILED_PRECONDITION', 'WRONG_STATE', 'the session is launched already');
  const [insteadOfAnswer, insteadOfRequest] = [insteadOfLargeAnswer(action.name), insteadOfLargeRequest(action.name)];
  if (UNBOUNDED.has(action.returns.type) && !isStreamedAnswer(action) && !isFileOut(action)) {
    add('RESOURCE_EXHAUSTED', 'MESSAGE_TOO_LARGE', `the answer does not fit into one message (4 MiB)${insteadOfAnswer === undefined ? '' : `: ${insteadOfAnswer}`}`);
  }
  if (insteadOfRequest !== undefined) {
    add('RESOURCE_EXHAUSTED', 'MESSAGE_TOO_LARGE', `the arguments do not fit into one message (${action.impl === 'daemon' ? 4 : 8} MiB): ${insteadOfRequest}`);
  }
  if (isFileIn(action)) add('CANCELLED', 'CANCELLED', 'the client ended the call before the file; what had come may be there in part');
  if (action.optionalGroup !== undefined) add('UNIMPLEMENTED', 'ENOTSUP', `the appliance is without the group \`${action.optionalGroup}\`; \`feature_available\` tells`);
  if (action.impl === 'daemon' && isNewer(action.since)) add('UNIMPLEMENTED', 'ACTION_NOT_IN_DAEMON', `the daemon of the appliance is older than ${action.since}`);
  return errors;
}
