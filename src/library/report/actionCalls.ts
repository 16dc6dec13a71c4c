/** Actions of a session, called by the server itself: each in its own turn, with its events and trace. */
import type { InspectionLibraryActions } from '../../../gen/libraryActions.js';
import { actionsByName } from '../../actions/byName.js';
import type { ActionDef } from '../../actions/types.js';
import type { DaemonCall } from '../../protocol/daemonCall.js';
import { applicationActions } from '../applications/index.js';
import type { LibraryContext } from '../context.js';
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
  };
}
