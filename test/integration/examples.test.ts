/**
 * Every example of the reference works: each request is sent as it is printed, to a guest that
 * has what it names. The order is that of a life: what is there is looked at, then changed, then
 * done away with.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { allActions } from '../../src/actions/areas.js';
import { SessionState } from '../../gen/proto/guestfs/v1/session.js';
import { hasRpc } from '../../src/actions/shape.js';
import { DaemonVersion } from '../../src/protocol/daemonVersion.js';
import { describeWithAppliance } from '../support/appliance.js';
import { emptyImage } from '../support/diskImages.js';
import { dynamicDisk } from '../support/dynamicDisks.js';
import { eventually } from '../support/eventually.js';
import { actionNamed, callExample, outcomeOf } from '../support/exampleCalls.js';
import { fillExampleGuest, type MadeImages } from '../support/guests/exampleGuest.js';
import { windows } from '../support/guests/windows.js';
import { inGuest } from '../support/launchKinds.js';
import { describeDomain } from '../support/libvirtDomains.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { failureOf, imageDrive, scratchDrive, SessionClient } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;
const DISK_MB = 400;
const FILE = '/tmp/file';
const NEW = '/tmp/new';

/** What cannot work here: the reason that the call fails for, and ours. */
const EXPECTED: Readonly<Record<string, readonly [reason: string, why: string]>> = {
  list_9p: ['DAEMON_ERROR', 'libguestfs has removed it'],
  mount_9p: ['DAEMON_ERROR', 'libguestfs has removed it'],
  rsync_in: ['DAEMON_ERROR', 'there is no such server, and no network'],
  rsync_out: ['DAEMON_ERROR', 'there is no such server, and no network'],
  clevis_luks_unlock: ['DAEMON_ERROR', 'the device is not bound to any Tang server'],
  setcon: ['EINVAL', 'SELinux is off in the appliance'],
  sfdiskM: ['DAEMON_ERROR', 'the sfdisk of today has no option -uM'],
  btrfs_balance_pause: ['DAEMON_ERROR', 'the balance of so small a file system ends at once'],
  btrfs_balance_resume: ['DAEMON_ERROR', 'so there is none to go on with'],
  btrfs_balance_cancel: ['DAEMON_ERROR', 'or to end'],
  btrfs_scrub_cancel: ['DAEMON_ERROR', 'the scrub has ended'],
  btrfs_scrub_resume: ['DAEMON_ERROR', 'and was complete'],
};

/** Key derivation is made fast, as it is not tested here. */
const QUICK_KEYS = `cd "$(dirname "$(command -v cryptsetup)")" && mv cryptsetup cryptsetup.slow && cat > cryptsetup <<'END' && chmod +x cryptsetup
#!/bin/sh
case "$*" in *luksFormat* | *luksAddKey*) set -- "$@" --pbkdf pbkdf2 --pbkdf-force-iterations 1000 ;; esac
exec cryptsetup.slow "$@"
END`;

describeWithAppliance('the examples of the reference', () => {
  const libvirt = mkdtempSync(join(tmpdir(), 'examples-'));
  const scene = serverForTests({
    flags: ['--debug-service', '--allow', 'host-actions', '--allow', 'network', '--allow', 'custom-qemu'],
    env: { LIBVIRT_DEFAULT_URI: `test://${join(libvirt, 'node.xml')}` },
  });
  const sent = new Set<string>();
  let session: SessionClient;
  let images: MadeImages;
  let daemon: DaemonVersion;

  /** The reason that an example has to fail for; undefined: it has to work. */
  function expectedReason(name: string): string | undefined {
    const { impl, notOverNetwork, since } = actionNamed(name);
    if (notOverNetwork !== undefined) return 'NOT_OVER_NETWORK';
    if (impl === 'daemon' && !daemon.atLeast(since)) return 'ACTION_NOT_IN_DAEMON';
    return EXPECTED[name]?.[0];
  }

  /** Sends the examples of actions, one after the other, and reports those with an unexpected outcome. */
  async function wrong(
    names: string,
    { on = session, before = async () => undefined }: { on?: SessionClient; before?: () => Promise<unknown> } = {},
  ): Promise<readonly string[]> {
    const found: string[] = [];
    for (const name of names.trim().split(/\s+/)) {
      await before();
      const outcome = await outcomeOf(callExample(on, actionNamed(name)));
      sent.add(name);
      const reason = expectedReason(name);
      if (outcome?.reason !== reason)
        found.push(
          `${name}: ${outcome === undefined ? 'works' : `${outcome.reason}: ${outcome.text}`}${reason === undefined ? '' : ` instead of ${reason}`}`,
        );
    }
    return found;
  }

  /** Creates empty partitions of these sizes in MiB on the second disk. */
  async function partitions(...sizes: readonly number[]): Promise<void> {
    const table = ['label: gpt', ...sizes.map((size) => `size=${size}M`)].join('\\n');
    // With udev's lock: the kernel keeps the old partitions while one of them is open.
    await inGuest(
      session,
      `wipefs --lock -qaf /dev/sdb && printf '${table}\\n' | sfdisk --lock -q --wipe always --wipe-partitions always /dev/sdb && udevadm settle`,
    );
    // The previous content may look like something else.
    for (const number of sizes.keys()) await session.call('zero', { device: `/dev/sdb${number + 1}` });
  }

  const make =
    (fstype: string, device = '/dev/sdb1') =>
    (): Promise<unknown> =>
      session.call('mkfs', { fstype, device });
  const mountData = (mountable: string): Promise<unknown> => session.call('mount', { mountable, mountpoint: '/data' });
  const unmountData = (): Promise<unknown> => session.call('umount', { pathordevice: '/data' });
  /** Before actions that make a file, and those that need one. */
  const freshFiles = async (): Promise<void> => {
    await session.call('rm_rf', { path: NEW });
    await session.call('rm_rf', { path: '/tmp/link' });
    await session.call('write', { path: FILE, content: Buffer.from('something\n') });
  };

  beforeAll(async () => {
    const root = scene.server.images;
    emptyImage(join(root, 'guest.img'), 40);
    emptyImage(join(root, 'spare.img'), DISK_MB);
    emptyImage(join(root, 'disk.img'), 16);
    mkdirSync(join(root, 'received'));
    mkdirSync(join(root, 'files'));
    writeFileSync(join(root, 'files', 'hello'), 'hello\n');
    writeFileSync(
      join(libvirt, 'node.xml'),
      `<node>${describeDomain({
        name: 'guest',
        disks: `<disk type="file" device="disk"><driver name="qemu" type="raw"/><source file="${join(root, 'disk.img')}"/><target dev="vda"/></disk>`,
      })}</node>`,
    );
    session = await launchSession(scene.client, [
      imageDrive('guest.img', { discard: 'besteffort' }),
      imageDrive('spare.img', { discard: 'besteffort' }),
      scratchDrive(DISK_MB * MEBIBYTE),
    ]);
    daemon = new DaemonVersion((await scene.client.getSession(session.id)).daemon_version);
    images = await fillExampleGuest(session);
  });

  afterAll(() => rmSync(libvirt, { recursive: true, force: true }));

  it('ask about session and appliance', async () => {
    expect(
      await wrong(`
      available available_all_groups dmesg drop_caches echo_daemon feature_available filesystem_available
      get_pid get_state is_busy is_config is_launching is_ready modprobe ping_daemon sleep utsname version wait_ready
      get_append get_attach_method get_autosync get_backend get_backend_settings get_cachedir get_direct get_hv
      get_identifier get_memsize get_network get_path get_pgroup get_program get_qemu get_recovery_proc get_selinux
      get_smp get_sockdir get_tmpdir get_trace get_verbose
      c_pointer get_libvirt_requested_credentials get_libvirt_requested_credential_challenge
      get_libvirt_requested_credential_defresult get_libvirt_requested_credential_prompt
      set_libvirt_requested_credential set_libvirt_supported_credentials
      mount_local mount_local_run umount_local
      max_disks user_cancel debug debug_drives debug_upload`),
    ).toEqual([]);
  });

  it('inspect devices, partitions and file systems', async () => {
    await partitions(4);
    expect(
      await wrong(`
      blkdiscardzeroes blkid blockdev_flushbufs blockdev_getbsz blockdev_getro blockdev_getsize64 blockdev_getss blockdev_getsz
      canonical_device_name checksum_device device_index device_name is_whole_device is_zero_device list_devices
      list_disk_labels list_dm_devices nr_devices pread_device list_md_devices
      list_partitions part_get_bootable part_get_disk_guid part_get_gpt_attributes part_get_gpt_guid part_get_gpt_type
      part_get_name part_get_parttype part_list part_to_dev part_to_partnum
      sfdisk_disk_geometry sfdisk_kernel_geometry sfdisk_l
      findfs_label findfs_partlabel findfs_partuuid findfs_uuid get_e2label get_e2uuid list_filesystems tune2fs_l
      vfs_label vfs_minimum_size vfs_type vfs_uuid mountpoints mounts df df_h
      download_blocks download_inode filesystem_walk find_inode`),
    ).toEqual([]);
  });

  it('inspect files', async () => {
    await freshFiles();
    expect(
      await wrong(`
      case_sensitive_path cat checksum checksums_out du equal exists file file_architecture filesize find find0 glob_expand
      hexdump is_blockdev is_chardev is_dir is_fifo is_file is_socket is_symlink is_zero ll llz ls ls0 lstat lstatlist
      lstatns lstatnslist pread read_file read_lines readdir readlink readlinklist realpath stat statns statvfs
      egrep egrepi fgrep fgrepi grep grepi head head_n strings strings_e tail tail_n wc_c wc_l wc_w
      zegrep zegrepi zfgrep zfgrepi zgrep zgrepi zfile
      base64_out compress_out compress_device_out cpio_out download download_offset tar_out tgz_out txz_out mksquashfs
      isoinfo initrd_cat initrd_list yara_load yara_scan yara_destroy`),
    ).toEqual([]);
  });

  it('change files', async () => {
    expect(
      await wrong(
        `
      copy_file_to_file copy_size cp cp_a cp_r fallocate fallocate64 fill fill_dir fill_pattern
      ln ln_f ln_s ln_sf mkdir mkdir_mode mkdir_p mkdtemp mkfifo mknod mknod_b mknod_c mktemp mv
      pwrite rename rm rm_f rm_rf scrub_file touch truncate truncate_size write write_append write_file
      base64_in copy_in copy_out rsync rsync_in rsync_out tar_in tgz_in txz_in upload upload_offset`,
        { before: freshFiles },
      ),
    ).toEqual([]);
    await freshFiles();
    await session.call('mkdir', { path: NEW });
    expect(await wrong('rmdir')).toEqual([]);
  });

  it('change attributes of files', async () => {
    await freshFiles();
    await session.call('ln_s', { target: 'file', linkname: '/tmp/link' });
    expect(
      await wrong(`
      acl_set_file acl_get_file acl_delete_def_file cap_set_file cap_get_file chmod chown lchown copy_attributes
      set_e2attrs get_e2attrs set_e2generation get_e2generation get_umask umask utimens
      setxattr getxattr getxattrs lgetxattr lgetxattrs lxattrlist removexattr lsetxattr lremovexattr
      getcon setcon selinux_relabel setfiles`),
    ).toEqual([]);
  });

  it('watch files, and read and edit what is in them', async () => {
    expect(
      await wrong('inotify_init inotify_add_watch inotify_files inotify_read inotify_rm_watch inotify_close'),
    ).toEqual([]);
    expect(
      await wrong(`
      aug_init aug_get aug_label aug_ls aug_match aug_defvar aug_set aug_setm aug_save aug_load aug_transform
      aug_clear aug_rm aug_mv aug_insert aug_defnode aug_close`),
    ).toEqual([]);
    expect(
      await wrong(`
      journal_open journal_next journal_get journal_get_realtime_usec journal_skip
      journal_set_data_threshold journal_get_data_threshold journal_close`),
    ).toEqual([]);
  });

  it('run commands', async () => {
    expect(await wrong('command command_lines command_out sh sh_lines sh_out')).toEqual([]);
  });

  it('mount and unmount', async () => {
    const unmount = (): Promise<unknown> => session.call('umount_all');
    expect(await wrong('mount mount_options mount_ro mount_vfs', { before: unmount })).toEqual([]);
    expect(await wrong('remount mount_loop list_9p mount_9p')).toEqual([]);
    await session.call('umount', { pathordevice: '/mnt' });
    expect(await wrong('umount mkmountpoint rmmountpoint mount umount_all mount')).toEqual([]);
  });

  it('change devices', async () => {
    await partitions(4);
    expect(
      await wrong(`
      blockdev_rereadpt blockdev_setbsz blockdev_setra blockdev_setro blockdev_setrw
      copy_device_to_file copy_file_to_device copy_device_to_device dd
      scrub_device wipefs zero zero_device pwrite_device blkdiscard`),
    ).toEqual([]);
    await session.upload('upload', { remotefilename: '/dev/sdb' }, [images.iso]);
    expect(await wrong('isoinfo_device')).toEqual([]);
  });

  it('partition disks', async () => {
    await partitions();
    expect(await wrong('part_init part_add')).toEqual([]);
    await partitions(8);
    expect(
      await wrong(`
      part_resize part_set_bootable part_set_disk_guid part_set_disk_guid_random part_set_gpt_attributes
      part_set_gpt_guid part_set_gpt_type part_set_name part_expand_gpt part_del part_disk`),
    ).toEqual([]);
    await session.call('part_disk', { device: '/dev/sdb', parttype: 'mbr' });
    expect(await wrong('part_get_mbr_id part_get_mbr_part_type part_set_mbr_id sfdisk sfdisk_N sfdiskM')).toEqual([]);
  });

  it('make, check and change ext file systems', async () => {
    await partitions(96, 16);
    expect(await wrong('mke2journal mke2fs_J mke2journal_L mke2fs_JL mke2journal_U mke2fs_JU')).toEqual([]);
    await partitions(96);
    expect(
      await wrong(
        'mke2fs mkfs_b mkfs e2fsck e2fsck_f fsck zerofree set_label set_uuid set_uuid_random set_e2label set_e2uuid tune2fs sync',
      ),
    ).toEqual([]);
    const check = (): Promise<unknown> => session.call('e2fsck', { device: '/dev/sdb1', forceall: true });
    expect(await wrong('resize2fs resize2fs_M resize2fs_size', { before: check })).toEqual([]);
    await partitions(4);
    await make('ext2')();
    await mountData('/dev/sdb1');
    await session.call('rmdir', { path: '/data/lost+found' });
    await session.call('mkdir', { path: '/data/scrub' });
    expect(await wrong('mklost_and_found zero_free_space scrub_freespace fstrim')).toEqual([]);
    await unmountData();
  });

  it('use swap', async () => {
    await partitions(8);
    expect(
      await wrong(
        'mkswap swapon_device swapoff_device mkswap_L swapon_label swapoff_label mkswap_U swapon_uuid swapoff_uuid',
      ),
    ).toEqual([]);
    await session.call('fallocate64', { path: '/swapfile', len: BigInt(MEBIBYTE) });
    expect(await wrong('mkswap_file swapon_file swapoff_file')).toEqual([]);
  });

  it('make other file systems', async () => {
    await partitions(96);
    await make('f2fs')();
    expect(await wrong('f2fs_expand')).toEqual([]);
    await make('ntfs')();
    expect(await wrong('ntfs_3g_probe ntfscat_i ntfsclone_out ntfsfix ntfs_chmod')).toEqual([]);
    expect(await wrong('ntfsresize ntfsresize_size ntfsclone_in', { before: make('ntfs') })).toEqual([]);
    await make('vfat')();
    expect(await wrong('syslinux extlinux grub_install')).toEqual([]);
    await partitions(350);
    await make('xfs')();
    expect(await wrong('xfs_admin xfs_repair')).toEqual([]);
    await mountData('/dev/sdb1');
    expect(await wrong('xfs_growfs xfs_info xfs_info2')).toEqual([]);
    await unmountData();
  });

  it('use Btrfs', async () => {
    await partitions(128);
    expect(
      await wrong(
        'mkfs_btrfs btrfs_filesystem_show btrfs_fsck btrfs_image btrfs_rescue_super_recover btrfs_rescue_chunk_recover',
      ),
    ).toEqual([]);
    expect(
      await wrong(
        'btrfstune_enable_extended_inode_refs btrfstune_enable_skinny_metadata_extent_refs btrfs_set_seeding btrfstune_seeding',
        { before: make('btrfs') },
      ),
    ).toEqual([]);
    // A smaller one is not resized.
    await partitions(260);
    await make('btrfs')();
    await mountData('/dev/sdb1');
    expect(
      await wrong(`
      btrfs_subvolume_create btrfs_subvolume_list btrfs_subvolume_show btrfs_subvolume_get_default btrfs_subvolume_set_default
      mountable_device mountable_subvolume btrfs_subvolume_snapshot btrfs_quota_enable`),
    ).toEqual([]);
    // Enabling quotas begins a rescan, during which no other can begin.
    await inGuest(session, 'btrfs quota rescan -w /sysroot/data');
    expect(
      await wrong(`
      btrfs_quota_rescan btrfs_qgroup_show btrfs_qgroup_limit btrfs_qgroup_create btrfs_qgroup_assign
      btrfs_qgroup_remove btrfs_qgroup_destroy
      btrfs_filesystem_defragment btrfs_filesystem_sync btrfs_filesystem_resize btrfs_filesystem_balance btrfs_balance_status
      btrfs_balance_pause btrfs_balance_resume btrfs_balance_cancel
      btrfs_scrub_start btrfs_scrub_status btrfs_scrub_cancel btrfs_scrub_resume btrfs_scrub_full
      btrfs_device_add btrfs_device_delete btrfs_replace`),
    ).toEqual([]);
    await unmountData();
    await make('btrfs')();
    await mountData('/dev/sdb1');
    await session.call('btrfs_subvolume_create', { dest: '/data/home' });
    expect(await wrong('btrfs_subvolume_delete')).toEqual([]);
    await unmountData();
  });

  it('use LVM', async () => {
    await partitions(300);
    const rename = (from: string, to: string) =>
      session.call('lvrename', { logvol: `/dev/group/${from}`, newlogvol: `/dev/group/${to}` });
    expect(
      await wrong(`
      pvcreate pvs pvs_full pvuuid pvresize pvresize_size vgcreate vgs vgs_full vguuid vgmeta vgpvuuids
      lvcreate lvs lvs_full lvuuid vglvuuids is_lv lvm_canonical_lv_name lvcreate_free lvresize lvresize_free
      lvm_scan vgscan vg_activate vg_activate_all lvrename`),
    ).toEqual([]);
    await rename('home', 'root');
    const stop = (): Promise<unknown> => session.call('vg_activate_all', { activate: false });
    expect(await wrong('pvchange_uuid pvchange_uuid_all vgchange_uuid vgchange_uuid_all', { before: stop })).toEqual(
      [],
    );
    await session.call('vg_activate_all', { activate: true });
    expect(await wrong('lvm_set_filter lvm_clear_filter lvremove vgrename')).toEqual([]);
    await session.call('vgrename', { volgroup: 'data', newvolgroup: 'group' });
    expect(await wrong('vgremove pvremove lvm_remove_all')).toEqual([]);
  });

  it('use RAID', async () => {
    for (const device of ['/dev/sdb', '/dev/sdc']) await session.call('zero', { device });
    expect(await wrong('md_create md_detail md_stat md_stop')).toEqual([]);
  });

  it('use encryption', async () => {
    await inGuest(session, QUICK_KEYS);
    await partitions(32);
    expect(
      await wrong(`
      luks_format_cipher luks_format luks_uuid luks_add_key luks_kill_slot luks_open luks_close luks_open_ro luks_close
      cryptsetup_open cryptsetup_close clevis_luks_unlock`),
    ).toEqual([]);
    await partitions();
  });

  it('inspect', async () => {
    expect(
      await wrong(`
      inspect_os inspect_get_roots inspect_get_arch inspect_get_build_id inspect_get_distro inspect_get_filesystems inspect_get_format
      inspect_get_hostname inspect_get_major_version inspect_get_minor_version inspect_get_mountpoints inspect_get_osinfo
      inspect_get_package_format inspect_get_package_management inspect_get_product_name inspect_get_product_variant
      inspect_get_type inspect_is_live inspect_is_multipart inspect_is_netinst mount
      inspect_list_applications inspect_list_applications2 inspect_get_icon`),
    ).toEqual([]);
  });

  it('are of Windows, too', async () => {
    const root = scene.server.images;
    emptyImage(join(root, 'windows.img'), windows.mebibytes);
    dynamicDisk(join(root, 'mbr.img'), 'mbr');
    dynamicDisk(join(root, 'gpt.img'), 'gpt');
    const on = await launchSession(scene.client, [imageDrive('windows.img')]);
    await windows.fill(on);
    expect(
      await wrong(
        `
      inspect_os inspect_get_drive_mappings inspect_get_windows_current_control_set inspect_get_windows_group_policy
      inspect_get_windows_software_hive inspect_get_windows_system_hive inspect_get_windows_systemroot`,
        { on },
      ),
    ).toEqual([]);
    await on.call('mount', { mountable: '/dev/sda2', mountpoint: '/' });
    expect(
      await wrong(
        `
      hivex_open hivex_root hivex_node_children hivex_node_name hivex_node_parent hivex_node_get_child hivex_node_values
      hivex_node_get_value hivex_value_key hivex_value_type hivex_value_value hivex_value_string hivex_value_utf8
      hivex_node_set_value hivex_node_add_child hivex_commit hivex_node_delete_child hivex_close`,
        { on },
      ),
    ).toEqual([]);
    for (const filename of ['mbr.img', 'gpt.img']) await on.call('add_drive', { filename, format: 'raw' });
    expect(
      await wrong(
        `
      ldmtool_remove_all ldmtool_create_all ldmtool_scan ldmtool_scan_devices ldmtool_diskgroup_disks ldmtool_diskgroup_name
      ldmtool_diskgroup_volumes ldmtool_volume_hint ldmtool_volume_partitions ldmtool_volume_type list_ldm_partitions list_ldm_volumes`,
        { on },
      ),
    ).toEqual([]);
    expect(await wrong('internal_exit', { on })).toEqual([]);
    await eventually(async () => (await scene.client.getSession(on.id)).state === SessionState.CONFIG);
    // The registry was changed above, and the daemon has exited without a sync.
    expect((await failureOf(scene.client.deleteSession(on.id))).reason).toBe('OUTCOME_UNKNOWN');
  });

  it('set up sessions', async () => {
    const on = new SessionClient(scene.client, (await scene.client.createSession()).id);
    expect(
      await wrong(
        `
      set_autosync set_direct set_hv set_identifier set_memsize set_network set_path set_pgroup set_program set_qemu
      set_recovery_proc set_selinux set_smp set_tmpdir set_cachedir set_trace set_verbose set_append
      set_backend set_attach_method set_backend_setting set_backend_settings get_backend_setting clear_backend_setting
      config parse_environment parse_environment_list
      disk_create disk_format disk_has_backing_file disk_virtual_size
      add_cdrom add_drive add_drive_ro add_drive_ro_with_if add_drive_scratch add_drive_with_if add_domain add_libvirt_dom
      remove_drive`,
        { on },
      ),
    ).toEqual([]);
    await scene.client.deleteSession(on.id);
  });

  it('start and stop appliances', async () => {
    const { id } = await scene.client.createSession({ drives: [scratchDrive(MEBIBYTE)] });
    const on = new SessionClient(scene.client, id);
    expect(await wrong('launch shutdown kill_subprocess', { on })).toEqual([]);
    await scene.client.deleteSession(id);
  });

  it('are all here', () => {
    expect(
      allActions
        .filter(hasRpc)
        .map(({ name }) => name)
        .filter((name) => !sent.has(name)),
    ).toEqual([]);
  });
});
