/** Actions of a session, called by the server itself: each in its own turn, with its events and trace. */
import type { InspectionLibraryActions } from '../../../gen/libraryActions.js';
import { actionsByName } from '../../actions/byName.js';
import type { ActionDef } from '../../actions/types.js';
import type { DaemonCall } from '../../protocol/daemonCall.js';
import { runInAppliance } from '../applianceScript.js';
import { applicationActions, listPackages, type PackageFormat } from '../applications/index.js';
import type { LibraryContext } from '../context.js';
import type { PackageList } from '../applications/packageList.js';
import { osinfoActions } from '../osinfo.js';

/** The library actions that a report needs. */
const libraryActions = { ...applicationActions, ...osinfoActions };
type LibraryAction = keyof typeof libraryActions;

/** The calls that a report makes. */
export interface ActionCalls {
  /** An action of the daemon. */
  call<Request, Response>(call: DaemonCall<Request, Response>, request: Request): Promise<Response>;
  /** A library action about the system at `root`. */
  library<Name extends LibraryAction>(name: Name, root: string): ReturnType<InspectionLibraryActions[Name]>;
  /** The packages in a database of this format in the mounted system, whatever the daemon takes the system for. */
  packages(format: PackageFormat): Promise<PackageList>;
  /** Runs a script in the appliance's own shell; returns what it prints. */
  script(text: string): Promise<string>;
}

function actionOf(name: string): ActionDef {
  const action = actionsByName.get(name);
  if (action === undefined) throw new Error(`no action ${name}`);
  return action;
}

/** The actions of a launched session. */
export function actionCalls(context: Omit<LibraryContext, 'action' | 'daemon'>): ActionCalls {
  const { session, signal } = context;
  return {
    call: (call, request) =>
      session.perform(actionOf(call.action), request as object, signal, (daemon) => daemon.call(call, request)),
    library: (<Name extends LibraryAction>(name: Name, root: string) => {
      const action = actionOf(name);
      return session.perform<unknown>(action, { root }, signal, (daemon) =>
        libraryActions[name]({ ...context, action, daemon }, { root }),
      );
    }) as ActionCalls['library'],
    packages: (format) => {
      const action = actionOf('inspect_list_applications2');
      return session.perform(action, {}, signal, (daemon) => listPackages({ ...context, action, daemon }, format));
    },
    script: (text) => session.perform(actionOf('debug'), {}, signal, (daemon) => runInAppliance(daemon, text)),
  };
}
