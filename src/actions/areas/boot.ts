/** Actions: boot loaders and initial RAM disks */
import { STREAMED_INITRD } from '../alternatives.js';
import type { ActionDef } from '../types.js';
import {
  daemon,
  device,
  ifAbsent,
  none,
  optional,
  pathname,
  returnsBuffer,
  returnsStrings,
  str,
} from '../constructors.js';

const INITRD = '/boot/initrd.img';

export const bootActions: readonly ActionDef[] = [
  daemon({
    name: 'extlinux',
    procedure: 400,
    since: '1.21.27',
    optionalGroup: 'extlinux',
    args: [ifAbsent('DAEMON_ERROR', pathname('directory'))],
    returns: none,
    summary: 'Installs the SYSLINUX boot loader on a mounted filesystem',
    description:
      '`directory` is a mount point, or a directory below one, of an ext2, ext3, ext4 or btrfs filesystem; use syslinux for FAT. To boot, the disk also needs a master boot record, an active partition (part_set_bootable) and an extlinux.conf file.',
    fullFileSystem: { blocks: 'DAEMON_ERROR', files: 'DAEMON_ERROR' },
    example: { directory: '/boot' },
  }),
  daemon({
    name: 'grub_install',
    procedure: 86,
    since: '1.0.17',
    optionalGroup: 'grub',
    args: [ifAbsent('nothing', pathname('root')), device('device')],
    returns: none,
    summary: 'Installs the GRUB boot loader of the appliance on a device',
    description:
      "`root` is the directory inside the guest that holds, or will hold, the /boot tree, and the boot code on `device` is overwritten. The GRUB is the appliance's, in Debian version 2 for BIOS, so the result may not suit the guest; on a GPT it needs a BIOS boot partition. If GRUB cannot work out its drives, first create `device.map` in `/boot/grub`.",
    fullFileSystem: { blocks: 'DAEMON_ERROR', files: 'DAEMON_ERROR' },
    example: { device: '/dev/sda' },
  }),
  daemon({
    name: 'initrd_cat',
    procedure: 221,
    since: '1.0.84',
    insteadOfLargeAnswer: STREAMED_INITRD,
    largeAnswerText: /: file is too large for the protocol$/,
    mutating: false,
    args: [ifAbsent('DAEMON_ERROR', pathname('initrdpath')), str('filename')],
    returns: returnsBuffer('content'),
    summary: 'Returns the content of one file inside an initrd',
    description:
      '`initrdpath` is the image in the guest; `filename` is the name inside it, written without a leading slash. Use `initrd_list` to see the names.',
    example: { initrdpath: INITRD, filename: 'etc/hostname' },
  }),
  daemon({
    name: 'initrd_list',
    procedure: 128,
    since: '1.0.54',
    insteadOfLargeAnswer: STREAMED_INITRD,
    mutating: false,
    args: [ifAbsent('DAEMON_ERROR', pathname('path'))],
    returns: returnsStrings('filenames'),
    summary: 'Lists the names stored inside an initrd image',
    description:
      'Names have no leading slash, come in archive order, and include directories. Only the cpio form (initramfs) is understood, not the filesystem images used by Linux 2.4 and older.',
    example: { path: INITRD },
  }),
  daemon({
    name: 'syslinux',
    procedure: 399,
    since: '1.21.27',
    optionalGroup: 'syslinux',
    args: [device('device')],
    optargs: [optional('directory')],
    returns: none,
    summary: 'Installs the SYSLINUX boot loader on a FAT filesystem',
    description:
      '`device` is a FAT partition or a whole disk formatted as FAT. A partition also has to be flagged with part_set_bootable, and boot code must be written to the first sector of the disk, for example with pwrite_device. `directory` is the folder to install into (default: the root folder), and settings are read from a file syslinux.cfg there.',
  }),
];
