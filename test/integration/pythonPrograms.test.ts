/** Programs for libguestfs's Python binding, their authors' and ours, give over the client what they give over libguestfs. */
import { cp, mkdtemp, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeAll, expect } from '@jest/globals';
import { tinyProgram } from '../../demo/guest/tinyProgram.js';
import { root } from '../architecture/sourceTree.js';
import { builtAppliance, describeWithAppliance } from '../support/appliance.js';
import { emptyImage, run } from '../support/diskImages.js';
import { dpkgStatus } from '../support/guests/dpkg.js';
import { ext4Image, writeExt4 } from '../support/guests/ext4Image.js';
import type { Tree } from '../support/guests/guest.js';
import { itWhen } from '../support/itWhen.js';
import { describeDomain } from '../support/libvirtDomains.js';
import { missingForPython, runPython, type PythonRun } from '../support/pythonClient.js';
import { serverForTests } from '../support/scene.js';

/** For many launches on a busy host. */
const LIMIT_MS = 900_000;
const TESTS = join(root, 'clients', 'python', 'tests');

/** A grey PNG image of 16 × 16 pixels, which no icon may be smaller than. */
const ICON = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAAD0lEQVR42mNoQAMMI1sAAAUMgAHjM1mKAAAAAElFTkSuQmCC',
  'base64',
);

/** A Debian system with users and an icon, for the programs to inspect and change. */
const system = (hostname: string, fstab: string): Tree => ({
  '/bin/bash': tinyProgram(),
  '/etc/fstab': fstab,
  '/etc/debian_version': '12.7\n',
  '/etc/os-release':
    'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n',
  '/etc/hostname': `${hostname}\n`,
  '/etc/passwd': 'root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n',
  '/etc/group': 'root:x:0:\ndaemon:x:1:\nadm:x:4:\n',
  '/etc/network/interfaces': '',
  '/boot/': '',
  '/root/': '',
  '/usr/share/pixmaps/debian-logo.png': ICON,
  '/var/lib/dpkg/status': dpkgStatus([
    { name: 'bash', version: '5.2.15-2+b7' },
    { name: 'vim-tiny', version: '2:9.0.1378-2', source: 'vim', description: 'Vi IMproved' },
  ]),
});

const PARTITION_MIB = 16;

/** An image with two partitions of the same size. */
function twoPartitions(path: string, first: Tree, second: Tree): void {
  emptyImage(path, 2 * PARTITION_MIB + 1);
  const sectors = PARTITION_MIB * 2048;
  run(
    'sh',
    '-c',
    `printf 'label: dos\\n2048,${sectors},83\\n${2048 + sectors},${sectors},83\\n' | sfdisk -q '${path}'`,
  );
  for (const [index, tree] of [first, second].entries())
    writeExt4(path, tree, (1 + index * PARTITION_MIB) << 20, `${PARTITION_MIB}M`);
}

const appliance = builtAppliance('bookworm');
const missing =
  missingForPython('grpc', 'google.protobuf', 'guestfs') ??
  (appliance === undefined ? "there is no appliance for the installed libguestfs's version" : undefined);

/** What keeps a program of others from being run: `file` must be in the checkout that a variable names. */
function missingSources(variable: string, file: string): string | undefined {
  const sources = process.env[variable];
  return sources !== undefined && existsSync(join(sources, file)) ? undefined : `${variable} names no sources`;
}

const NOVA = 'GUESTFS_GRPC_NOVA_SOURCES';
const VIRT_MANAGER = 'GUESTFS_GRPC_VIRT_MANAGER_SOURCES';

describeWithAppliance('programs for the Python binding', () => {
  const scene = serverForTests(() => ({
    flags: ['--allow', 'host-actions', ...(appliance === undefined ? [] : ['--appliance', appliance])],
  }));

  beforeAll(() => {
    const image = (name: string): string => join(scene.server.images, name);
    ext4Image(image('root.img'), system('root', '/dev/sda / ext4 defaults 0 1\n'));
    const fstab = '/dev/sda2 / ext4 defaults 0 1\n/dev/sda1 /boot ext4 defaults 0 2\n';
    twoPartitions(image('partitions.img'), { '/grub/grub.cfg': 'set default=0\n' }, system('partitions', fstab));
    const alone = (number: number): Tree => system(`system-${number}`, `/dev/sda${number} / ext4 defaults 0 1\n`);
    twoPartitions(image('two-systems.img'), alone(1), alone(2));
    emptyImage(image('empty.img'), 8);
  });
  /**
   * Runs a program over libguestfs and over the client, each time with its own copies of the images; expects the same
   * output.
   * @param variants of the run over the client
   */
  async function expectSame<Variant>(
    names: readonly string[],
    variants: readonly [Variant, ...Variant[]],
    run: (images: readonly string[], variant: Variant, options: PythonRun) => Promise<string>,
  ): Promise<string> {
    const outputOf = async (variant: Variant, options: PythonRun): Promise<string> => {
      const place = await mkdtemp(join(scene.server.images, 'copies-'));
      for (const name of names) await cp(join(scene.server.images, name), join(place, name));
      const images = names.map((name) => join(place, name));
      return (await run(images, variant, options)).replaceAll(place, 'IMAGES');
    };
    const direct = { LIBGUESTFS_BACKEND: 'direct', LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg' };
    const theirs = await outputOf(variants[0], {
      library: true,
      env: { ...direct, LIBGUESTFS_PATH: appliance ?? '' },
    });
    for (const variant of variants)
      expect(await outputOf(variant, { env: { GUESTFS_GRPC_SERVER: scene.server.address } })).toBe(theirs);
    return theirs;
  }

  itWhen('comparison with libguestfs', missing)(
    'that inspects a system and puts files into it',
    async () => {
      const output = await expectSame(['partitions.img'], [undefined], (images, _, options) =>
        runPython([join(TESTS, 'guest_script.py'), ...images], options),
      );
      expect(output).toContain("hostname 'partitions'");
      expect(output).toContain(`icon (<class 'bytes'>, ${ICON.length},`);
      expect(output).toContain("application ['vim-tiny'");
    },
    LIMIT_MS,
  );

  itWhen("nova's module for files in images", missing ?? missingSources(NOVA, 'nova/virt/disk/vfs/guestfs.py'))(
    'of nova: its module that puts files into images, unchanged',
    async () => {
      const output = await expectSame(
        ['root.img', 'partitions.img', 'two-systems.img', 'empty.img'],
        missingForPython('eventlet') === undefined ? ['threading', 'eventlet'] : ['threading'],
        (images, mode, options) =>
          runPython([join(TESTS, 'nova_vfs.py'), mode, process.env[NOVA] ?? '', ...images], options),
      );
      expect(output).toContain("read_file ('root/.ssh/authorized_keys',) '# a key\\nssh-ed25519 AAAA\\n'");
    },
    LIMIT_MS,
  );

  itWhen(
    "virt-manager's inspection",
    missing ?? missingSources(VIRT_MANAGER, 'virtManager/lib/inspection.py') ?? missingForPython('libvirt'),
  )(
    'of virt-manager: its inspection of virtual machines, unchanged',
    async () => {
      const output = await expectSame(
        ['partitions.img', 'two-systems.img', 'empty.img'],
        [undefined],
        async ([partitions = '', two = '', empty = ''], _, options) => {
          const disk = (image: string, index: number): string =>
            `<disk type="file" device="disk"><driver name="qemu" type="raw"/><source file="${image}"/><target dev="vd${'ab'[index] ?? ''}"/></disk>`;
          const domains = [[partitions], [two], [empty], [empty, partitions], []].map((disks, index) =>
            describeDomain({ name: `machine ${index}`, disks: disks.map(disk).join('') }),
          );
          const node = join(dirname(partitions), 'node.xml');
          await writeFile(node, `<node>${domains.join('')}</node>`);
          const program = [join(TESTS, 'virt_manager.py'), process.env[VIRT_MANAGER] ?? '', `test://${node}`];
          return runPython(program, options);
        },
      );
      expect(output).toContain("hostname 'partitions'");
    },
    LIMIT_MS,
  );
});
