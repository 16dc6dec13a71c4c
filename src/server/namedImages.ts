/** The images that a request names, for the audit log: paths as given by the client, and no secrets. */
import type { DriveSpec } from '../../gen/proto/guestfs/v1/session.js';
import { MAX_DRIVES } from '../qemu/limits.js';
import type { Rpc } from './rpc.js';

/** No path has more characters. Whoever can connect could fill the log with longer names, which name nothing. */
const MOST = 4096;

/** The start and the end of a name that is too long. */
function cut(name: string): string {
  return name.length <= MOST ? name : `${name.slice(0, MOST / 2)}[...]${name.slice(-MOST / 2)}`.toWellFormed();
}

function nameOf({ source }: DriveSpec): string {
  switch (source?.$case) {
    case 'path':
      return source.value;
    case 'remote':
      return `${source.value.protocol}://${source.value.server.join(',')}/${source.value.filename}`;
    case 'scratch_size':
      return `scratch ${source.value}`;
    case undefined:
      return '';
  }
}

/** The images of a request as far as it is known. */
export function namedImages({ action, rules }: Rpc, request: object | undefined): readonly string[] {
  if (request === undefined) return [];
  const fields = request as Readonly<Record<string, unknown>>;
  if (action === undefined) {
    const drives = (fields['drives'] ?? []) as readonly DriveSpec[];
    // A request with more is refused.
    return rules.session === 'none' ? drives.slice(0, MAX_DRIVES).map((drive) => cut(nameOf(drive))) : [];
  }
  return [...action.args, ...action.optargs]
    .filter(({ onServer, namesDrive }) => onServer === true || namesDrive === true)
    .map(({ name }) => fields[name])
    .filter((value) => typeof value === 'string')
    .map(cut);
}
