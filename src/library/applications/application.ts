/** Applications in the form of libguestfs's lists. */
import type { Application, Application2 } from '../../../gen/proto/guestfs/v1/structs.js';
import { GuestfsError } from '../../common/errors.js';
import { decodeGuestText, encodeGuestText } from '../../common/guestText.js';
import { wholeNumber } from '../cString.js';

/** Maximum text of a list in characters; clients accept far less in one message. */
export const MAX_TEXT = 16 * 1024 * 1024;
/** Maximum entries of a list, several times the packages of a distribution: even entries without text take memory. */
export const MAX_APPLICATIONS = 256 * 1024;

/** What package databases say about an application; omitted fields are empty. */
export interface ApplicationFacts {
  readonly name: string;
  readonly displayName?: string | undefined;
  readonly epoch?: number | undefined;
  readonly version?: string | undefined;
  readonly release?: string | undefined;
  readonly arch?: string | undefined;
  readonly installPath?: string | undefined;
  readonly publisher?: string | undefined;
  readonly url?: string | undefined;
  readonly source?: string | undefined;
  readonly summary?: string | undefined;
  readonly description?: string | undefined;
  readonly applicationClass?: string | undefined;
}

/** The error for a list of applications that is too large to be genuine. */
export function listTooLarge(limit: number, unit: 'applications' | 'characters'): GuestfsError {
  return new GuestfsError(
    'MESSAGE_TOO_LARGE',
    `the list of applications holds more than ${limit} ${unit}; use Download for the guest's own package database`,
    {
      metadata: { limit: String(limit) },
    },
  );
}

/** Copies the text: a slice keeps the complete original string in memory. */
function own(text = ''): string {
  return decodeGuestText(encodeGuestText(text));
}

function application(facts: ApplicationFacts): Application2 {
  return {
    app2_name: own(facts.name),
    app2_display_name: own(facts.displayName),
    app2_epoch: facts.epoch ?? 0,
    app2_version: own(facts.version),
    app2_release: own(facts.release),
    app2_arch: own(facts.arch),
    app2_install_path: own(facts.installPath),
    app2_trans_path: '',
    app2_publisher: own(facts.publisher),
    app2_url: own(facts.url),
    app2_source_package: own(facts.source),
    app2_summary: own(facts.summary),
    app2_description: own(facts.description),
    app2_class: own(facts.applicationClass),
    app2_spare2: '',
    app2_spare3: '',
    app2_spare4: '',
  };
}

/** A list that is being read. */
export class ApplicationList {
  readonly applications: Application2[] = [];
  #text = 0;

  /** @throws GuestfsError MESSAGE_TOO_LARGE if the list is too large to be genuine */
  add(facts: ApplicationFacts): void {
    for (const fact of Object.values(facts) as unknown[]) if (typeof fact === 'string') this.#text += fact.length;
    if (this.#text > MAX_TEXT) throw listTooLarge(MAX_TEXT, 'characters');
    if (this.applications.length >= MAX_APPLICATIONS) throw listTooLarge(MAX_APPLICATIONS, 'applications');
    this.applications.push(application(facts));
  }
}

/** Sorted by name, bytewise. */
export function sorted(applications: readonly Application2[]): Application2[] {
  return applications
    .map((one) => ({ one, key: encodeGuestText(one.app2_name) }))
    .sort((left, right) => Buffer.compare(left.key, right.key))
    .map(({ one }) => one);
}

/** The form of an application before it had an architecture. */
export function oldForm(one: Application2): Application {
  return {
    app_name: one.app2_name,
    app_display_name: one.app2_display_name,
    app_epoch: one.app2_epoch,
    app_version: one.app2_version,
    app_release: one.app2_release,
    app_install_path: one.app2_install_path,
    app_trans_path: one.app2_trans_path,
    app_publisher: one.app2_publisher,
    app_url: one.app2_url,
    app_source_package: one.app2_source_package,
    app_summary: one.app2_summary,
    app_description: one.app2_description,
  };
}

/** A version in its parts. */
export interface VersionParts {
  /** undefined: not a number, so the version is not usable. */
  readonly epoch: number | undefined;
  readonly version: string;
  readonly release: string | undefined;
}

/** Splits `[epoch:]version[-release]`. */
export function splitVersion(text: string): VersionParts {
  const colon = text.indexOf(':');
  const rest = text.slice(colon + 1);
  const dash = rest.indexOf('-');
  const epoch = colon < 0 ? 0 : wholeNumber(text.slice(0, colon));
  return {
    epoch: epoch !== undefined && epoch >= 0 ? epoch : undefined,
    version: dash < 0 ? rest : rest.slice(0, dash),
    release: dash < 0 ? undefined : rest.slice(dash + 1),
  };
}
