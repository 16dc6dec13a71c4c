/** What the server's configuration allows to clients. */
import { GuestfsError } from '../common/errors.js';
import type { ImageRoots } from './pathPolicy.js';

/** What `--allow` can name. */
export const ALLOWABLE = ['remote-drives', 'block-devices', 'network', 'host-actions', 'custom-qemu'] as const;
export type Allowable = (typeof ALLOWABLE)[number];

/** The server's policy. */
export interface ServerPolicy {
  /** Where images may be. */
  readonly imageRoots: ImageRoots;
  readonly allowed: ReadonlySet<Allowable>;
}

/** @throws GuestfsError NOT_ALLOWED naming the setting which allows it */
export function requireAllowed(policy: ServerPolicy, what: Allowable, action: string): void {
  if (policy.allowed.has(what)) return;
  throw new GuestfsError(
    'NOT_ALLOWED',
    `${action} is not allowed on this server; its operator can allow it with --allow ${what}`,
    { metadata: { setting: `--allow ${what}` } },
  );
}
