/** Questions to the daemon that belong to a call: in its turn, without a record of their own. */
import type { DaemonCall } from '../protocol/daemonCall.js';

/** Asks the daemon, in the turn of the call that made it necessary. */
export type Ask = <Request, Response>(call: DaemonCall<Request, Response>, request: Request) => Promise<Response>;
