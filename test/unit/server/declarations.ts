/**
 * The restrictions that records declare, listed separately: a declaration that is removed from a record by
 * mistake would otherwise remove its own test. The states of actions that need the daemon follow from that.
 */
import { ANY_STATE, statesOf } from '../../../src/actions/callRules.js';
import { needsDaemon } from '../../../src/actions/shape.js';
import type { ActionDef } from '../../../src/actions/types.js';

type Declarations = Readonly<Record<string, readonly string[]>>;

function declared(action: ActionDef): readonly string[] {
  const states = needsDaemon(action) ? [] : [`state ${statesOf(action).join(' or ')}`];
  const permissions = (action.permissions ?? []).map(({ permission, when }) => {
    if (when === undefined) return permission;
    return `${permission} ${when === 'found' ? 'if found' : 'by request'}`;
  });
  return [
    ...states.filter((state) => state !== `state ${ANY_STATE.join(' or ')}`),
    ...permissions,
    ...(action.notOverNetwork === undefined ? [] : ['refused']),
    ...(action.visibility === 'debug' ? ['debug service'] : []),
  ];
}

/** Names of the actions with each declaration. */
export function declarationsOf(actions: readonly ActionDef[]): Declarations {
  const all: Record<string, string[]> = {};
  for (const action of actions) for (const one of declared(action)) (all[one] ??= []).push(action.name);
  return Object.fromEntries(Object.entries(all).map(([one, names]) => [one, names.sort()]));
}

/** The expected declarations. */
export const DECLARATIONS: Declarations = {
  'state READY': ['get_pid', 'wait_ready'],
  'state CONFIG': [
    'add_cdrom',
    'add_domain',
    'add_drive_ro',
    'add_drive_ro_with_if',
    'add_drive_with_if',
    'add_libvirt_dom',
    'clear_backend_setting',
    'config',
    'launch',
    'set_append',
    'set_attach_method',
    'set_backend',
    'set_backend_setting',
    'set_backend_settings',
    'set_cachedir',
    'set_direct',
    'set_hv',
    'set_memsize',
    'set_network',
    'set_path',
    'set_pgroup',
    'set_qemu',
    'set_recovery_proc',
    'set_selinux',
    'set_smp',
    'set_tmpdir',
  ],
  refused: [
    'c_pointer',
    'get_libvirt_requested_credential_challenge',
    'get_libvirt_requested_credential_defresult',
    'get_libvirt_requested_credential_prompt',
    'get_libvirt_requested_credentials',
    'mount_local',
    'mount_local_run',
    'set_libvirt_requested_credential',
    'set_libvirt_supported_credentials',
    'umount_local',
  ],
  'host-actions': [
    'add_domain',
    'add_libvirt_dom',
    'clear_backend_setting',
    'copy_in',
    'copy_out',
    'parse_environment',
    'parse_environment_list',
    'set_append',
    'set_attach_method',
    'set_backend',
    'set_backend_setting',
    'set_backend_settings',
    'set_cachedir',
    'set_path',
    'set_tmpdir',
  ],
  'custom-qemu': ['config', 'set_hv', 'set_qemu'],
  'custom-qemu by request': ['add_domain', 'parse_environment', 'parse_environment_list'],
  'network by request': ['set_network'],
  'remote-drives if found': ['add_domain', 'add_libvirt_dom'],
  'state CONFIG or READY': ['add_drive', 'add_drive_scratch', 'remove_drive'],
  'remote-drives by request': ['add_drive'],
  'block-devices if found': ['add_drive'],
  'backing-files if found': ['add_drive'],
  'debug service': ['debug', 'debug_drives', 'debug_upload', 'internal_exit'],
};
