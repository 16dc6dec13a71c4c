/** The secrets of network disks, which a domain only refers to: libvirt keeps them (https://libvirt.org/formatsecret.html). */
import { GuestfsError } from '../../common/errors.js';
import { printable } from '../../common/guestText.js';

/** A domain's reference to a secret, by either `uuid` or `usage`. */
export interface SecretReference {
  /** `ceph`, `iscsi` ... */
  readonly type: string;
  readonly uuid: string | undefined;
  /** The secret's purpose, whose meaning depends on the type. */
  readonly usage: string | undefined;
}

/** Runs a command of `virsh` and returns what it prints. */
export type AskLibvirt = (...args: readonly string[]) => Promise<string>;

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** For Ceph, libvirt stores the raw key, while everything else expects it in base64. */
const CEPH = 'ceph';

/**
 * Asks libvirt for a secret, in the form that `add_drive` accepts.
 * @throws GuestfsError `EINVAL` for an empty reference, `ENOENT`, `ENOTSUP` if it is not text, and libvirt's own errors
 */
export async function secretOf(ask: AskLibvirt, reference: SecretReference): Promise<string> {
  const base64 = (await ask('secret-get-value', `--secret=${await uuidOf(ask, reference)}`)).trim();
  if (reference.type === CEPH) return base64;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(base64, 'base64'));
  } catch {
    // Without the cause, which could reveal the secret.
    throw new GuestfsError('ENOTSUP', `the secret of type '${printable(reference.type)}' is not UTF-8`);
  }
}

async function uuidOf(ask: AskLibvirt, { type, uuid, usage }: SecretReference): Promise<string> {
  if (uuid !== undefined) {
    if (!UUID.test(uuid)) throw new GuestfsError('EINVAL', `'${printable(uuid)}' is not the UUID of a secret`);
    return uuid;
  }
  if (usage === undefined)
    throw new GuestfsError('EINVAL', 'a disk of the domain needs a secret, but does not name it');
  // Rows of a table: the UUID, then the type and the usage.
  for (const row of (await ask('secret-list')).split('\n')) {
    const text = row.trim();
    const [found = ''] = text.split(/\s/, 1);
    if (UUID.test(found) && text.slice(found.length).trimStart() === `${type} ${usage}`) return found;
  }
  throw new GuestfsError('ENOENT', `no secret for usage '${printable(usage)}' of type '${printable(type)}'`);
}
