/**
 * The tests that concern security, by what they protect. `npm test -- security` runs only these; in a complete run they
 * are among the unit and integration tests. All tests named in SECURITY.md are in this list, which
 * test/architecture/securityPage.test.ts checks.
 */

import { concerns } from './testSubset.mjs';

/** @type {import('./testSubset.mjs').TestsByPoint} */
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
      'integration/remoteNetwork',
      'integration/applianceReach',
      'unit/jail/',
    ],
    ...[
      'unit/images/isolatedQemu',
      'unit/images/foreignProbe',
      'unit/qemu/qemuUsers',
      'unit/launcher/hostNetwork',
      'unit/images/remoteExport',
      'unit/launcher/guestNetwork',
    ],
    ...['unit/common/subprocess'],
  ],
  'time limits take effect': ['unit/common/waiting', 'unit/common/collectedTimers'],
  'identities do not collide': [
    ...['unit/security/certificateIdentity', 'unit/server/identify', 'unit/server/identities'],
    ...['unit/server/peerUsers', 'unit/session/sessionRegistry', 'unit/server/replicas/'],
  ],
  'one client does not stop the others': [
    ...['unit/server/hostileClients', 'unit/server/requestLimit', 'unit/server/requestFlow', 'unit/server/cutUploads'],
    ...['unit/server/connections', 'unit/server/clientBudget', 'unit/server/settingLimits', 'unit/server/driveSpecs'],
    ...[
      'unit/common/fairSemaphore',
      'unit/images/hostileText',
      'integration/fewDescriptors',
      'unit/server/flowWindows',
      'unit/server/requestIds/',
      'unit/server/drain',
      'unit/server/channelz',
    ],
  ],
  'web pages and clients over HTTP': ['unit/gateway/', 'unit/cli/gatewayFlags'],
  'helpers cannot be misused': ['unit/qemu/fdSender', 'unit/common/memoryFile', 'unit/common/descriptors'],
  'processes and sessions end': [
    ...['integration/liveness', 'unit/cli/shutdown', 'unit/cli/lastResort', 'unit/session/unresponsive'],
    ...['unit/session/watch', 'unit/session/abandonedCalls', 'unit/session/lifeCycle'],
  ],
  'formats are stated': [
    'unit/images/formats',
    'unit/images/imageChain',
    'unit/images/splitVmdk',
    'unit/images/ovaDisks',
    'unit/images/tarMembers',
    'unit/images/qcow2Header',
    'unit/images/rawMarks',
  ],
  'no floods and no leaks': [
    ...['unit/events/eventBus', 'unit/events/trace', 'unit/common/consoleLog', 'unit/server/hostPaths'],
    'integration/hostPaths',
    ...['unit/appliance/checksums', 'unit/common/logger', 'unit/common/guestText', 'unit/server/statusMapping'],
  ],
  'no escapes by paths and headers': [
    'security/',
    'unit/security/pathPolicy',
    'integration/badInput',
    'unit/library/hostCopy',
  ],
  'admission and the audit log': [
    ...['unit/server/transit', 'unit/cli/config'],
    ...['unit/server/auditLog', 'unit/server/certificates', 'unit/server/listening', 'unit/server/admission'],
  ],
  'input from guests and daemons': [
    ...['unit/protocol/', 'unit/xdr/', 'unit/qemu/qmpClient', 'fuzz/', 'unit/library/domainXml'],
  ],
  'the supply chain': ['appliance/reproducible', 'appliance/supplyChain', 'unit/scripts/supplyChain'],
  'SECURITY.md': ['architecture/securityPage'],
};

/** Whether `npm test -- security` runs a test file. @param {string} file */
export function concernsSecurity(file) {
  return concerns(SECURITY_TESTS, file);
}
