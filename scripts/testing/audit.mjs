/** Looks for known vulnerabilities in the npm packages that the server needs at run time: npm asks its registry. */
import { outputOf } from '../support/run.mjs';
import { say } from '../support/say.mjs';
import { oneFailed, onePassed, oneSkipped } from './tally.mjs';

const COMMAND = ['npm', 'audit', '--omit=dev', '--json', '--fetch-retries=1', '--fetch-retry-mintimeout=1000'];

/**
 * The part of npm's report that is used here, or of the error that npm prints instead.
 * @typedef {object} AuditOutput
 * @property {number} [auditReportVersion]
 * @property {Record<string, { severity: string, range: string, via: (string | { title: string, url: string })[] }>}
 *   [vulnerabilities]
 * @property {string} [message] Set if the registry did not answer with a report.
 * @property {{ code?: string, summary?: string }} [error] Set after any other error.
 */

/**
 * Parses the output of `npm audit --json`.
 * @param {string} output
 * @returns {{ findings: string[] } | { unanswered: string } | { problem: string }}
 */
export function readAudit(output) {
  /** @type {AuditOutput} */
  let audit;
  try {
    audit = JSON.parse(output);
  } catch {
    return { problem: `npm audit printed no report: ${output.slice(0, 200)}` };
  }
  const { auditReportVersion, vulnerabilities, message, error } = audit;
  if (typeof message === 'string') return { unanswered: message };
  if (auditReportVersion !== 2 || vulnerabilities === undefined)
    return { problem: `npm audit made no report: ${error?.summary ?? output.slice(0, 200)}` };
  const findings = Object.entries(vulnerabilities).map(([name, { severity, range, via }]) => {
    const causes = via.map((cause) => (typeof cause === 'string' ? `through ${cause}` : `${cause.title} ${cause.url}`));
    return `${name} ${range} (${severity}): ${causes.join('; ')}`;
  });
  return { findings };
}

/** Checks that no package has a known vulnerability; skipped, with the reason, if the registry does not answer. */
export async function checkAdvisories() {
  const result = readAudit(outputOf(COMMAND));
  if ('unanswered' in result) {
    const reason = `npm audit: skipped: the registry does not answer advisories: ${result.unanswered}`;
    say(reason);
    return { ...oneSkipped, skips: [reason] };
  }
  const failures = 'problem' in result ? [result.problem] : result.findings;
  for (const failure of failures) say(failure);
  return failures.length === 0 ? onePassed : { ...oneFailed, failed: failures.length, failures };
}
