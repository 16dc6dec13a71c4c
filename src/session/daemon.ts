/** The daemon, as seen by the call that has the turn. */
import { pingDaemon } from '../../gen/calls/appliance.js';
import { GuestfsError } from '../common/errors.js';
import { answerTooLarge } from '../common/messageLimits.js';
import { MESSAGE_MAX } from '../protocol/constants.js';
import type { DaemonCall } from '../protocol/daemonCall.js';
import type { DaemonConnection } from '../protocol/daemonConnection.js';
import type { DaemonVersion } from '../protocol/daemonVersion.js';
import { actionsByName } from '../actions/byName.js';
import type { ActionDef } from '../actions/types.js';
import { AFTERWARDS } from './afterwards.js';
import type { Ask } from './ask.js';
import { receiving, sending, spanned } from './daemonSpans.js';
import { hinted } from './failureHints.js';
import { notInDaemon } from './daemonSupport.js';

/** Calls to the daemon, for the duration of one turn. */
export interface Daemon {
  readonly version: DaemonVersion;
  call<Request, Response>(call: DaemonCall<Request, Response>, request: Request): Promise<Response>;
  /** Sends a file; `size` in bytes, where known, gives progress events a total. */
  upload<Request, Response>(
    call: DaemonCall<Request, Response>,
    request: Request,
    source: AsyncIterable<Buffer>,
    size?: bigint,
  ): Promise<Response>;
  /** Receives a file in pieces; the daemon waits while `deliver` does. */
  download<Request>(
    call: DaemonCall<Request, unknown>,
    request: Request,
    deliver: (pieces: readonly Buffer[]) => Promise<void>,
  ): Promise<void>;
}

/** The daemon's error for an unknown procedure number; it has no errno. */
const UNKNOWN_PROCEDURE = /^dispatch_incoming_message: unknown procedure number \d+/;
/** The daemon's error for a feature that it was built or installed without; its errno is ENOTSUP. */
const UNAVAILABLE_FEATURE = /^feature '([^']+)' is not available/;

/** The daemon's error if a reply exceeds the maximum message size; it has no errno. */
const REPLY_TOO_LARGE =
  /^guestfsd: failed to encode reply body\n\(maybe the reply exceeds the maximum message size in the protocol\?\)$/;
/** True for the daemon's error about an answer that is too large. Reason and text are both checked, since guest output may resemble it. */
function isTooLargeToAnswer({ largeAnswerText }: ActionDef, error: GuestfsError): boolean {
  return (
    error.reason === 'DAEMON_ERROR' &&
    (REPLY_TOO_LARGE.test(error.message) || largeAnswerText?.test(error.message) === true)
  );
}

/** True for the daemon's error about an unknown procedure. Reason and text are both checked, since guest output may resemble it. */
export function isUnknownProcedure(error: GuestfsError): boolean {
  return error.reason === 'DAEMON_ERROR' && UNKNOWN_PROCEDURE.test(error.message);
}

/** Replaces daemon errors that are unclear or empty with ones that explain the cause. */
function explained(action: ActionDef, version: DaemonVersion, error: unknown): unknown {
  if (!(error instanceof GuestfsError)) return error;
  const group = error.reason === 'ENOTSUP' ? UNAVAILABLE_FEATURE.exec(error.message)?.[1] : undefined;
  if (group !== undefined) {
    return new GuestfsError(
      error.reason,
      `${action.name} needs the optional group ${group}, which the daemon in this appliance (${version.text}) does not have; call Available or FeatureAvailable to find out beforehand`,
      { metadata: { optional_group: group, daemon_version: version.text }, cause: error },
    );
  }
  if (isUnknownProcedure(error)) return notInDaemon(action.name, action.since, version);
  if (isTooLargeToAnswer(action, error)) return answerTooLarge(action.name, MESSAGE_MAX);
  // Some tools print their errors to a stream that the daemon does not read.
  if (error.message.trim() === '')
    return new GuestfsError(
      error.reason,
      `${action.name} failed, and the daemon gave no reason; GetLog may show more`,
      { cause: error },
    );
  return error;
}

/**
 * The daemon behind a connection.
 * @param signal ends transfers, and keeps further calls of the turn from being sent
 * @param onSent called when a call has been sent
 * @param onWarning called with what the client should know about an answer
 */
export function daemonOn(
  connection: DaemonConnection,
  version: DaemonVersion,
  signal: AbortSignal,
  onSent: (action: string, procedure: number, serial: number) => void,
  onWarning: (message: string) => void,
): Daemon {
  const ask: Ask = (call, request) => connection.call(call, request, version);
  const guarded = async <Value>(
    call: DaemonCall<never, unknown>,
    send: (action: ActionDef) => Promise<Value>,
  ): Promise<Value> => {
    signal.throwIfAborted();
    const action = actionsByName.get(call.action);
    if (!action) throw new Error(`no action ${call.action}`);
    try {
      return await send(action);
    } catch (error) {
      const known = explained(action, version, error);
      if (!(known instanceof GuestfsError) || signal.aborted || connection.failure !== undefined) throw known;
      throw await hinted(known, ask);
    }
  };
  const sent =
    (call: DaemonCall<never, unknown>) =>
    (serial: number): void =>
      onSent(call.action, call.procedure, serial);
  return {
    version,
    call: (call, request) =>
      spanned(signal, call, () =>
        guarded(call, async ({ afterwards }) => {
          const response = await connection.call(call, request, version, { onSent: sent(call) });
          if (afterwards !== undefined) await AFTERWARDS[afterwards]({ request, response, ask, warn: onWarning });
          return response;
        }),
      ),
    upload: (call, request, source, size) =>
      spanned(signal, call, (span) =>
        guarded(call, ({ mayNotAnswer }) =>
          connection.upload(call, request, version, span === undefined ? source : sending(span, source), {
            signal,
            onSent: sent(call),
            ...(size === undefined ? {} : { progressHint: size }),
            ...(mayNotAnswer === true ? { followUp: pingDaemon } : {}),
          }),
        ),
      ),
    download: (call, request, deliver) =>
      spanned(signal, call, (span) => {
        const receive = (to: typeof deliver): Promise<void> =>
          connection.download(call, request, version, to, { signal, onSent: sent(call) });
        return guarded(call, () => (span === undefined ? receive(deliver) : receiving(span, deliver, receive)));
      }),
  };
}
