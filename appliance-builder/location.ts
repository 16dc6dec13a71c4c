/** The default location of appliances. */
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';

/**
 * The directory of the appliance of one suite:
 * `${XDG_CACHE_HOME:-~/.cache}/guestfs-grpc/appliance/<suite>`.
 */
export function defaultApplianceDirectory(suite: string, env: NodeJS.ProcessEnv = process.env): string {
  const stated = env['XDG_CACHE_HOME'];
  // The XDG specification requires relative paths to be ignored here.
  const cache = stated !== undefined && isAbsolute(stated) ? stated : join(env['HOME'] ?? homedir(), '.cache');
  return join(cache, 'guestfs-grpc', 'appliance', suite);
}
