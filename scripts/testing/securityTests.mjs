/**
 * The tests that concern security, by what they protect. `npm test -- security` runs just these; a whole run has them
 * among its unit and integration tests. Whatever SECURITY.md names is here: test/architecture/securityPage.test.ts.
 */

import { add, nothing } from './tally.mjs';

/** Test files or directories below `test`, without their endings. */
export const SECURITY_TESTS = {
  'qemu sees what was checked': [
    ...['integration/changingHeaders', 'integration/images', 'integration/formats', 'integration/remoteFormats'],
    ...['unit/images/imageUses', 'unit/images/prepareDrives', 'unit/images/blockNodes'],
  ],
  'images belong to identities': [
    ...['integration/imageOwners', 'unit/server/imageOwners', 'unit/security/imageOwners', 'unit/security/policy'],
    ...['unit/security/policyFile', 'unit/images/createDisk', 'unit/images/diskQuota'],
  ],
  'jails, as root or not': [
    ...[
      'integration/jail',
      'integration/takenOver',
      'integration/unisolated',
      'integration/notOverNetwork',
      'unit/jail/',
    ],
    ...[
      'unit/images/isolatedQemu',
      'unit/images/foreignProbe',
      'unit/qemu/qemuUsers',
      'unit/launcher/hostNetwork',
      'unit/launcher/guestNetwork',
    ],
    ...['unit/common/subprocess'],
  ],
  'limits of time that fire': ['unit/common/waiting', 'unit/common/collectedTimers'],
  'identities do not collide': [
    ...['unit/security/certificateIdentity', 'unit/server/identify', 'unit/server/identities'],
    ...['unit/server/peerUsers', 'unit/session/sessionRegistry'],
  ],
  'one client does not stop the others': [
    ...['unit/server/hostileClients', 'unit/server/requestLimit', 'unit/server/requestFlow', 'unit/server/cutUploads'],
    ...['unit/server/connections', 'unit/server/clientBudget', 'unit/server/settingLimits', 'unit/server/driveSpecs'],
    ...['unit/common/fairSemaphore', 'unit/images/hostileText', 'integration/fewDescriptors'],
  ],
  'helpers are no deputies': ['unit/qemu/fdSender', 'unit/common/memoryFile', 'unit/common/descriptors'],
  'nothing is left, and ends come': [
    ...['integration/liveness', 'unit/cli/shutdown', 'unit/cli/lastResort', 'unit/session/unresponsive'],
    ...['unit/session/watch', 'unit/session/abandonedCalls', 'unit/session/lifeCycle'],
  ],
  'formats are stated': ['unit/images/formats', 'unit/images/imageChain', 'unit/images/qcow2Header'],
  'nothing floods, nothing leaks': [
    ...['unit/events/eventBus', 'unit/events/trace', 'unit/common/consoleLog', 'unit/server/hostPaths'],
    ...['unit/appliance/checksums', 'unit/common/logger', 'unit/common/guestText'],
  ],
  'escapes by paths and headers': [
    'security/',
    'unit/security/pathPolicy',
    'integration/badInput',
    'unit/library/hostCopy',
  ],
  'who is who, and what was done': [
    ...['unit/server/auditLog', 'unit/server/certificates', 'unit/server/listening', 'unit/server/admission'],
  ],
  'what a guest or its daemon sends': [...['unit/protocol/', 'unit/xdr/', 'unit/qemu/qmpClient', 'fuzz/']],
  'the supply chain': ['appliance/reproducible', 'appliance/supplyChain', 'unit/scripts/supplyChain'],
  'the page on security': ['architecture/securityPage'],
};

/**
 * Whether a test belongs to a point.
 * @param {readonly string[]} tests
 * @param {string} file its path, compiled or not
 */
function isAmong(tests, file) {
  return tests.some((test) => file.includes(test.endsWith('/') ? `test/${test}` : `test/${test}.`));
}

/** Whether `npm test -- security` runs a test file. @param {string} file */
export function concernsSecurity(file) {
  return Object.values(SECURITY_TESTS).some((tests) => isAmong(tests, file));
}

/**
 * What came of each point.
 * @param {readonly import('./tally.mjs').TestFile[]} [files]
 * @returns {[point: string, tally: import('./tally.mjs').Tally][]}
 */
export function tallyByPoint(files = []) {
  return Object.entries(SECURITY_TESTS).map(([point, tests]) => [
    point,
    files.filter(({ file }) => isAmong(tests, file)).reduce((sum, { tally }) => add(sum, tally), nothing),
  ]);
}

/** For the paths of compiled tests, a regular expression. */
export const SECURITY_PATHS = `dist/test/(?:${Object.values(SECURITY_TESTS)
  .flat()
  .map((test) => (test.endsWith('/') ? test : `${test}\\.`))
  .join('|')})`;
