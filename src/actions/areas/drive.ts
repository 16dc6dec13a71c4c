/** Actions: drives of a session and disk images on the server */
import { REMOTE_PROTOCOLS } from '../remoteProtocols.js';
import type { ActionDef } from '../types.js';
import {
  bool,
  described,
  int,
  int64,
  library,
  namesDrive,
  none,
  onServer,
  optional,
  optionalStrings,
  pointer,
  returnsBool,
  returnsInt,
  returnsInt64,
  returnsString,
  secret,
  str,
} from '../constructors.js';
import { badArgument, error } from '../knownErrors.js';
import { GIB } from '../exampleGuest.js';

/**
 * Matches a URI (https://libvirt.org/uri.html) that makes libvirt do more than connect: one with the transport `ext`,
 * which runs a program named in the URI, or with a parameter other than `no_verify` and `no_tty`. Other parameters run
 * programs (`command`), run the QEMU driver inside virsh with a configuration chosen by the client (`root`), or name
 * files and sockets that are read, written or connected to. Names are compared undecoded: libvirt decodes them, but
 * neither of the two needs encoding.
 */
const POWERFUL_LIBVIRT_URI = /^[^:]*\+ext:|^[^?]*\?(?:[^]*[&;])?(?!(?:no_verify|no_tty)(?:[=&;]|$))[^=&;]/i;

const IMAGE = 'disk.img';
const MISSING = error('NOT_FOUND', 'IMAGE_MISSING', 'the image does not exist');
const UNUSABLE = error(
  'FAILED_PRECONDITION',
  'IMAGE_UNUSABLE',
  'it cannot be attached: it is a directory, or has a corrupt header or an unknown format',
);
const LOCKED = error('FAILED_PRECONDITION', 'IMAGE_LOCKED', 'another qemu uses the image');
const TOO_MANY_DRIVES = error('RESOURCE_EXHAUSTED', 'ENOSPC', 'the session already has 255 drives');
const LABEL_TAKEN = error('ALREADY_EXISTS', 'EEXIST', 'another drive of the session already has this label');
const ADDED = [MISSING, UNUSABLE, TOO_MANY_DRIVES];

export const driveActions: readonly ActionDef[] = [
  library({
    name: 'add_cdrom',
    since: '0.0.3',
    configOnly: true,
    deprecated: true,
    replacedBy: 'add_drive_ro',
    args: [onServer(str('filename'))],
    returns: none,
    summary: 'Adds a disk image as a read-only CD-ROM drive',
    description: 'Deprecated: use add_drive_ro, which does the same. Must be called before launch.',
    errors: ADDED,
    example: { filename: IMAGE },
  }),
  library({
    name: 'add_domain',
    since: '1.7.4',
    permissions: [
      { permission: 'host-actions' },
      { permission: 'remote-drives', purpose: 'for disks on a network', when: 'found' },
      {
        permission: 'custom-qemu',
        purpose: 'for a `libvirturi` that can run programs',
        when: { field: 'libvirturi', matches: POWERFUL_LIBVIRT_URI },
      },
    ],
    guide: 'network-drives.md',
    configOnly: true,
    aliases: ['domain'],
    args: [namesDrive(str('dom'))],
    optargs: [
      optional('libvirturi'),
      bool('readonly'),
      optional('iface'),
      bool('live'),
      bool('allowuuid'),
      optional('readonlydisk'),
      optional('cachemode'),
      optional('discard'),
      bool('copyonread'),
    ],
    returns: returnsInt('nrdisks'),
    summary: 'Adds every disk of a named libvirt domain',
    description:
      'Must be called before launch; returns how many disks were added, and adds none at all if any step fails. Needs `virsh` on the server, which also supplies the secrets of network disks. Unless `readonly` is true the domain must be stopped. `libvirturi` defaults to the standard libvirt connection, `allowuuid` (default false) lets `dom` be a UUID, and `readonlydisk` (`error`, `read`, `write` or `ignore`; default `write`) decides how disks marked read-only in the domain are treated.',
    errors: [
      error('UNKNOWN', 'DAEMON_ERROR', 'libvirt has no such domain'),
      error('FAILED_PRECONDITION', 'EBUSY', 'the domain runs, and `readonly` is not set'),
      MISSING,
      UNUSABLE,
    ],
    example: { dom: 'guest', readonly: true },
  }),
  library({
    name: 'add_drive',
    since: '0.0.3',
    onceHadNoOptargs: true,
    notLaunching: true,
    aliases: ['add'],
    permissions: [
      {
        permission: 'remote-drives',
        purpose: 'with a `protocol` other than `file`',
        when: { field: 'protocol', isOneOf: REMOTE_PROTOCOLS },
      },
      { permission: 'block-devices', purpose: 'for a block device of the server', when: 'found' },
      { permission: 'backing-files', purpose: 'for an image that refers to another file', when: 'found' },
    ],
    guide: 'network-drives.md',
    args: [
      described('With a `protocol` other than `file`, the name of the image on its server.', onServer(str('filename'))),
    ],
    optargs: [
      described('True: writes go to a temporary overlay, which is discarded. Default: false.', bool('readonly')),
      described(
        "`raw`, `qcow2` or another of qemu's formats. Default: what the image looks like, unless it was written as a raw drive before and does not look raw: then the format has to be stated. A stated format other than `raw` must be that of the image.",
        optional('format'),
      ),
      described('Ignored, as by libguestfs.', optional('iface')),
      described('Ignored, as by libguestfs.', optional('name')),
      described(
        '1 to 20 ASCII letters that identify the drive in list_disk_labels and remove_drive; unique in the session.',
        optional('label'),
      ),
      described(
        '`file` (the default), `nbd`, `http`, `https`, `ftp`, `ftps`, `ssh`, `iscsi`, `rbd` or `gluster`.',
        optional('protocol'),
      ),
      described(
        'The servers of a network drive: `host`, `host:port`, `tcp:host:port` or `unix:/path`. Their number depends on `protocol`; not for `file`.',
        optionalStrings('server'),
      ),
      described('User name for logging in to the server; not for `file`.', optional('username')),
      described(
        'The password or key for `username`. It appears in no log or trace. Not for `file`.',
        secret(optional('secret')),
      ),
      described(
        '`writeback` (the default) or `unsafe`, which is faster but ignores flushes: only for images that can be recreated.',
        optional('cachemode'),
      ),
      described(
        '`disable` (the default), `enable`, which fails for drives that are read-only or do not support discard, or `besteffort`.',
        optional('discard'),
      ),
      described(
        'Copies data that is read from a backing image, which may be slow, into the image; has no effect on a read-only drive. Default: false.',
        bool('copyonread'),
      ),
      described('Sector size in bytes: 512 (the default) or 4096.', int('blocksize')),
    ],
    returns: none,
    summary: 'Adds a disk image, block device of the host or network drive to the session',
    description:
      "Drives are named in the order they are added (/dev/sda first, then /dev/sdb). A drive that is added after launch is attached to the running appliance, under the first free name, and volume groups and arrays on it are activated as at launch. An image must exist when it is added; a network drive's server is first contacted at launch. Network drives are `raw` unless `format` states another format, which requires `readonly`. Block devices of the server must be under an image root, and require `--allow block-devices`; images with a backing file, or with their data in another file, require `--allow backing-files`.",
    errors: [
      MISSING,
      UNUSABLE,
      LABEL_TAKEN,
      badArgument('an argument is invalid, or conflicts with another one'),
      error('FAILED_PRECONDITION', 'IMAGE_LOCKED', 'the session is launched, and another qemu uses the image'),
      TOO_MANY_DRIVES,
    ],
    example: { filename: IMAGE, readonly: true, format: 'raw', label: 'data' },
  }),
  library({
    name: 'add_drive_ro',
    since: '1.0.38',
    configOnly: true,
    aliases: ['add-ro'],
    args: [onServer(str('filename'))],
    returns: none,
    summary: 'Adds a disk image as a read-only drive',
    description:
      'Must be called before launch; same as add_drive with `readonly` true. The image itself is never changed: writes land in a temporary overlay that is discarded. The image format is probed, so prefer add_drive with an explicit `format` for untrusted images.',
    errors: ADDED,
    example: { filename: IMAGE },
  }),
  library({
    name: 'add_drive_ro_with_if',
    since: '1.0.84',
    configOnly: true,
    deprecated: true,
    replacedBy: 'add_drive',
    args: [onServer(str('filename')), str('iface')],
    returns: none,
    summary: 'Adds a read-only drive, naming a drive interface',
    description: 'Deprecated: use add_drive with `readonly` true. Must be called before launch; `iface` is ignored.',
    errors: ADDED,
    example: { filename: IMAGE, iface: 'virtio' },
  }),
  library({
    name: 'add_drive_scratch',
    since: '1.23.10',
    notLaunching: true,
    aliases: ['scratch'],
    args: [int64('size')],
    optargs: [optional('name'), optional('label'), int('blocksize')],
    returns: none,
    summary: 'Adds a blank temporary drive of the given size',
    description:
      'Can be called before and after launch, as add_drive. `size` is in bytes; the drive reads as zeroes at first and is deleted when the session closes. `label` and `blocksize` mean the same as for add_drive, and `name` is ignored.',
    errors: [
      LABEL_TAKEN,
      badArgument('`size` is not greater than 0, or `label` or `blocksize` is invalid'),
      TOO_MANY_DRIVES,
    ],
    example: { size: GIB },
  }),
  library({
    name: 'add_drive_with_if',
    since: '1.0.84',
    configOnly: true,
    deprecated: true,
    replacedBy: 'add_drive',
    args: [onServer(str('filename')), str('iface')],
    returns: none,
    summary: 'Adds a writable drive, naming a drive interface',
    description: 'Deprecated: use add_drive. Must be called before launch; `iface` is ignored.',
    errors: ADDED,
    example: { filename: IMAGE, iface: 'virtio' },
  }),
  library({
    name: 'add_libvirt_dom',
    since: '1.29.14',
    configOnly: true,
    args: [namesDrive(pointer('dom'))],
    optargs: [
      bool('readonly'),
      optional('iface'),
      bool('live'),
      optional('readonlydisk'),
      optional('cachemode'),
      optional('discard'),
      bool('copyonread'),
    ],
    returns: returnsInt('nrdisks'),
    permissions: [
      { permission: 'host-actions' },
      { permission: 'remote-drives', purpose: 'for disks on a network', when: 'found' },
    ],
    guide: 'network-drives.md',
    summary: 'Adds every disk of a libvirt domain, given by its name or its UUID',
    description:
      "For programs written for this action: in libguestfs, `dom` is a pointer to a domain; here it is the name or UUID of a domain of the server's default libvirt connection. Otherwise it behaves as add_domain, which can also use other connections.",
    example: { dom: 'guest' },
  }),
  library({
    name: 'disk_create',
    since: '1.25.31',
    args: [onServer(str('filename')), str('format'), int64('size')],
    optargs: [
      onServer(optional('backingfile')),
      optional('backingformat'),
      optional('preallocation'),
      optional('compat'),
      int('clustersize'),
    ],
    ownFields: [
      {
        name: 'overwrite',
        type: 'bool',
        about: 'Whether an existing file or block device is overwritten. Without it the call fails with EEXIST.',
      },
    ],
    returns: none,
    summary: 'Creates a blank disk image on the server host',
    description:
      'An existing file is left unchanged, and the call fails, unless `overwrite` is set and the image is not in use. `size` is in bytes, and must be -1 with `backingfile`, which creates an overlay instead. `preallocation` is `off` (default), `sparse` (the same), `full`, which reserves all space, or for qcow2 `metadata`; `compat` (`0.10` or `1.1`) and `clustersize` (bytes, a power of 2 from 512 to 2097152, default 65536) apply to qcow2 only. The image is not added to the session.',
    errors: [
      badArgument('`format` is neither `raw` nor `qcow2`, or an option does not apply to it'),
      error('ALREADY_EXISTS', 'EEXIST', '`filename` exists already, and `overwrite` is not set'),
      error('NOT_FOUND', 'IMAGE_MISSING', 'the directory of `filename`, or `backingfile`, does not exist'),
      error(
        'FAILED_PRECONDITION',
        'IMAGE_UNUSABLE',
        '`filename` is not a regular file, or `backingfile` is not an image',
      ),
      LOCKED,
    ],
    example: { filename: 'new.qcow2', format: 'qcow2', size: GIB },
  }),
  library({
    name: 'disk_format',
    since: '1.19.38',
    mutating: false,
    args: [onServer(str('filename'))],
    returns: returnsString('format'),
    summary: 'Detects the format of a disk image',
    description:
      'Returns a name such as `raw` or `qcow2`, or `unknown`; do not trust the answer for images from untrusted sources. Fails for an image that was written as a raw drive and does not look raw.',
    errors: [MISSING, UNUSABLE],
    example: { filename: IMAGE },
  }),
  library({
    name: 'disk_has_backing_file',
    since: '1.19.39',
    mutating: false,
    args: [onServer(str('filename'))],
    returns: returnsBool('backingfile'),
    summary: 'Tells whether a disk image has a backing file',
    description: 'Probing the format of untrusted images is unsafe.',
    errors: [MISSING, UNUSABLE],
    example: { filename: IMAGE },
  }),
  library({
    name: 'disk_virtual_size',
    since: '1.19.39',
    mutating: false,
    args: [onServer(str('filename'))],
    returns: returnsInt64('size'),
    summary: 'Returns the virtual size of a disk image',
    description: 'The size is in bytes and is the virtual size of the disk, not the space that the image file takes.',
    errors: [MISSING, UNUSABLE],
    example: { filename: IMAGE },
  }),
  library({
    name: 'max_disks',
    since: '1.19.7',
    mutating: false,
    returns: returnsInt('disks'),
    summary: 'Returns how many drives the session can have',
    description: 'Always 255.',
  }),
  library({
    name: 'remove_drive',
    since: '1.19.49',
    notLaunching: true,
    deprecated: true,
    args: [namesDrive(str('label'))],
    returns: none,
    summary: 'Removes the drive with the given label',
    description:
      'Before launch the drive is simply not attached. In a running session everything written is flushed to the image first, and others can use the image once the call returns. A drive that is mounted, or in use by swap, LVM, MD or an opened encrypted device, is refused with EBUSY. If writes to the image have failed on the server, the call fails with EIO, and the drive is removed all the same. The other drives keep their names, and the next drive that is added takes the free one. libguestfs itself, which marks the action as deprecated, has not been able to do this since 1.48.',
    errors: [
      error('FAILED_PRECONDITION', 'EBUSY', 'the drive is in use'),
      error('NOT_FOUND', 'ENOENT', 'no drive of the session has this label'),
    ],
  }),
];
