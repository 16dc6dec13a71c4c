/**
 * Cgroups of version 2, which the hosts of tests often do not have: an appliance is a machine whose kernel has nothing
 * else. The server's code runs there, as a service runs under systemd: in a cgroup of its own.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { inGuest } from '../support/launchKinds.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { imageDrive, SessionClient } from '../support/testClient.js';

const CODE = fileURLToPath(new URL('../../src', import.meta.url));
const CHECK = fileURLToPath(new URL('../support/cgroupCheck.js', import.meta.url));
const PLACE = '/sysroot';
const MEBIBYTE = 1 << 20;

/** An ext4 image with Node.js, the libraries that it needs, and the server's code. */
function imageWithNode(path: string): string {
  const tree = mkdtempSync(join(tmpdir(), 'cgroup-'));
  const node = realpathSync(process.execPath);
  mkdirSync(join(tree, 'lib'));
  copyFileSync(node, join(tree, 'node'));
  const libraries = execFileSync('ldd', [node], { encoding: 'utf8' }).match(/\/\S+/g) ?? [];
  const loader = libraries.find((one) => basename(one).startsWith('ld-linux')) ?? '';
  for (const library of libraries) copyFileSync(realpathSync(library), join(tree, 'lib', basename(library)));
  cpSync(CODE, join(tree, 'src'), { recursive: true });
  writeFileSync(join(tree, 'package.json'), '{"type":"module"}');
  mkdirSync(join(tree, 'test', 'support'), { recursive: true });
  copyFileSync(CHECK, join(tree, 'test/support/check.js'));
  execFileSync('mke2fs', ['-q', '-t', 'ext4', '-d', tree, path, '256M']);
  rmSync(tree, { recursive: true });
  return basename(loader);
}

describeWithAppliance('a server under cgroup version 2', () => {
  const scene = serverForTests({ flags: ['--debug-service', '--allow', 'custom-qemu', '--launch', 'cold'] });

  it('limits, kills and removes what is in the cgroup of a machine, and moves out of the way', async () => {
    const loader = imageWithNode(join(scene.server.images, 'node.img'));
    // As libguestfs does, an appliance disables the memory controller; this one must not.
    const ordinary = await launchSession(scene.client, [imageDrive('node.img')]);
    const options = (await inGuest(ordinary, 'cat /proc/cmdline')).trim().replace(/ cgroup_disable=memory/, '');
    await scene.client.deleteSession(ordinary.id);
    const { id } = await scene.client.createSession({ drives: [imageDrive('node.img')] });
    const session = new SessionClient(scene.client, id);
    // The last of several counts.
    await session.call('config', { hvparam: '-append', hvvalue: options });
    await session.call('launch');
    await session.call('mount_ro', { mountable: '/dev/sda', mountpoint: '/' });
    // The shell that executes it is the only process in its cgroup.
    const printed = await inGuest(
      session,
      `
mkdir -p /run/cgroup && mount -t cgroup2 none /run/cgroup
cat /run/cgroup/cgroup.controllers
echo "+memory +pids" >/run/cgroup/cgroup.subtree_control
mkdir /run/cgroup/service
echo $$ >/run/cgroup/service/cgroup.procs
exec ${PLACE}/lib/${loader} --library-path ${PLACE}/lib ${PLACE}/node ${PLACE}/test/support/check.js 2>&1`,
    );
    const [controllers = '', result = ''] = printed.trim().split('\n');
    expect(controllers).toMatch(/\bmemory\b.*\bpids\b/);
    expect(JSON.parse(result)).toMatchObject({
      version: 2,
      parents: [
        ['memory', '/run/cgroup/service'],
        ['pids', '/run/cgroup/service'],
      ],
      // It has moved.
      own: '0::/service/guestfs-grpc-server',
      limits: { memory: String(64 * MEBIBYTE), processes: '12' },
      filled: [null, 'SIGKILL'],
      ...{ killed: true, removed: true, swept: 1, kept: true },
    });
    const { forked, left } = JSON.parse(result) as { forked: [number | null]; left: number };
    expect(forked[0]).not.toBe(0);
    expect(left).toBeGreaterThan(1);
    await scene.client.deleteSession(session.id);
  });
});
