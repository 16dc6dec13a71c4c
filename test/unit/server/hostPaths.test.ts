import { describe, expect, it } from '@jest/globals';
import { GuestfsError } from '../../../src/common/errors.js';
import { silentLogger } from '../../../src/common/logger.js';
import { hidingHostPaths } from '../../../src/server/hostPaths.js';
import { toStatus } from '../../../src/server/statusMapping.js';

const hide = hidingHostPaths({
  path: '/home/x/.cache/guestfs-grpc/appliance/trixie:/usr/lib/guestfs:',
  tmpdir: '/tmp',
  cachedir: '/var/tmp',
  hv: '/opt/own/qemu',
});
const HIDDEN = '[a file of the server]';

describe('a text for clients', () => {
  it.each([
    [
      'no appliance found: /home/x/.cache/guestfs-grpc/appliance/trixie (does not exist); /usr/lib/guestfs (lacks root)',
      `no appliance found: ${HIDDEN} (does not exist); ${HIDDEN} (lacks root)`,
    ],
    ["'/usr/lib/guestfs/root' has 0 bytes", `'${HIDDEN}' has 0 bytes`],
    ['open /tmp/guestfs-grpc-1-2-3-abc/session-x/qmp.sock: EACCES', `open ${HIDDEN}: EACCES`],
    ['/var/tmp/.guestfs-0/lock, and /var/tmp/guestfs-grpc-0/templates', `${HIDDEN}, and ${HIDDEN}`],
    [
      '-kernel \'/usr/lib/guestfs/kernel\' {"path":"/tmp/guestfs-grpc-1/s"}',
      `-kernel '${HIDDEN}' {"path":"${HIDDEN}"}`,
    ],
    ['/opt/own/qemu is not an executable file', `${HIDDEN} is not an executable file`],
    ["ENOENT: open '/proc/self/fd/12/manifest.json'", `ENOENT: open '${HIDDEN}'`],
  ])('has no path of the server: %s', (said, shown) => {
    expect(hide(said)).toBe(shown);
  });

  it.each(['open: /tmp/file: No such file or directory', "image '/images/a.img' does not exist", '/usr/lib', 'x: /'])(
    'has the paths of a guest and of the client: %s',
    (said) => {
      expect(hide(said)).toBe(said);
    },
  );

  it('is used for all parts of an error', () => {
    const path = '/usr/lib/guestfs/root';
    const error = new GuestfsError('APPLIANCE_UNUSABLE', `${path} is bad`, {
      metadata: { path },
      fields: [{ field: 'a', description: path }],
    });
    const { details, metadata } = toStatus(error, { hide }, silentLogger);
    expect(details).toBe(`${HIDDEN} is bad`);
    expect(metadata.get('grpc-status-details-bin').toString()).not.toContain('/usr/lib');
  });
});
