/** Values of examples that are an action's own: what it is given in place of the defaults in exampleValues.ts. */

type Value = string | number | boolean | readonly string[] | { readonly values: readonly string[] };

/** A file that may be overwritten, and one to make. */
const FILE = '/tmp/file';
const NEW = '/tmp/new';

const DISK = '/dev/sdb';
const PARTITION = '/dev/sdb1';
const VOLUME = '/dev/group/root';
const ARRAY = '/dev/md127';
/** Where a Btrfs, or another file system on the second disk, is mounted. */
const DATA = '/data';
const SUBVOLUME = '/data/home';
const LOG = '/var/log/syslog.1.gz';
const PASSWORDS = '/etc/passwd';
const PROGRAM = ['/bin/uname', '-a'];
const INITRD = '/boot/initrd.img';
const IMAGE = 'disk.img';
const WINDOWS = '/dev/sda2';
const HIVE = '/Windows/System32/config/SOFTWARE';
/** The root of most hives, and numbers such as other nodes, and values, have. */
const NODE = '4128';
const CHILD = '8448';
const REGISTRY_VALUE = '8592';
const DISK_GROUP = '8e0aee01-9a3c-4d4c-9a52-33d9a3ad8f1d';
const INODE = '12';
const MODE_0600 = 384;
const MODE_0644 = 420;
const MODE_0700 = 448;
const BLOCK_DEVICE_0600 = 24960;
const MIB_64 = '67108864';
const GIB = '1073741824';

export const EXAMPLES: Readonly<Record<string, Readonly<Record<string, Value>>>> = {
  // Appliance
  drop_caches: { whattodrop: 3 },
  echo_daemon: { words: ['hello', 'world'] },
  filesystem_available: { filesystem: 'ext4' },
  modprobe: { modulename: 'loop' },
  sleep: { secs: 1 },

  // Settings of the session
  clear_backend_setting: { name: 'force_tcg' },
  config: { hvparam: '-device', hvvalue: 'virtio-rng-pci' },
  get_backend_setting: { name: 'force_tcg' },
  parse_environment_list: { environment: ['LIBGUESTFS_TRACE=1', 'LIBGUESTFS_MEMSIZE=2048'] },
  set_append: { append: 'loglevel=7' },
  set_attach_method: { backend: 'appliance' },
  set_autosync: { autosync: true },
  set_backend: { backend: 'direct' },
  set_backend_setting: { name: 'force_tcg', val: '1' },
  set_backend_settings: { settings: ['force_tcg'] },
  set_cachedir: { cachedir: '/var/tmp' },
  set_direct: { direct: false },
  set_hv: { hv: '/usr/bin/qemu-system-x86_64' },
  set_identifier: { identifier: 'backup' },
  set_libvirt_requested_credential: { cred: 'c2VjcmV0' },
  set_libvirt_supported_credentials: { creds: ['username', 'passphrase'] },
  set_memsize: { memsize: 2048 },
  set_network: { network: true },
  set_path: { searchpath: '/usr/lib/guestfs:/usr/local/lib/guestfs' },
  set_pgroup: { pgroup: false },
  set_program: { program: 'backup' },
  set_qemu: { hv: '/usr/bin/qemu-system-x86_64' },
  set_recovery_proc: { recoveryproc: true },
  set_selinux: { selinux: false },
  set_smp: { smp: 2 },
  set_tmpdir: { tmpdir: '/tmp' },
  set_trace: { trace: true },
  set_verbose: { verbose: true },

  // Drives
  add_cdrom: { filename: IMAGE },
  add_domain: { dom: 'guest', readonly: true },
  add_drive: { filename: IMAGE, readonly: true, format: 'raw', label: 'data' },
  add_drive_ro: { filename: IMAGE },
  add_drive_ro_with_if: { filename: IMAGE, iface: 'virtio' },
  add_drive_scratch: { size: GIB },
  add_drive_with_if: { filename: IMAGE, iface: 'virtio' },
  add_libvirt_dom: { dom: 'guest' },
  disk_create: { filename: 'new.qcow2', format: 'qcow2', size: GIB },
  disk_format: { filename: IMAGE },
  disk_has_backing_file: { filename: IMAGE },
  disk_virtual_size: { filename: IMAGE },

  // Devices
  blkdiscard: { device: DISK },
  blockdev_rereadpt: { device: DISK },
  blockdev_setbsz: { blocksize: 4096 },
  blockdev_setra: { sectors: 1024 },
  canonical_device_name: { device: '/dev/vda1' },
  copy_device_to_device: { src: PARTITION, dest: '/dev/sdc' },
  copy_device_to_file: { src: PARTITION, dest: FILE },
  copy_file_to_device: { src: FILE, dest: PARTITION },
  copy_size: { src: PASSWORDS, dest: FILE, size: '10' },
  dd: { src: PARTITION, dest: FILE },
  device_index: { device: '/dev/sda' },
  is_whole_device: { device: '/dev/sda' },
  pread_device: { device: '/dev/sda', count: 512 },
  pwrite_device: { device: DISK },

  // Partitions; the disk that is read has a GPT, the other one as fits
  part_add: { prlogex: 'p', startsect: '2048', endsect: '-2048' },
  part_disk: { parttype: 'gpt' },
  part_get_mbr_id: { device: DISK },
  part_get_mbr_part_type: { device: DISK },
  part_init: { parttype: 'gpt' },
  part_resize: { endsect: '34815' },
  part_set_bootable: { bootable: true },
  part_set_gpt_attributes: { attributes: '4' },
  part_set_mbr_id: { idbyte: 131 },
  part_to_dev: { partition: '/dev/sda1' },
  part_to_partnum: { partition: '/dev/sda1' },
  sfdisk: { lines: ['2048,16384,L'] },
  sfdiskM: { lines: [',8,L'] },
  sfdisk_N: { line: ',16384,L' },

  // File systems
  e2fsck: { correct: true },
  findfs_label: { label: 'root' },
  findfs_partlabel: { label: 'root' },
  findfs_partuuid: { uuid: '5b0a4d4e-6d19-4b26-8d0a-0a8b0f3b6f35' },
  findfs_uuid: { uuid: 'f1c58f28-5d5c-4f6a-9d0c-6f1b3a1f2e77' },
  isoinfo: { isofile: '/srv/cd.iso' },
  isoinfo_device: { device: DISK },
  mke2fs_J: { blocksize: 4096, journal: '/dev/sdb2' },
  mke2fs_JL: { blocksize: 4096, label: 'journal' },
  mke2fs_JU: { blocksize: 4096 },
  mke2journal: { blocksize: 4096, device: '/dev/sdb2' },
  mke2journal_L: { blocksize: 4096, label: 'journal', device: '/dev/sdb2' },
  mke2journal_U: { blocksize: 4096, device: '/dev/sdb2' },
  mkfs_b: { blocksize: 4096 },
  mklost_and_found: { mountpoint: DATA },
  mksquashfs: { path: '/etc' },
  resize2fs_size: { size: MIB_64 },
  scrub_freespace: { dir: '/data/scrub' },
  tune2fs: { maxmountcount: 30 },
  zero_free_space: { directory: DATA },

  // XFS
  xfs_admin: { label: 'data' },
  xfs_growfs: { path: DATA },
  xfs_info: { pathordevice: DATA },
  xfs_info2: { pathordevice: DATA },
  xfs_repair: { device: PARTITION },

  // NTFS
  ntfs_3g_probe: { rw: true, device: PARTITION },
  ntfs_chmod: { mode: MODE_0644, path: '/file' },
  ntfscat_i: { device: PARTITION, inode: '7' },
  ntfsclone_out: { device: PARTITION },
  ntfsresize: { size: MIB_64 },
  ntfsresize_size: { size: MIB_64 },

  // Btrfs
  btrfs_balance_cancel: { path: DATA },
  btrfs_balance_pause: { path: DATA },
  btrfs_balance_resume: { path: DATA },
  btrfs_balance_status: { path: DATA },
  btrfs_device_add: { devices: ['/dev/sdc'], fs: DATA },
  btrfs_device_delete: { devices: ['/dev/sdc'], fs: DATA },
  btrfs_filesystem_balance: { fs: DATA },
  btrfs_filesystem_defragment: { path: DATA },
  btrfs_filesystem_resize: { mountpoint: DATA },
  btrfs_filesystem_show: { device: PARTITION },
  btrfs_filesystem_sync: { fs: DATA },
  btrfs_fsck: { device: PARTITION },
  btrfs_image: { source: [PARTITION], image: '/tmp/btrfs.image' },
  btrfs_qgroup_assign: { src: '0/256', dst: '1/0', path: DATA },
  btrfs_qgroup_create: { qgroupid: '1/0', subvolume: DATA },
  btrfs_qgroup_destroy: { qgroupid: '1/0', subvolume: DATA },
  btrfs_qgroup_limit: { subvolume: SUBVOLUME, size: GIB },
  btrfs_qgroup_remove: { src: '0/256', dst: '1/0', path: DATA },
  btrfs_qgroup_show: { path: DATA },
  btrfs_quota_enable: { fs: DATA, enable: true },
  btrfs_quota_rescan: { fs: DATA },
  btrfs_replace: { srcdev: PARTITION, targetdev: '/dev/sdc', mntpoint: DATA },
  btrfs_rescue_chunk_recover: { device: PARTITION },
  btrfs_rescue_super_recover: { device: PARTITION },
  btrfs_scrub_cancel: { path: DATA },
  btrfs_scrub_full: { path: DATA },
  btrfs_scrub_resume: { path: DATA },
  btrfs_scrub_start: { path: DATA },
  btrfs_scrub_status: { path: DATA },
  btrfs_set_seeding: { device: PARTITION, seeding: true },
  btrfs_subvolume_create: { dest: SUBVOLUME },
  btrfs_subvolume_delete: { subvolume: SUBVOLUME },
  btrfs_subvolume_get_default: { fs: DATA },
  btrfs_subvolume_list: { fs: DATA },
  btrfs_subvolume_set_default: { id: '256', fs: DATA },
  btrfs_subvolume_show: { subvolume: SUBVOLUME },
  btrfs_subvolume_snapshot: { source: SUBVOLUME, dest: '/data/snapshot' },
  btrfstune_enable_extended_inode_refs: { device: PARTITION },
  btrfstune_enable_skinny_metadata_extent_refs: { device: PARTITION },
  btrfstune_seeding: { device: PARTITION, seeding: true },
  mkfs_btrfs: { devices: [PARTITION] },

  // Mounting
  mkmountpoint: { exemptpath: DATA },
  mount: { mountable: '/dev/sda1', mountpoint: '/' },
  mount_9p: { mounttag: 'share', mountpoint: '/mnt' },
  mount_local: { localmountpoint: '/mnt' },
  mount_loop: { file: '/srv/disk.img', mountpoint: '/mnt' },
  mount_options: { options: 'ro,noatime', mountable: '/dev/sda1', mountpoint: '/' },
  mount_ro: { mountable: '/dev/sda1', mountpoint: '/' },
  mount_vfs: { options: 'noatime', vfstype: 'ext4', mountable: '/dev/sda1', mountpoint: '/' },
  mountable_device: { mountable: 'btrfsvol:/dev/sdb1/home' },
  mountable_subvolume: { mountable: 'btrfsvol:/dev/sdb1/home' },
  remount: { mountpoint: '/', rw: true },
  rmmountpoint: { exemptpath: DATA },
  umount: { pathordevice: '/' },

  // Swap
  mkswap_L: { label: 'swap' },
  mkswap_file: { path: '/swapfile' },
  swapoff_file: { file: '/swapfile' },
  swapoff_label: { label: 'swap' },
  swapon_file: { file: '/swapfile' },
  swapon_label: { label: 'swap' },

  // Files
  case_sensitive_path: { path: '/ETC/Hostname' },
  copy_file_to_file: { src: PASSWORDS, dest: FILE },
  cp: { src: PASSWORDS, dest: FILE },
  cp_a: { src: '/etc', dest: NEW },
  cp_r: { src: '/etc', dest: NEW },
  du: { path: '/etc' },
  equal: { file1: PASSWORDS, file2: FILE },
  fallocate: { path: FILE },
  fallocate64: { path: FILE, len: '1048576' },
  file_architecture: { filename: '/bin/uname' },
  filesize: { file: PASSWORDS },
  fill: { path: FILE },
  fill_dir: { dir: '/tmp', nr: 10 },
  fill_pattern: { pattern: 'abc', len: 1000, path: FILE },
  glob_expand: { pattern: '/etc/host*' },
  ln_f: { linkname: '/tmp/link' },
  lstatlist: { path: '/etc' },
  lstatnslist: { path: '/etc' },
  mkdir: { path: NEW },
  mkdir_mode: { path: NEW, mode: MODE_0700 },
  mkdir_p: { path: '/srv/www/html' },
  mkfifo: { mode: MODE_0600, path: NEW },
  mknod: { mode: BLOCK_DEVICE_0600, path: NEW },
  mknod_b: { mode: MODE_0600, path: NEW },
  mknod_c: { mode: MODE_0600, path: NEW },
  mv: { src: FILE, dest: NEW },
  pread: { path: PASSWORDS, count: 100 },
  pwrite: { path: FILE },
  readlink: { path: '/etc/os-release' },
  readlinklist: { path: '/etc', names: ['os-release', 'hostname'] },
  realpath: { path: '/etc/os-release' },
  rename: { oldpath: FILE, newpath: NEW },
  rm: { path: FILE },
  rm_f: { path: FILE },
  rm_rf: { path: NEW },
  rmdir: { path: NEW },
  scrub_file: { file: FILE },
  touch: { path: FILE },
  truncate: { path: FILE },
  truncate_size: { path: FILE, size: '1048576' },
  write: { path: FILE },
  write_append: { path: FILE },
  write_file: { path: FILE, content: 'hello', size: 5 },

  // Text
  egrep: { regex: '^(root|daemon):', path: PASSWORDS },
  egrepi: { regex: '^(ROOT|daemon):', path: PASSWORDS },
  fgrep: { path: PASSWORDS },
  fgrepi: { pattern: 'ROOT', path: PASSWORDS },
  grep: { path: PASSWORDS },
  grepi: { regex: '^ROOT:', path: PASSWORDS },
  head: { path: PASSWORDS },
  head_n: { nrlines: 5, path: PASSWORDS },
  strings: { path: '/bin/uname' },
  strings_e: { encoding: 'l', path: '/bin/uname' },
  tail: { path: PASSWORDS },
  tail_n: { nrlines: 5, path: PASSWORDS },
  wc_c: { path: PASSWORDS },
  wc_l: { path: PASSWORDS },
  wc_w: { path: PASSWORDS },
  zegrep: { regex: 'error|warning', path: LOG },
  zegrepi: { regex: 'error|warning', path: LOG },
  zfgrep: { pattern: 'error', path: LOG },
  zfgrepi: { pattern: 'error', path: LOG },
  zgrep: { regex: 'error', path: LOG },
  zgrepi: { regex: 'error', path: LOG },

  // Attributes
  acl_set_file: { acl: 'u::rw-,g::r--,o::r--' },
  cap_get_file: { path: '/bin/ping' },
  cap_set_file: { path: '/bin/ping', cap: 'cap_net_raw+ep' },
  chmod: { mode: MODE_0644 },
  chown: { owner: 0, group: 0 },
  copy_attributes: { src: PASSWORDS, dest: FILE, all: true },
  getxattr: { name: 'user.comment' },
  lchown: { owner: 0, group: 0, path: '/tmp/link' },
  lgetxattr: { name: 'user.comment' },
  lsetxattr: { val: 'hello', vallen: 5 },
  lxattrlist: { path: '/etc' },
  selinux_relabel: { path: '/' },
  set_e2attrs: { file: FILE, attrs: 'd' },
  set_e2generation: { file: FILE, generation: '42' },
  setcon: { context: 'system_u:system_r:unconfined_t:s0' },
  setfiles: { paths: ['/'] },
  setxattr: { val: 'hello', vallen: 5 },
  umask: { mask: 18 },
  utimens: { path: FILE, atsecs: '1700000000', atnsecs: '0', mtsecs: '1700000000', mtnsecs: '0' },

  // Files and archives on the move
  base64_in: { filename: FILE },
  base64_out: { filename: PASSWORDS },
  compress_out: { file: PASSWORDS },
  copy_in: { localpath: 'files' },
  copy_out: { remotepath: '/etc', localdir: 'received' },
  cpio_out: { directory: '/etc' },
  download: { remotefilename: PASSWORDS },
  download_offset: { remotefilename: PASSWORDS, size: '10' },
  rsync: { src: '/etc', dest: NEW, archive: true },
  rsync_in: { remote: 'rsync://rsync.example.com/files', dest: '/srv', archive: true },
  rsync_out: { src: '/etc', remote: 'rsync://rsync.example.com/backup', archive: true },
  tar_in: { directory: '/tmp', compress: 'gzip' },
  tar_out: { directory: '/etc' },
  tgz_in: { directory: '/tmp' },
  txz_in: { directory: '/tmp' },
  upload: { remotefilename: FILE },
  upload_offset: { remotefilename: FILE },
  zfile: { meth: 'gzip', path: LOG },

  // LVM
  is_lv: { mountable: VOLUME },
  lvcreate: { mbytes: 64 },
  lvcreate_free: { logvol: 'data' },
  lvm_canonical_lv_name: { lvname: '/dev/mapper/group-root' },
  lvm_scan: { activate: true },
  lvm_set_filter: { devices: [DISK] },
  lvremove: { device: VOLUME },
  lvrename: { logvol: VOLUME, newlogvol: '/dev/group/home' },
  lvresize: { device: VOLUME, mbytes: 128 },
  lvresize_free: { lv: VOLUME },
  lvuuid: { device: VOLUME },
  pvresize_size: { size: '268435456' },
  pvuuid: { device: PARTITION },
  vg_activate: { activate: true },
  vg_activate_all: { activate: true },
  vgcreate: { physvols: [PARTITION] },
  vgrename: { newvolgroup: 'data' },

  // RAID
  md_create: { name: 'array', devices: [DISK, '/dev/sdc'] },
  md_detail: { md: ARRAY },
  md_stat: { md: ARRAY },
  md_stop: { md: ARRAY },

  // Windows dynamic disks
  ldmtool_diskgroup_disks: { diskgroup: DISK_GROUP },
  ldmtool_diskgroup_name: { diskgroup: DISK_GROUP },
  ldmtool_diskgroup_volumes: { diskgroup: DISK_GROUP },
  ldmtool_scan_devices: { devices: [DISK, '/dev/sdc'] },
  ldmtool_volume_hint: { diskgroup: DISK_GROUP, volume: 'Volume1' },
  ldmtool_volume_partitions: { diskgroup: DISK_GROUP, volume: 'Volume1' },
  ldmtool_volume_type: { diskgroup: DISK_GROUP, volume: 'Volume1' },

  // Encryption
  cryptsetup_close: { device: '/dev/mapper/opened' },
  luks_add_key: { keyslot: 1 },
  luks_close: { device: '/dev/mapper/opened' },
  luks_format_cipher: { cipher: 'aes-xts-plain64' },
  luks_kill_slot: { keyslot: 1 },
  luks_uuid: { device: PARTITION },

  // Augeas
  aug_clear: { augpath: '/files/etc/hosts/1/alias' },
  aug_defnode: { name: 'new', expr: '/files/etc/hosts/01/ipaddr', val: '192.0.2.1' },
  aug_defvar: { name: 'hosts', expr: '/files/etc/hosts/*[ipaddr]' },
  aug_get: { augpath: '/files/etc/hosts/1/canonical' },
  aug_init: { flags: 0 },
  aug_insert: { label: '02', before: true },
  aug_ls: { augpath: '/files/etc/hosts' },
  aug_match: { augpath: '/files/etc/hosts/*[ipaddr = "127.0.0.1"]' },
  aug_mv: { src: '/files/etc/hosts/2', dest: '/files/etc/hosts/20' },
  aug_rm: { augpath: '/files/etc/hosts/1/alias' },
  aug_set: { augpath: '/files/etc/hosts/1/canonical', val: 'localhost' },
  aug_setm: { base: '/files/etc/hosts/*[ipaddr]', sub: 'canonical', val: 'example.com' },
  aug_transform: { lens: 'Hosts.lns', file: '/etc/hosts.local' },

  // Registry hives
  hivex_node_add_child: { parent: NODE, name: 'Example' },
  hivex_node_children: { nodeh: NODE },
  hivex_node_delete_child: { nodeh: CHILD },
  hivex_node_get_child: { nodeh: NODE, name: 'Microsoft' },
  hivex_node_get_value: { nodeh: CHILD, key: 'ProductName' },
  hivex_node_name: { nodeh: NODE },
  hivex_node_parent: { nodeh: CHILD },
  hivex_node_set_value: { nodeh: CHILD, key: 'ProductName', t: '1', val: 'aABpAAAA' },
  hivex_node_values: { nodeh: CHILD },
  hivex_open: { filename: HIVE, write: true },
  hivex_value_key: { valueh: REGISTRY_VALUE },
  hivex_value_string: { valueh: REGISTRY_VALUE },
  hivex_value_type: { valueh: REGISTRY_VALUE },
  hivex_value_utf8: { valueh: REGISTRY_VALUE },
  hivex_value_value: { valueh: REGISTRY_VALUE },

  // Inspection
  inspect_get_drive_mappings: { root: WINDOWS },
  inspect_get_windows_current_control_set: { root: WINDOWS },
  inspect_get_windows_group_policy: { root: WINDOWS },
  inspect_get_windows_software_hive: { root: WINDOWS },
  inspect_get_windows_system_hive: { root: WINDOWS },
  inspect_get_windows_systemroot: { root: WINDOWS },
  inspect_list_applications: { root: '/dev/sda1' },
  inspect_list_applications2: { root: '/dev/sda1' },

  // Watching; 4095 is IN_ALL_EVENTS
  inotify_add_watch: { path: '/etc', mask: 4095 },
  inotify_init: { maxevents: 1000 },
  inotify_rm_watch: { wd: 1 },

  // Journal
  journal_open: { directory: '/var/log/journal' },
  journal_set_data_threshold: { threshold: '65536' },
  journal_skip: { skip: '10' },

  // Commands
  command: { arguments: PROGRAM },
  command_lines: { arguments: PROGRAM },
  command_out: { arguments: PROGRAM },
  sh: { command: 'uname -a' },
  sh_lines: { command: 'uname -a' },
  sh_out: { command: 'uname -a' },

  // Forensics
  download_blocks: { start: '0', stop: '8' },
  download_inode: { inode: INODE },
  find_inode: { inode: INODE },

  // Boot loaders
  extlinux: { directory: '/boot' },
  grub_install: { device: '/dev/sda' },
  initrd_cat: { initrdpath: INITRD, filename: 'etc/hostname' },
  initrd_list: { path: INITRD },

  // Debugging
  debug: { subcmd: 'help', extraargs: [] },
  debug_upload: { tmpname: NEW, mode: MODE_0644 },
};
