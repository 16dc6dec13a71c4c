/**
 * Drives by the names that other drivers would give them: `/dev/hda1` and `/dev/vda1` are `/dev/sda1`.
 *
 * The daemon does so itself (daemon/device-name-translation.c), but only for drives that existed when it
 * started: for the daemon of a clone, whose drives were added later, `/dev/vda` would be the appliance's own root.
 */
import { allActions } from '../actions/areas.js';
import type { ArgumentDef } from '../actions/types.js';
import type { DaemonCall } from '../protocol/daemonCall.js';
import type { Daemon } from './daemon.js';
import { driveIndexOf, driveSuffixOf } from './deviceNames.js';

/** Not arguments that may also be paths: there the daemon decides by the name (is_device_parameter in daemon/utils.c). */
const DEVICE_KINDS: ReadonlySet<string> = new Set(['device', 'mountable']);
/** A Btrfs subvolume on a drive. */
const SUBVOLUME = /^btrfsvol:(\/dev\/[^/]+)(\/.*)$/s;

function namesDevices(argument: ArgumentDef): boolean {
  return (argument.type === 'string' || argument.type === 'string_list') && DEVICE_KINDS.has(argument.kind);
}

/** By action, the arguments that name devices. */
const deviceArguments = new Map(
  allActions.map((action) => [action.name, action.args.filter(namesDevices).map(({ name }) => name)]),
);

/**
 * The canonical name of a drive or of something on a drive; any other name is returned unchanged.
 * @param drives how many there are: drives with higher numbers have no names
 */
export function withoutAlias(name: string, drives: number): string {
  const subvolume = SUBVOLUME.exec(name);
  if (subvolume !== null) return `btrfsvol:${withoutAlias(subvolume[1] as string, drives)}${subvolume[2] as string}`;
  const suffix = driveSuffixOf(name);
  const letters = /^[a-z]+/.exec(suffix ?? '')?.[0];
  if (suffix === undefined || letters === undefined) return name;
  const index = driveIndexOf(`/dev/sd${letters}`);
  return index !== undefined && index < drives ? `/dev/sd${suffix}` : name;
}

/** A daemon that knows drives by all their names. */
export function knowingAliases(daemon: Daemon, drives: number): Daemon {
  const usual = <Request>(call: DaemonCall<Request, unknown>, request: Request): Request => {
    const names = deviceArguments.get(call.action) ?? [];
    if (names.length === 0) return request;
    const given = request as Readonly<Record<string, string | readonly string[]>>;
    const replaced = names.map((name) => {
      const value = given[name];
      return [
        name,
        typeof value === 'string' ? withoutAlias(value, drives) : value?.map((one) => withoutAlias(one, drives)),
      ];
    });
    return { ...request, ...Object.fromEntries(replaced) } as Request;
  };
  return {
    version: daemon.version,
    call: (call, request) => daemon.call(call, usual(call, request)),
    upload: (call, request, source, size) => daemon.upload(call, usual(call, request), source, size),
    download: (call, request, deliver) => daemon.download(call, usual(call, request), deliver),
  };
}
