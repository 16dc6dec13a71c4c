/** Settings of a session: the pairs of get and set, with the library's checks and defaults. */
import type { PropertyLibraryActions } from '../../gen/libraryActions.js';
import { backendActions } from './backend.js';
import { environmentActions } from './environment.js';
import { hostPropertyActions } from './hostProperty.js';
import { requireLength } from '../session/settingLimits.js';
import { setIdentifier, setMemsize, setSmp } from './setters.js';

export const propertyActions: PropertyLibraryActions = {
  ...backendActions,
  ...environmentActions,
  ...hostPropertyActions,

  get_memsize: async ({ session }) => ({ memsize: session.settings.memsizeMb }),
  set_memsize: async ({ session }, { memsize }) => {
    setMemsize(session.settings, memsize);
    return {};
  },
  get_smp: async ({ session }) => ({ smp: session.settings.smp }),
  set_smp: async ({ session }, { smp }) => {
    setSmp(session.settings, smp);
    return {};
  },
  get_network: async ({ session }) => ({ network: session.settings.network }),
  set_network: async ({ session }, { network }) => {
    session.settings.network = network;
    return {};
  },
  get_identifier: async ({ session }) => ({ identifier: session.settings.identifier }),
  set_identifier: async ({ session }, { identifier }) => {
    setIdentifier(session.settings, identifier);
    return {};
  },

  get_autosync: async ({ session }) => ({ autosync: session.settings.autosync }),
  set_autosync: async ({ session }, { autosync }) => {
    session.settings.autosync = autosync;
    return {};
  },
  get_direct: async ({ session }) => ({ direct: session.settings.direct }),
  set_direct: async ({ session }, { direct }) => {
    session.settings.direct = direct;
    return {};
  },
  get_pgroup: async ({ session }) => ({ pgroup: session.settings.pgroup }),
  set_pgroup: async ({ session }, { pgroup }) => {
    session.settings.pgroup = pgroup;
    return {};
  },
  get_program: async ({ session }) => ({ program: session.settings.program }),
  set_program: async ({ session }, { program }) => {
    requireLength('program', program);
    session.settings.program = program;
    return {};
  },
  get_recovery_proc: async ({ session }) => ({ recoveryproc: session.settings.recoveryProc }),
  set_recovery_proc: async ({ session }, { recoveryproc }) => {
    session.settings.recoveryProc = recoveryproc;
    return {};
  },
  get_selinux: async ({ session }) => ({ selinux: session.settings.selinux }),
  set_selinux: async ({ session }, { selinux }) => {
    session.settings.selinux = selinux;
    return {};
  },
  get_trace: async ({ session }) => ({ trace: session.settings.trace }),
  set_trace: async ({ session }, { trace }) => {
    session.settings.trace = trace;
    return {};
  },
  get_verbose: async ({ session }) => ({ verbose: session.settings.verbose }),
  set_verbose: async ({ session }, { verbose }) => {
    session.settings.verbose = verbose;
    return {};
  },
};
