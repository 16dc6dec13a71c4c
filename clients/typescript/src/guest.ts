/** A session with a method for each action. */
import { EventType } from '../../../gen/proto/guestfs/v1/event.js';
import type { RunningCall, Session as SessionState } from '../../../gen/proto/guestfs/v1/session.js';
import { Actions } from './actions.js';
import type { EventStream } from './events.js';
import type { CallOptions } from './options.js';
import { progressOf, type CallProgress } from './progress.js';

/** The actions of one session, its events, and its end. {@link Guest.session} makes calls of any RPC. */
export class Guest extends Actions implements AsyncDisposable {
  /** The session's ID. */
  get id(): string {
    return this.session.id;
  }

  /**
   * Facts about the session: its state, how it was launched, and more.
   * @throws GuestfsRpcError
   */
  describe(options?: CallOptions): Promise<SessionState> {
    return this.session.describe(options);
  }

  /**
   * The calls that wait or run in the session, with their request IDs.
   * @throws GuestfsRpcError
   */
  calls(options?: CallOptions): Promise<readonly RunningCall[]> {
    return this.session.calls(options);
  }

  /**
   * Ends a call that waits or runs in the session.
   * @returns what of it goes on in the daemon, which cannot be interrupted
   * @throws GuestfsRpcError
   */
  cancelCall(requestId: string, options?: CallOptions): Promise<readonly RunningCall[]> {
    return this.session.cancelCall(requestId, options);
  }

  /**
   * The end of the appliance's log: the output of its console and its daemon.
   * @throws GuestfsRpcError
   */
  log(options?: CallOptions): Promise<string> {
    return this.session.log(options);
  }

  /**
   * Subscribes to the session's events; resolves when no later event can be missed.
   * @param types which events, such as `EventType.PROGRESS`; empty: all
   * @throws GuestfsRpcError
   */
  events(types?: readonly EventType[], options?: CallOptions): Promise<EventStream> {
    return this.session.events(types, options);
  }

  /**
   * Subscribes to the progress of all calls of the session; resolves when no later progress can be missed. The iteration
   * ends with the session; leaving the loop cancels it.
   * @throws GuestfsRpcError
   */
  async progress(options?: CallOptions): Promise<AsyncGenerator<CallProgress>> {
    const events = await this.session.events([EventType.PROGRESS], options);
    return (async function* () {
      for await (const event of events) {
        const progress = progressOf(event);
        if (progress !== undefined) yield progress;
      }
    })();
  }

  /**
   * Ends the session; resolves when the appliance has ended and the images are free.
   * @throws GuestfsRpcError, also for data that could not be written
   */
  end(options?: CallOptions): Promise<void> {
    return this.session.end(options);
  }

  /**
   * Ends the session at once, whatever its appliance is doing; what was not synced is lost.
   * @throws GuestfsRpcError
   */
  endByForce(options?: CallOptions): Promise<void> {
    return this.session.endByForce(options);
  }

  /** {@link end}, for `await using`, unless the session's end was asked for before. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.session[Symbol.asyncDispose]();
  }
}
