/**
 * What goes into the root file system and what stays out of it.
 *
 * The base is the list in Debian's own libguestfs package for its appliance;
 * the lists here are the differences from it.
 */

/** Names of the package that contains guestfsd, newest first. */
export const LIBGUESTFS_PACKAGES: readonly string[] = ['libguestfs0t64', 'libguestfs0'];

/** The package with the static shell of the initrd. */
export const BUSYBOX_PACKAGE = 'busybox-static';

/**
 * Packages on top of Debian's list: most make an optional group or a file
 * system of the daemon available. Those that a suite lacks are left out.
 */
export const EXTRA_PACKAGES: readonly string[] = [
  // Optional groups whose tools Debian only suggests.
  'clevis-luks', // clevisluks
  'policycoreutils', // selinuxrelabel: setfiles
  'rsync', // rsync
  'xfsprogs', // xfs
  // File systems for mkfs, fsck, and labels.
  'erofs-utils',
  'gfs2-utils',
  'hfsplus',
  'jfsutils',
  'nilfs-tools',
  'reiserfsprogs',
  'udftools',
  // Used by other tools if present.
  'grub-pc-bin', // grub_install: the boot loader's own parts for BIOS machines
  'augeas-lenses', // augeas
  'kpartx', // partitions inside device-mapper devices
  'ncompress', // tar_in and tar_out with compress:compress
  'thin-provisioning-tools', // lvm on thin and cache volumes
  // For debugging a running appliance.
  'iputils-ping',
  'lsof',
  'strace',
];

/** Programs of one package. */
export interface PackagePrograms {
  readonly packageName: string;
  /** Paths relative to the root. */
  readonly files: readonly string[];
  /** Libraries they need: names, without the version at their end, of packages that theirs depends on. */
  readonly libraries: readonly string[];
}

/**
 * Programs that are taken out of their packages. The programs of these two
 * make icons of inspected systems; the packages depend on a web client in Perl
 * and on X11 and TIFF, which only their other programs use.
 */
export const PROGRAMS: readonly PackagePrograms[] = [
  { packageName: 'icoutils', files: ['usr/bin/wrestool'], libraries: [] },
  {
    packageName: 'netpbm',
    files: ['usr/bin/bmptopnm', 'usr/bin/pamcut', 'usr/bin/pbmtext', 'usr/bin/pnmtopng'],
    libraries: ['libnetpbm', 'libpng'],
  },
];

/**
 * Packages on Debian's list that the daemon does not use: the list also names
 * those that libguestfs uses on the host.
 */
export const DROPPED_PACKAGES: readonly string[] = ['debootstrap', 'qemu-utils'];

/**
 * DHCP clients in order of preference. Debian's list contains all that /init
 * can use; one is enough.
 */
export const DHCP_CLIENTS: readonly string[] = ['dhcpcd-base', 'isc-dhcp-client'];

/**
 * Files that dpkg does not unpack: documentation, translations, completions.
 * Copyright files stay, as the licences require.
 */
export const UNPACK_EXCLUDES: readonly string[] = [
  '/usr/share/bash-completion/*',
  '/usr/share/bug/*',
  '/usr/share/doc/*',
  '/usr/share/doc-base/*',
  '/usr/share/fish/*',
  '/usr/share/gnome/help/*',
  '/usr/share/i18n/*',
  '/usr/share/icons/*',
  '/usr/share/info/*',
  '/usr/share/initramfs-tools/*',
  '/usr/share/lintian/*',
  '/usr/share/locale/*',
  '/usr/share/man/*',
  '/usr/share/zsh/*',
  // Names of hardware that no virtual machine has; the compiled form is 13 MB.
  '/usr/lib/udev/hwdb.d/*',
  '/lib/udev/hwdb.d/*',
];

/** Exceptions to {@link UNPACK_EXCLUDES}. */
export const UNPACK_INCLUDES: readonly string[] = ['/usr/share/doc/*/copyright'];

/**
 * Paths removed once the packages are configured, relative to the root: the
 * package manager, and traces of the build machine.
 */
export const REMOVED_PATHS: readonly string[] = [
  'boot',
  'etc/hostname',
  'etc/machine-id',
  // Lists the arrays of the build machine; the daemon must see only those of the guest.
  'etc/mdadm/mdadm.conf',
  'etc/resolv.conf',
  'usr/lib/udev/hwdb.bin',
  'etc/udev/hwdb.bin',
  'var/cache',
  'var/lib/apt',
  'var/lib/dbus/machine-id',
  'var/lib/dpkg/info',
  'var/log',
];

/** Directories that programs expect to find; they are recreated after {@link REMOVED_PATHS}. */
export const KEPT_DIRECTORIES: readonly string[] = ['boot', 'var/cache', 'var/log'];

/**
 * The udev rules that stay: device nodes and their links, device-mapper, LVM,
 * MD, Btrfs, loading of drivers. The rest is for desktops and data centres, and
 * every event evaluates all of it; 80-debian-compat loads the driver of generic
 * SCSI devices, which nothing here uses, and whose devices cause more events.
 * udev.ts adds its own.
 */
export const UDEV_RULES: readonly RegExp[] = [
  /^01-md-raid-creating\.rules$/,
  /^50-udev-default\.rules$/,
  /^55-dm\.rules$/,
  /^56-dm-parts\.rules$/,
  /^56-lvm\.rules$/,
  /^60-cdrom_id\.rules$/,
  /^60-kpartx\.rules$/,
  /^60-persistent-storage(-dm)?\.rules$/,
  /^63-md-raid-arrays\.rules$/,
  /^64-btrfs(-dm)?\.rules$/,
  /^64-md-raid-assembly\.rules$/,
  /^68-del-part-nodes\.rules$/,
  /^69-md-clustered-confirm-device\.rules$/,
  /^80-drivers\.rules$/,
  /^95-dm-notify\.rules$/,
];

/**
 * The systemd-tmpfiles settings that stay. /init runs systemd-tmpfiles for
 * /dev and /run; the other files are about services that do not run here.
 */
export const TMPFILES: readonly RegExp[] = [
  /^cryptsetup\.conf$/,
  /^legacy\.conf$/,
  /^lvm2\.conf$/,
  /^mdadm\.conf$/,
  /^static-nodes-permissions\.conf$/,
];

/**
 * The kernel modules that stay, as paths below `kernel/` without the suffix;
 * their dependencies stay as well. A machine under qemu has only a few devices,
 * but the daemon needs every file system, device-mapper target, RAID level,
 * cipher and character set available.
 */
export const KERNEL_MODULES: readonly string[] = [
  'arch/',
  'block/',
  'crypto/',
  'drivers/ata/ahci',
  'drivers/ata/ata_generic',
  'drivers/ata/ata_piix',
  'drivers/block/brd',
  'drivers/block/drbd/',
  'drivers/block/loop',
  'drivers/block/nbd',
  'drivers/block/virtio_blk',
  'drivers/block/zram/',
  'drivers/cdrom/',
  'drivers/char/hw_random/virtio-rng',
  'drivers/char/virtio_console',
  'drivers/dax/',
  'drivers/firmware/qemu_fw_cfg',
  'drivers/md/',
  'drivers/net/dummy',
  'drivers/net/virtio_net',
  'drivers/nvdimm/',
  'drivers/nvme/host/nvme',
  'drivers/scsi/iscsi_tcp',
  'drivers/scsi/scsi_debug',
  'drivers/scsi/sd_mod',
  'drivers/scsi/sg',
  'drivers/scsi/sr_mod',
  'drivers/scsi/st',
  'drivers/scsi/virtio_scsi',
  'drivers/virt/vmgenid',
  'drivers/virtio/',
  'fs/',
  'lib/',
  'net/9p/9pnet_virtio',
  'net/vmw_vsock/vmw_vsock_virtio_transport',
];

/**
 * The modules that the initrd loads, in this order, each after its
 * dependencies. Nothing later loads drivers of devices that exist from the
 * start: /init asks udev for "change" events, but only "add" events load
 * drivers. Disks come first: the kernel detects them while the rest loads.
 */
export const INITRD_MODULES: readonly string[] = [
  'virtio_pci',
  'virtio_blk',
  'virtio_scsi',
  'sd_mod',
  // ext4 asks for the checksum by the name of its algorithm, not as a dependency;
  // XFS and Btrfs use the faster of the two later on.
  'crc32c_generic',
  'crc32c_intel',
  'ext4',
  // The channel to the library.
  'virtio_console',
  // Entropy for the random number generator from the start.
  'virtio_rng',
];

/** Those of {@link INITRD_MODULES} that some kernels do not have, and do not need. */
export const OPTIONAL_DRIVERS: ReadonlySet<string> = new Set(['crc32c_generic', 'crc32c_intel']);

/** Modules in the initrd that are loaded only if the network is requested. */
export const INITRD_NETWORK_MODULES: readonly string[] = ['virtio_net'];

/** The packages of Debian's list and of ours, without those that are not wanted. */
export function selectPackages(listed: readonly string[], available: (name: string) => boolean): SelectedPackages {
  const dhcp = DHCP_CLIENTS.find((name) => listed.includes(name) && available(name));
  const wanted = [...new Set([...listed, ...EXTRA_PACKAGES])].filter(
    (name) => !DROPPED_PACKAGES.includes(name) && (!DHCP_CLIENTS.includes(name) || name === dhcp),
  );
  return {
    packages: wanted.filter(available).sort(),
    missing: wanted.filter((name) => !available(name)).sort(),
  };
}

/** Result of {@link selectPackages}. */
export interface SelectedPackages {
  readonly packages: readonly string[];
  /** Wanted, but not in this suite. */
  readonly missing: readonly string[];
}
