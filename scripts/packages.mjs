/**
 * The system packages that the project needs, by their Debian names. This is the only list of them. It is plain data,
 * because it is read before anything is built.
 *
 * @typedef {'server' | 'appliance' | 'applianceAsUser' | 'conformance' | 'test' | 'mesh' | 'deploy' | Stubs} Purpose
 *   `server`: to run the server; `appliance`: to build an appliance, `applianceAsUser`: what an ordinary user needs as
 *   well; `conformance`: to replay libguestfs's own tests; `test`: for the other tests; `mesh`: for those with proxies;
 *   `deploy`: to verify what is in `deploy/`.
 *
 * @typedef {'stubs' | 'python' | 'ruby' | 'java' | 'cpp'} Stubs For `npm run test:clients`: to generate stubs, and to build
 *   and run the example of a language.
 *
 * @typedef {object} SystemPackage
 * @property {string} name
 * @property {string} [ubuntu] Ubuntu's name, if different.
 * @property {readonly Purpose[]} for
 * @property {string} why What it is for; shown before it is installed.
 * @property {readonly string[]} [programs] Programs to look for where packages cannot be queried.
 */

/** @type {readonly SystemPackage[]} */
export const systemPackages = [
  { name: 'qemu-system-x86', for: ['server'], why: 'runs the appliances', programs: ['qemu-system-x86_64'] },
  {
    name: 'qemu-system-common',
    for: ['server'],
    why: 'qemu-storage-daemon: connects to the servers of network drives',
    programs: ['qemu-storage-daemon'],
  },
  {
    name: 'qemu-utils',
    for: ['conformance', 'test'],
    why: 'creates and converts disk images',
    programs: ['qemu-img'],
  },
  { name: 'qemu-block-extra', for: ['server'], why: 'drives over HTTP, FTP, SSH, iSCSI, RBD and GlusterFS' },
  {
    name: 'python3',
    for: ['server'],
    why: 'creates sealed in-memory files (memfd), which Node.js cannot',
    programs: ['python3'],
  },
  {
    name: 'util-linux',
    for: ['server', 'appliance'],
    why: "setpriv: drops qemu's privileges, and kills qemu when the server dies",
    programs: ['setpriv', 'prlimit'],
  },
  {
    name: 'bubblewrap',
    for: ['server'],
    why: 'runs qemu and its helpers in separate namespaces',
    programs: ['bwrap'],
  },
  { name: 'passt', for: ['server'], why: 'network of sessions that have one', programs: ['passt'] },

  {
    name: 'mmdebstrap',
    for: ['appliance'],
    why: "unpacks Debian packages into the appliance's root",
    programs: ['mmdebstrap'],
  },
  { name: 'debian-archive-keyring', for: ['appliance'], why: 'signing keys of the Debian archive' },
  { name: 'e2fsprogs', for: ['appliance'], why: "makes the file system of the appliance's root", programs: ['mke2fs'] },
  { name: 'kmod', for: ['appliance'], why: 'resolves dependencies of kernel modules', programs: ['depmod'] },
  { name: 'tar', for: ['appliance'], why: 'unpacks packages', programs: ['tar'] },
  {
    name: 'xz-utils',
    for: ['appliance', 'conformance'],
    why: 'decompresses kernels, modules and test data',
    programs: ['xz'],
  },
  {
    name: 'zstd',
    for: ['appliance', 'conformance'],
    why: 'decompresses kernels, modules and test data',
    programs: ['zstd'],
  },
  {
    name: 'fakeroot',
    for: ['applianceAsUser'],
    why: 'files owned by root, without being root',
    programs: ['fakeroot'],
  },
  { name: 'uidmap', for: ['applianceAsUser'], why: 'user namespace for the build', programs: ['newuidmap'] },

  { name: 'python3-grpcio', for: ['conformance', 'test', 'python'], why: 'a gRPC client in another language' },
  { name: 'python3-protobuf', for: ['conformance', 'test', 'python'], why: 'its protobuf messages' },
  {
    name: 'protobuf-compiler',
    for: ['test', 'stubs'],
    why: 'generates stubs for other languages',
    programs: ['protoc'],
  },
  {
    name: 'protobuf-compiler-grpc',
    for: ['test', 'stubs'],
    why: "gRPC's plugins for C++, PHP, Python and Ruby",
    programs: ['grpc_cpp_plugin'],
  },
  { name: 'fdisk', for: ['test'], why: 'makes partition tables', programs: ['sfdisk'] },
  { name: 'genisoimage', for: ['conformance', 'test'], why: 'makes CD images', programs: ['genisoimage'] },
  { name: 'cpio', for: ['conformance', 'test'], why: 'makes initial RAM disks', programs: ['cpio'] },
  {
    name: 'gcc',
    for: ['conformance', 'test'],
    why: 'compiles small programs that run in an appliance',
    programs: ['gcc'],
  },
  { name: 'libc6-dev', for: ['conformance', 'test'], why: 'headers and libraries for these programs' },

  {
    name: 'guestfish',
    for: ['test'],
    why: 'stock libguestfs, which must run on the appliance built here',
    programs: ['guestfish'],
  },
  {
    name: 'libguestfs-tools',
    for: ['test'],
    why: 'stock appliances, which the server must launch',
    programs: ['libguestfs-make-fixed-appliance'],
  },
  { name: 'python3-guestfs', for: ['test'], why: 'stock libguestfs, for golden files and comparisons' },
  { name: 'supermin', for: ['test'], why: 'builds supermin appliances', programs: ['supermin'] },
  {
    name: 'linux-image-cloud-amd64',
    ubuntu: 'linux-image-virtual',
    for: ['test'],
    why: 'kernel for stock appliances, which containers lack',
  },
  { name: 'libwin-hivex-perl', for: ['test'], why: 'makes registry hives', programs: ['hivexregedit'] },
  { name: 'rpm', for: ['test'], why: "makes RPM's package databases", programs: ['rpm', 'rpmbuild'] },
  { name: 'dosfstools', for: ['test'], why: 'makes FAT file systems', programs: ['mkfs.vfat'] },
  { name: 'libvirt-clients', for: ['test'], why: 'lists libvirt domains', programs: ['virsh'] },
  { name: 'nbdkit', for: ['test'], why: 'serves drives over NBD', programs: ['nbdkit'] },
  {
    name: 'nginx-light',
    for: ['test', 'mesh'],
    why: 'serves drives over HTTP and HTTPS; a proxy',
    programs: ['nginx'],
  },
  { name: 'haproxy', for: ['mesh'], why: 'a proxy', programs: ['haproxy'] },
  { name: 'openssl', for: ['test', 'mesh'], why: 'makes certificates', programs: ['openssl'] },
  { name: 'ca-certificates', for: ['test'], why: 'directory of trusted certificates for HTTPS' },
  {
    name: 'prometheus',
    for: ['test'],
    why: 'checks the alert rules, and runs their queries and those of the dashboard',
    programs: ['prometheus', 'promtool'],
  },
  { name: 'python3-pyftpdlib', for: ['test'], why: 'serves drives over FTP' },
  { name: 'tgt', for: ['test'], why: 'serves drives over iSCSI, in user space', programs: ['tgtd', 'tgtadm'] },
  { name: 'openssh-server', for: ['test'], why: 'serves drives over SSH', programs: ['sshd'] },
  { name: 'openssh-client', for: ['test'], why: 'makes SSH keys', programs: ['ssh-keygen'] },
  { name: 'glusterfs-common', for: ['test'], why: 'transport of GlusterFS, which qemu-block-extra lacks' },
  { name: 'systemd-journal-remote', for: ['test'], why: 'makes journals' },

  { name: 'buildah', for: ['deploy'], why: 'builds the container image', programs: ['buildah'] },
  { name: 'podman', for: ['deploy'], why: 'runs the container image', programs: ['podman'] },
  { name: 'runc', for: ['deploy'], why: "podman's runtime", programs: ['runc'] },
  { name: 'systemd', for: ['deploy'], why: 'checks the units', programs: ['systemd-analyze'] },
  { name: 'etcd-server', for: ['deploy'], why: 'store of the Kubernetes API server', programs: ['etcd'] },
  { name: 'python3-pip', for: ['mesh'], why: 'installs Envoy' },

  { name: 'ruby', for: ['ruby'], why: 'runs programs in Ruby', programs: ['ruby'] },
  { name: 'ruby-grpc', for: ['ruby'], why: 'gRPC for Ruby' },
  { name: 'ruby-google-protobuf', for: ['ruby'], why: 'its protobuf messages' },
  { name: 'maven', for: ['java'], why: 'builds programs in Java', programs: ['mvn'] },
  { name: 'default-jdk-headless', for: ['java'], why: 'compiles and runs them', programs: ['javac'] },
  { name: 'g++', for: ['cpp'], why: 'compiles programs in C++', programs: ['g++'] },
  { name: 'cmake', for: ['cpp'], why: 'builds them', programs: ['cmake'] },
  { name: 'make', for: ['cpp'], why: 'builds them', programs: ['make'] },
  { name: 'libgrpc++-dev', for: ['cpp'], why: 'gRPC for C++' },
  { name: 'libprotobuf-dev', for: ['cpp'], why: 'its protobuf messages' },
];

/**
 * The packages for some purposes.
 * @param {readonly Purpose[]} purposes
 */
export function packagesFor(purposes) {
  return systemPackages.filter((entry) => entry.for.some((purpose) => purposes.includes(purpose)));
}
