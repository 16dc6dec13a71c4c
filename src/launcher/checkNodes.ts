/**
 * Makes sure that qemu has opened nothing but what it was given.
 *
 * Each node that the server adds has a name. If the header of an image leads qemu to another file, qemu generates a
 * name for its node, which starts with `#`. That can happen only if a header has changed since it was checked, because
 * something outside this server has written to an image at the right moment.
 */
import { GuestfsError } from '../common/errors.js';
import type { QmpClient } from '../qemu/qmpClient.js';

/** What `query-named-block-nodes` returns for a node (qemu's qapi/block-core.json). */
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
    'an image was changed after it was checked, and now refers to another file: attach it when nothing else writes to it',
  );
}
