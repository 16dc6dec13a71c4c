/** What could not be found out: told beside the rest, instead of ending a report. */
import type { InspectWarning } from '../../../gen/proto/guestfs/v1/inspection_report.js';
import { GuestfsError } from '../../common/errors.js';
import { printable } from '../../common/guestText.js';
import { isDaemonError } from '../tolerance.js';
import { MAX_FIELD, sizeOf } from './limits.js';

/** A guest can make everything fail. */
const MAX_WARNINGS = 100;
/** Daemons say up to 64 KiB; characters. */
const MAX_MESSAGE = 1024;

/** Reasons that are about one action, though the daemon did not say them. */
const OF_ONE_ACTION: ReadonlySet<string> = new Set([
  'ACTION_NOT_IN_DAEMON',
  'GROUP_NOT_AVAILABLE',
  'MESSAGE_TOO_LARGE',
]);

/** True for a failure that says nothing about other actions, as against the end of the appliance or the call. */
function isOfOneAction(error: unknown): error is GuestfsError {
  return isDaemonError(error) || (error instanceof GuestfsError && OF_ONE_ACTION.has(error.reason));
}

/** Something asked of an action. */
export interface Question<Value> {
  /** Path of the field that the answer is for. */
  readonly field: string;
  /** libguestfs's name of what is asked. */
  readonly action: string;
  readonly ask: () => Promise<Value>;
  /** The answer is a list that who asks cuts to what fits; else it is dropped where it is more than a field holds. */
  readonly isCut?: boolean;
}

/** The warnings of one part of a report. */
export class Warnings {
  readonly #list: InspectWarning[] = [];
  #dropped = 0;

  /** All of them; of too many, how many more there are. */
  get list(): InspectWarning[] {
    if (this.#dropped === 0) return this.#list;
    return [
      ...this.#list,
      { field: '', action: '', reason: 'MESSAGE_TOO_LARGE', message: `${this.#dropped} more warnings are left out` },
    ];
  }

  add(field: string, action: string, reason: string, message: string): void {
    if (this.#list.length < MAX_WARNINGS)
      this.#list.push({ field, action, reason, message: printable(message).slice(0, MAX_MESSAGE) });
    else this.#dropped += 1;
  }

  /** Says that a list was cut. */
  leftOut(field: string, count: number): void {
    if (count > 0) this.add(field, '', 'MESSAGE_TOO_LARGE', `${count} more are left out: they do not fit in a message`);
  }

  /**
   * What an action answers; undefined, with a warning, if it fails or says more than a field holds.
   * @throws GuestfsError what is not about this action alone
   */
  async attempt<Value>({ field, action, ask, isCut = false }: Question<Value>): Promise<Value | undefined> {
    try {
      const value = await ask();
      if (isCut || sizeOf(value) <= MAX_FIELD) return value;
      this.add(
        field,
        action,
        'MESSAGE_TOO_LARGE',
        `the answer has more than ${MAX_FIELD} bytes; call the action itself for it`,
      );
    } catch (error) {
      if (!isOfOneAction(error)) throw error;
      this.add(field, action, error.reason, error.message);
    }
    return undefined;
  }
}
