/** Facts that could not be determined: they become warnings instead of ending the report. */
import type { InspectWarning } from '../../../gen/proto/guestfs/v1/inspection_report.js';
import { GuestfsError } from '../../common/errors.js';
import { printable } from '../../common/guestText.js';
import { isDaemonError } from '../tolerance.js';
import { MAX_FIELD, sizeOf } from './limits.js';

/** A crafted image can make every call fail. */
const MAX_WARNINGS = 100;
/** Maximum length of a message, characters; daemons send up to 64 KiB. */
const MAX_MESSAGE = 1024;

/** Reasons that concern one action although they are not the daemon's. */
const OF_ONE_ACTION: ReadonlySet<string> = new Set([
  'ACTION_NOT_IN_DAEMON',
  'GROUP_NOT_AVAILABLE',
  'MESSAGE_TOO_LARGE',
]);

/** True for a failure of this action alone, false if the appliance or the call has ended. */
function isOfOneAction(error: unknown): error is GuestfsError {
  return isDaemonError(error) || (error instanceof GuestfsError && OF_ONE_ACTION.has(error.reason));
}

/** A query of an action. */
export interface Question<Value> {
  /** Path of the field that the answer is for. */
  readonly field: string;
  /** libguestfs's name of the action. */
  readonly action: string;
  readonly ask: () => Promise<Value>;
  /** The answer is a list that the caller cuts to fit; any other answer is dropped if it is too long for a field. */
  readonly isCut?: boolean;
}

/** The warnings of one part of a report. */
export class Warnings {
  readonly #list: InspectWarning[] = [];
  #dropped = 0;

  /** The warnings; if there are too many, the last one says how many are omitted. */
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

  /** Warnings that may turn out not to matter, see {@link take}. */
  aside(): Warnings {
    return new Warnings();
  }

  /** Adds the warnings that were put aside. */
  take(others: Warnings): void {
    for (const { field, action, reason, message } of others.#list) this.add(field, action, reason, message);
    this.#dropped += others.#dropped;
  }

  /** Adds a warning that a list was cut. */
  leftOut(field: string, count: number): void {
    if (count > 0) this.add(field, '', 'MESSAGE_TOO_LARGE', `${count} more are left out: they do not fit in a message`);
  }

  /**
   * The answer of an action; undefined, with a warning, if it fails or its answer is too long for a field.
   * @throws GuestfsError if the failure does not concern this action alone
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
