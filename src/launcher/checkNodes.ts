/**
 * Makes sure that qemu has opened nothing but what it was given.
 *
 * Each node that the server adds has a name. When the header of an image leads qemu to one more file, qemu makes up a
 * name for it, which begins with `#`. That cannot happen as long as a header is as it was when it was checked; whoever
 * writes to an image from outside this server, at the right moment, could make it happen.
 */
import { GuestfsError } from '../common/errors.js';
import type { QmpClient } from '../qemu/qmpClient.js';

/** What `query-named-block-nodes` says about a node (qemu's qapi/block-core.json). */
interface NamedNode {
  readonly 'node-name'?: string;
}

/**
 * @throws GuestfsError IMAGE_UNUSABLE if qemu has a node that it was not given; nothing read from it may reach a client
 */
export async function requireGivenNodesOnly(monitor: QmpClient, signal: AbortSignal): Promise<void> {
  const nodes = (await monitor.execute('query-named-block-nodes', { flat: true }, signal)) as readonly NamedNode[];
  if (nodes.every((node) => node['node-name']?.startsWith('#') === false)) return;
  throw new GuestfsError(
    'IMAGE_UNUSABLE',
    'an image refers to a file that it did not refer to when it was checked: something changed it meanwhile; attach it when nothing else writes to it',
  );
}
