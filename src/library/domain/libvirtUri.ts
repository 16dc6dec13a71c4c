/** What a client may ask of libvirt by a URI (https://libvirt.org/uri.html). */
import { printable } from '../../common/guestText.js';
import { requireAllowed, type ServerPolicy } from '../../security/policy.js';

/** The transport that runs a program of the URI's. */
const EXT_TRANSPORT = /^[^:]*\+ext:/i;

/**
 * Parameters that reach nothing of this host. Others run programs (`command`), have the QEMU driver run inside virsh with a
 * configuration of the client's (`root`), or name files and sockets that are read, written or connected to.
 */
const HARMLESS: ReadonlySet<string> = new Set(['no_verify', 'no_tty']);

/**
 * Lets nobody run programs by a URI who may not do so otherwise.
 * @throws GuestfsError `NOT_ALLOWED` without `custom-qemu`
 */
export function requireHarmless(uri: string, policy: ServerPolicy, action: string): void {
  if (EXT_TRANSPORT.test(uri)) requireAllowed(policy, 'custom-qemu', `${action} with transport 'ext' in libvirturi`);
  const start = uri.indexOf('?');
  if (start === -1) return;
  for (const parameter of uri.slice(start + 1).split(/[&;]/)) {
    // As it is written: libvirt decodes names, and none of these needs that.
    const name = parameter.split('=', 1)[0] ?? '';
    if (name !== '' && !HARMLESS.has(name.toLowerCase()))
      requireAllowed(policy, 'custom-qemu', `${action} with '${printable(name)}' in libvirturi`);
  }
}
