/** What single actions fail with, as far as it does not follow from their arguments: found out by having it happen. */

/** One way to fail. */
export interface KnownError {
  /** Name of the gRPC status. */
  readonly status: string;
  /** `reason` of ErrorInfo. */
  readonly reason: string;
  readonly when: string;
}

/** What happens if there is nothing at a path, or no directory that it could be made in. */
export type AbsentPath =
  | 'ENOENT'
  | 'ENOENT for its directory'
  | 'DAEMON_ERROR'
  | 'DAEMON_ERROR for its directory'
  | 'nothing';

/** By what happens: `action.argument`. For others it is ENOENT. */
const ABSENT: Readonly<Record<Exclude<AbsentPath, 'ENOENT'>, string>> = {
  'ENOENT for its directory': `
    copy_device_to_file.dest copy_file_to_file.dest copy_size.dest fallocate.path fallocate64.path fill.path fill_pattern.path ln.linkname ln_f.linkname mkdir.path
    mkdir_mode.path mkdtemp.tmpl mkfifo.path mknod.path mknod_b.path mknod_c.path mktemp.tmpl rename.newpath touch.path upload.remotefilename upload_offset.remotefilename write.path write_append.path
    write_file.path`,
  DAEMON_ERROR: `
    btrfs_balance_cancel.path btrfs_balance_pause.path btrfs_balance_resume.path btrfs_balance_status.path btrfs_device_add.fs btrfs_device_delete.fs
    btrfs_filesystem_balance.fs btrfs_filesystem_defragment.path btrfs_filesystem_resize.mountpoint btrfs_filesystem_sync.fs btrfs_qgroup_assign.path
    btrfs_qgroup_create.subvolume btrfs_qgroup_destroy.subvolume btrfs_qgroup_limit.subvolume btrfs_qgroup_remove.path btrfs_qgroup_show.path btrfs_quota_enable.fs btrfs_quota_rescan.fs
    btrfs_replace.mntpoint btrfs_scrub_cancel.path btrfs_scrub_resume.path btrfs_scrub_start.path btrfs_scrub_status.path btrfs_subvolume_delete.subvolume
    btrfs_subvolume_get_default.fs btrfs_subvolume_list.fs
    btrfs_subvolume_set_default.fs btrfs_subvolume_show.subvolume btrfs_subvolume_snapshot.source compress_out.file cp.src cp_a.src cp_r.src dd.src du.path
    equal.file1 equal.file2 extlinux.directory fstrim.mountpoint get_e2attrs.file get_e2generation.file initrd_cat.initrdpath initrd_list.path
    mklost_and_found.mountpoint mksquashfs.path mkswap_file.path mount_loop.file mount_loop.mountpoint mv.src remount.mountpoint rsync.src
    scrub_freespace.dir selinux_relabel.path set_e2attrs.file set_e2generation.file swapoff_file.file swapon_file.file umount.pathordevice xfs_growfs.path xfs_info.pathordevice`,
  'DAEMON_ERROR for its directory': `
    base64_in.filename btrfs_image.image btrfs_subvolume_create.dest btrfs_subvolume_snapshot.dest case_sensitive_path.path cp.dest cp_a.dest cp_r.dest dd.dest
    ln_s.linkname ln_sf.linkname mv.dest rsync.dest`,
  nothing: `
    aug_init.root copy_in.remotedir copy_out.remotepath exists.path glob_expand.pattern grub_install.root is_blockdev.path is_chardev.path is_dir.path
    is_fifo.path is_file.path is_socket.path is_symlink.path lxattrlist.path mkdir_p.path rm_f.path rm_rf.path rsync_in.dest rsync_out.src xfs_repair.device zfile.path`,
};

/** What happens if a path is not there, by `action.argument`. */
export const ABSENT_PATHS: ReadonlyMap<string, AbsentPath> = new Map(
  (Object.entries(ABSENT) as [AbsentPath, string][]).flatMap(([absent, names]) =>
    names
      .trim()
      .split(/\s+/)
      .map((name) => [name, absent] as const),
  ),
);

/** Actions that take the name of a device without looking for it. */
export const NO_DEVICE_NEEDED: ReadonlySet<string> = new Set([
  'canonical_device_name',
  'device_index',
  'mountable_subvolume',
]);

/** Actions that are named like those which work on something open, and do not. */
export const NO_OPENER_NEEDED: ReadonlySet<string> = new Set([
  'inspect_get_format',
  'inspect_get_roots',
  'inspect_is_live',
  'inspect_is_multipart',
  'inspect_is_netinst',
]);

/** What a full file system makes of an action: one without free blocks, and one that can hold no more files. */
export interface FullFileSystem {
  readonly blocks?: 'ENOSPC' | 'DAEMON_ERROR';
  readonly files?: 'ENOSPC' | 'DAEMON_ERROR';
}

/** Which actions meet with what. */
const FULL: readonly (readonly [FullFileSystem, actions: string])[] = [
  [
    { blocks: 'DAEMON_ERROR', files: 'DAEMON_ERROR' },
    `
    base64_in cp cp_a cp_r dd extlinux grub_install mklost_and_found rsync`,
  ],
  [
    { blocks: 'ENOSPC', files: 'ENOSPC' },
    `
    copy_device_to_file copy_file_to_file copy_size fallocate fallocate64 fill fill_pattern lsetxattr mkdir mkdir_mode mkdir_p mkdtemp pwrite setxattr
    write write_append write_file`,
  ],
  [
    { blocks: 'DAEMON_ERROR', files: 'ENOSPC' },
    `
    copy_in tar_in tgz_in txz_in upload upload_offset`,
  ],
  [
    { files: 'ENOSPC' },
    `
    fill_dir mkfifo mknod mknod_b mknod_c mktemp touch zero_free_space`,
  ],
  [
    { files: 'DAEMON_ERROR' },
    `
    ln_s ln_sf`,
  ],
];

/** What a full file system makes of actions, by name; the others need no space. */
export const FULL_FILE_SYSTEM: ReadonlyMap<string, FullFileSystem> = new Map(
  FULL.flatMap(([full, names]) =>
    names
      .trim()
      .split(/\s+/)
      .map((name) => [name, full] as const),
  ),
);

const row = (status: string, reason: string, when: string): KnownError => ({ status, reason, when });

const EXISTS = row('ALREADY_EXISTS', 'EEXIST', 'there is something at the path already');
const NOT_A_FILE = row('UNKNOWN', 'DAEMON_ERROR', 'the path is that of a directory');
const NO_SERVER = row('UNKNOWN', 'DAEMON_ERROR', 'the rsync server cannot be reached, or refuses');
const NO_ATTRIBUTE = row('NOT_FOUND', 'ENODATA', 'the file has no such attribute');
const badArgument = (when: string): KnownError => row('INVALID_ARGUMENT', 'BAD_ARGUMENT', when);

const MISSING = row('NOT_FOUND', 'IMAGE_MISSING', 'there is no such image');
const UNUSABLE = row(
  'FAILED_PRECONDITION',
  'IMAGE_UNUSABLE',
  'it is not what can be attached: a directory, a broken header, an unknown format',
);
const LOCKED = row('FAILED_PRECONDITION', 'IMAGE_LOCKED', 'another qemu uses the image');
const TOO_MANY_DRIVES = row('RESOURCE_EXHAUSTED', 'ENOSPC', 'the session has 255 drives');
const LABEL_TAKEN = row('ALREADY_EXISTS', 'EEXIST', 'another drive of the session has the label');
const ADDED = [MISSING, UNUSABLE, TOO_MANY_DRIVES];
const NO_DIRECTORY = row('NOT_FOUND', 'ENOENT', 'there is no such directory on the server');
const UNKNOWN_BACKEND = badArgument('`backend` is not `direct` or `appliance`');
const UNKNOWN_GROUP = badArgument('no version of libguestfs has such a group');

/** Errors of single actions, the most frequent first. */
export const BY_ACTION: Readonly<Record<string, readonly KnownError[]>> = {
  // Sessions and settings
  available: [row('UNIMPLEMENTED', 'GROUP_NOT_AVAILABLE', 'a group is not there'), UNKNOWN_GROUP],
  config: [badArgument('the option is one that the appliance needs itself')],
  device_index: [row('NOT_FOUND', 'ENODEV', '`device` is no name of a drive')],
  device_name: [row('INVALID_ARGUMENT', 'EINVAL', 'there is no drive with this number')],
  feature_available: [UNKNOWN_GROUP],
  get_backend_setting: [row('NOT_FOUND', 'ESRCH', 'there is no such setting')],
  launch: [
    row('FAILED_PRECONDITION', 'NO_DRIVES', 'the session has no drive'),
    row('FAILED_PRECONDITION', 'IMAGE_LOCKED', 'another qemu uses an image'),
    row('FAILED_PRECONDITION', 'IMAGE_UNUSABLE', 'an image is not in the format that it was added with'),
    row('DEADLINE_EXCEEDED', 'LAUNCH_TIMEOUT', 'the appliance did not come up in the time that the session gives it'),
    row('RESOURCE_EXHAUSTED', 'OUT_OF_MEMORY', 'the host or the appliance has too little memory'),
    row('FAILED_PRECONDITION', 'KVM_UNUSABLE', 'KVM is asked for and does not work'),
  ],
  parse_environment: [badArgument('a variable has a value that it cannot have')],
  parse_environment_list: [badArgument('a variable has a value that it cannot have')],
  set_attach_method: [UNKNOWN_BACKEND],
  set_backend: [UNKNOWN_BACKEND],
  set_cachedir: [NO_DIRECTORY, badArgument('it is no directory')],
  set_identifier: [badArgument('it has other characters than those allowed')],
  set_memsize: [badArgument('it is less than 256')],
  set_smp: [badArgument('it is not 1 to 255')],
  set_tmpdir: [NO_DIRECTORY, badArgument('it is no directory')],

  // Drives
  add_cdrom: ADDED,
  add_domain: [
    row('UNKNOWN', 'DAEMON_ERROR', 'libvirt knows no such domain'),
    row('FAILED_PRECONDITION', 'EBUSY', 'the domain runs, and `readonly` is not set'),
    MISSING,
    UNUSABLE,
  ],
  add_drive: [
    MISSING,
    UNUSABLE,
    LABEL_TAKEN,
    badArgument('an argument cannot be right, or does not go with the others'),
    row('FAILED_PRECONDITION', 'IMAGE_LOCKED', 'the session is launched, and another qemu uses the image'),
    TOO_MANY_DRIVES,
  ],
  add_drive_ro: ADDED,
  add_drive_ro_with_if: ADDED,
  add_drive_scratch: [
    LABEL_TAKEN,
    badArgument('`size` is not greater than 0, or `label` or `blocksize` cannot be right'),
    TOO_MANY_DRIVES,
  ],
  add_drive_with_if: ADDED,
  disk_create: [
    badArgument('`format` is neither `raw` nor `qcow2`, or the options do not go with it'),
    row('NOT_FOUND', 'IMAGE_MISSING', 'there is no directory for `filename`, or no `backingfile`'),
    row(
      'FAILED_PRECONDITION',
      'IMAGE_UNUSABLE',
      '`filename` is not that of a file, or `backingfile` not that of an image',
    ),
    LOCKED,
  ],
  disk_format: [MISSING, UNUSABLE],
  disk_has_backing_file: [MISSING, UNUSABLE],
  disk_virtual_size: [MISSING, UNUSABLE],
  remove_drive: [
    row('FAILED_PRECONDITION', 'EBUSY', 'the guest uses the drive'),
    row('NOT_FOUND', 'ENOENT', 'no drive of the session has the label'),
  ],

  // Files
  cat: [NOT_A_FILE],
  copy_in: [
    row('FAILED_PRECONDITION', 'ENOTDIR', '`remotedir` is not that of a directory'),
    row('NOT_FOUND', 'IMAGE_MISSING', 'there is no `localpath`'),
  ],
  copy_out: [
    row('INVALID_ARGUMENT', 'EINVAL', 'there is no file or directory at `remotepath`'),
    row('FAILED_PRECONDITION', 'ENOTDIR', '`localdir` is not that of a directory'),
    row('NOT_FOUND', 'IMAGE_MISSING', 'there is no `localdir`'),
  ],
  download: [NOT_A_FILE],
  getxattr: [NO_ATTRIBUTE],
  lgetxattr: [NO_ATTRIBUTE],
  ln: [EXISTS],
  lremovexattr: [NO_ATTRIBUTE],
  mkdir: [EXISTS],
  mkdir_mode: [EXISTS],
  mkfifo: [EXISTS],
  mknod: [EXISTS],
  mknod_b: [EXISTS],
  mknod_c: [EXISTS],
  mountable_subvolume: [
    row('INVALID_ARGUMENT', 'EINVAL', 'it is not that of a Btrfs subvolume, or its device is not there'),
  ],
  read_file: [NOT_A_FILE],
  read_lines: [NOT_A_FILE],
  readlink: [row('INVALID_ARGUMENT', 'EINVAL', 'it is not that of a symbolic link')],
  removexattr: [NO_ATTRIBUTE],
  rmdir: [row('FAILED_PRECONDITION', 'ENOTEMPTY', 'there is something in the directory')],
  rsync_in: [NO_SERVER],
  rsync_out: [NO_SERVER],
  upload: [row('FAILED_PRECONDITION', 'EISDIR', 'it is that of a directory')],
};
