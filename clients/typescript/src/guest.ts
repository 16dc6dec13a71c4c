/** A session with a method for each action. */
import { Actions } from './actions.js';

/** The actions of one session, and its end. */
export class Guest extends Actions implements AsyncDisposable {
  /**
   * Ends the session; resolves when the appliance has ended and the images are free.
   * @throws GuestfsRpcError, also for data that could not be written
   */
  end(): Promise<void> {
    return this.session.end();
  }

  /** {@link end}, for `await using`, unless the session's end was asked for before. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.session[Symbol.asyncDispose]();
  }
}
