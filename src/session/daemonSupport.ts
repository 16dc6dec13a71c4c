/** What a daemon supports, by its version. */
import type { ActionDef } from '../actions/types.js';
import { GuestfsError } from '../common/errors.js';
import type { DaemonVersion } from '../protocol/daemonVersion.js';

/** The error for an action, or a part of one, that came after the daemon. */
export function notInDaemon(what: string, since: string, version: DaemonVersion): GuestfsError {
  return new GuestfsError(
    'ACTION_NOT_IN_DAEMON',
    `${what} came with libguestfs ${since}; the daemon in this appliance is ${version.text}. Use an appliance with a newer daemon`,
    { metadata: { since, daemon_version: version.text } },
  );
}

/** @throws GuestfsError ACTION_NOT_IN_DAEMON if the daemon is too old for the action, or for an argument that is set */
export function requireInDaemon(action: ActionDef, request: object, version: DaemonVersion): void {
  if (!version.atLeast(action.since)) throw notInDaemon(action.name, action.since, version);
  for (const { name, since } of action.optargs) {
    const given = (request as Readonly<Record<string, unknown>>)[name] !== undefined;
    if (given && since !== undefined && !version.atLeast(since)) {
      throw notInDaemon(`${action.name} with ${name}`, since, version);
    }
  }
}
