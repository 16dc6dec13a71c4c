/** Actions with scripted answers, as a report calls them. */
import type { Application2 } from '../../../../gen/proto/guestfs/v1/structs.js';
import { GuestfsError } from '../../../../src/common/errors.js';
import type { ActionCalls } from '../../../../src/library/report/actionCalls.js';

/** An answer of an action: a value, a function of the request, or an error to throw. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- tests know their requests
export type Script = Readonly<Record<string, object | ((request: any) => object)>>;

/** A drive with one ext4 and a Debian on it. */
export const oneSystem: Script = {
  list_devices: { devices: ['/dev/sda'] },
  list_partitions: { partitions: ['/dev/sda1'] },
  blockdev_getsize64: { sizeinbytes: 1024n },
  part_to_dev: { device: '/dev/sda' },
  part_to_partnum: { partnum: 1 },
  part_get_parttype: { parttype: 'msdos' },
  part_list: { partitions: [{ part_num: 1, part_start: 512n, part_end: 1023n, part_size: 512n }] },
  part_get_mbr_id: { idbyte: 0x83 },
  list_filesystems: { fses: new Map([['/dev/sda1', 'ext4']]) },
  vfs_label: { label: 'root' },
  vfs_uuid: { uuid: 'some-uuid' },
  vfs_type: { fstype: '' },
  lvs: { logvols: [] },
  list_md_devices: { devices: [] },
  list_dm_devices: { devices: [] },
  list_ldm_volumes: { devices: [] },
  inspect_os: { roots: ['/dev/sda1'] },
  inspect_get_type: { name: 'linux' },
  inspect_get_distro: { distro: 'debian' },
  inspect_get_product_name: { product: '12.7' },
  inspect_get_product_variant: { variant: 'unknown' },
  inspect_get_major_version: { major: 12 },
  inspect_get_minor_version: { minor: 7 },
  inspect_get_hostname: { hostname: 'host' },
  inspect_get_arch: { arch: 'x86_64' },
  inspect_get_package_format: { packageformat: 'deb' },
  inspect_get_package_management: { packagemanagement: 'apt' },
  inspect_get_build_id: { buildid: 'unknown' },
  inspect_get_mountpoints: { mountpoints: new Map([['/', '/dev/sda1']]) },
  inspect_get_filesystems: { filesystems: ['/dev/sda1'] },
  inspect_get_drive_mappings: { drives: new Map() },
  inspect_get_osinfo: { id: 'debian12' },
  inspect_list_applications2: { applications2: [] },
  is_file: { fileflag: false },
  is_dir: { dirflag: false },
  glob_expand: { paths: [] },
  realpath: () => {
    throw daemonError('no such file');
  },
  debug: { result: '' },
  mount_ro: {},
  umount_all: {},
};

/** The actions, and the calls made, in order. */
export class ScriptedActions implements ActionCalls {
  readonly called: { readonly action: string; readonly request: object }[] = [];

  constructor(private readonly answers: Script) {}

  #answer(action: string, request: object): Promise<never> {
    this.called.push({ action, request });
    const scripted = this.answers[action];
    if (scripted === undefined) throw new Error(`${action} was not expected`);
    const value = typeof scripted === 'function' ? (scripted as (given: object) => object)(request) : scripted;
    return value instanceof Error ? Promise.reject(value) : Promise.resolve(value as never);
  }

  call: ActionCalls['call'] = (call, request) => this.#answer(call.action, request as object);
  library: ActionCalls['library'] = (name, root) => this.#answer(name, { root }) as never;
  packages: ActionCalls['packages'] = async (format) => {
    const { applications2, notes = [] }: { applications2: readonly Application2[]; notes?: readonly string[] } =
      await this.#answer('inspect_list_applications2', { format });
    return { applications: applications2, notes };
  };
  script: ActionCalls['script'] = async (text) => {
    const { result }: { result: string } = await this.#answer('debug', { text });
    return result;
  };

  /** Requests of one action. */
  requests(action: string): object[] {
    return this.called.filter((one) => one.action === action).map(({ request }) => request);
  }
}

export const daemonError = (message: string): GuestfsError => new GuestfsError('EIO', message);

/** An application with only some fields given. */
export function application(given: Partial<Application2>): Application2 {
  return {
    app2_name: '',
    app2_display_name: '',
    app2_epoch: 0,
    app2_version: '',
    app2_release: '',
    app2_arch: '',
    app2_install_path: '',
    app2_trans_path: '',
    app2_publisher: '',
    app2_url: '',
    app2_source_package: '',
    app2_summary: '',
    app2_description: '',
    app2_class: '',
    app2_spare2: '',
    app2_spare3: '',
    app2_spare4: '',
    ...given,
  };
}
