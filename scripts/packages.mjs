/**
 * The system packages that the project needs, by Debian's names: the one place where they
 * are listed. Nothing is built yet when this is read, so it is plain data.
 *
 * @typedef {'server' | 'appliance' | 'applianceAsUser' | 'conformance' | 'test'} Purpose
 *   `server`: to run the server; `appliance`: to build an appliance, `applianceAsUser`: what
 *   that needs as well when it is not root who builds it; `conformance`: to replay
 *   libguestfs's own tests; `test`: for the other tests.
 *
 * @typedef {object} SystemPackage
 * @property {string} name
 * @property {string} [ubuntu] Ubuntu's name, where it is another.
 * @property {readonly Purpose[]} for
 * @property {string} why
 * @property {readonly string[]} [programs] What to look for on other distributions.
 */

/** @type {readonly SystemPackage[]} */
export const systemPackages = [
  { name: 'qemu-system-x86', for: ['server'], why: 'runs the appliances', programs: ['qemu-system-x86_64'] },
  {
    name: 'qemu-utils',
    for: ['server', 'conformance'],
    why: 'probes, makes and converts disk images',
    programs: ['qemu-img'],
  },
  { name: 'qemu-block-extra', for: ['server'], why: 'drives over HTTP, FTP, SSH, iSCSI, RBD and GlusterFS' },
  { name: 'python3', for: ['server'], why: 'makes files in memory that nobody can change', programs: ['python3'] },
  {
    name: 'util-linux',
    for: ['server', 'appliance'],
    why: 'setpriv: qemu without privileges, and never without its server',
    programs: ['setpriv'],
  },

  { name: 'mmdebstrap', for: ['appliance'], why: "makes the appliance's root from packages", programs: ['mmdebstrap'] },
  { name: 'debian-archive-keyring', for: ['appliance'], why: 'the keys of those packages' },
  { name: 'e2fsprogs', for: ['appliance'], why: "makes the root's file system", programs: ['mke2fs'] },
  { name: 'kmod', for: ['appliance'], why: "finds out what the kernel's modules need", programs: ['depmod'] },
  { name: 'tar', for: ['appliance'], why: 'unpacks packages', programs: ['tar'] },
  {
    name: 'xz-utils',
    for: ['appliance', 'conformance'],
    why: 'compresses what the appliance is made of, and test data',
    programs: ['xz'],
  },
  { name: 'zstd', for: ['appliance', 'conformance'], why: 'the same', programs: ['zstd'] },
  { name: 'fakeroot', for: ['applianceAsUser'], why: 'files that belong to root', programs: ['fakeroot'] },
  { name: 'uidmap', for: ['applianceAsUser'], why: 'users of its own for the build', programs: ['newuidmap'] },

  { name: 'python3-grpcio', for: ['conformance', 'test'], why: 'a gRPC client in another language' },
  { name: 'python3-protobuf', for: ['conformance', 'test'], why: 'its messages' },
  { name: 'fdisk', for: ['test'], why: 'makes partition tables', programs: ['sfdisk'] },
  { name: 'genisoimage', for: ['conformance', 'test'], why: 'makes CD images', programs: ['genisoimage'] },
  { name: 'cpio', for: ['conformance', 'test'], why: 'makes initial RAM disks', programs: ['cpio'] },
  { name: 'gcc', for: ['conformance', 'test'], why: 'compiles small programs that run in a guest', programs: ['gcc'] },
  { name: 'libc6-dev', for: ['conformance', 'test'], why: 'what they are linked with' },

  {
    name: 'guestfish',
    for: ['test'],
    why: 'stock libguestfs, which has to work with our appliance',
    programs: ['guestfish'],
  },
  {
    name: 'libguestfs-tools',
    for: ['test'],
    why: 'stock appliances, which have to work with our server',
    programs: ['libguestfs-make-fixed-appliance'],
  },
  { name: 'python3-guestfs', for: ['test'], why: 'stock libguestfs, for golden files and comparisons' },
  { name: 'supermin', for: ['test'], why: 'builds supermin appliances', programs: ['supermin'] },
  {
    name: 'linux-image-cloud-amd64',
    ubuntu: 'linux-image-virtual',
    for: ['test'],
    why: 'the kernel in stock appliances: a container has none',
  },
  { name: 'libwin-hivex-perl', for: ['test'], why: 'makes registry hives', programs: ['hivexregedit'] },
  { name: 'rpm', for: ['test'], why: "makes RPM's package databases", programs: ['rpm', 'rpmbuild'] },
  { name: 'dosfstools', for: ['test'], why: 'makes FAT file systems', programs: ['mkfs.vfat'] },
  { name: 'libvirt-clients', for: ['test'], why: 'knows the domains of libvirt', programs: ['virsh'] },
  { name: 'nbdkit', for: ['test'], why: 'serves drives over NBD', programs: ['nbdkit'] },
  { name: 'nginx-light', for: ['test'], why: 'serves drives over HTTP and HTTPS', programs: ['nginx'] },
  { name: 'openssl', for: ['test'], why: 'makes certificates', programs: ['openssl'] },
  { name: 'ca-certificates', for: ['test'], why: 'the directory of those that HTTPS trusts' },
  { name: 'python3-pyftpdlib', for: ['test'], why: 'serves drives over FTP' },
  { name: 'tgt', for: ['test'], why: 'serves drives over iSCSI, without the kernel', programs: ['tgtd', 'tgtadm'] },
  { name: 'openssh-server', for: ['test'], why: 'serves drives over SSH', programs: ['sshd'] },
  { name: 'openssh-client', for: ['test'], why: 'makes its keys', programs: ['ssh-keygen'] },
  { name: 'glusterfs-common', for: ['test'], why: 'what GlusterFS goes over, which qemu-block-extra is without' },
  { name: 'systemd-journal-remote', for: ['test'], why: 'makes journals' },
];

/**
 * The packages for some purposes.
 * @param {readonly Purpose[]} purposes
 */
export function packagesFor(purposes) {
  return systemPackages.filter((entry) => entry.for.some((purpose) => purposes.includes(purpose)));
}
