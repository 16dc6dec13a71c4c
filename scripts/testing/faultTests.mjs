/**
 * The fault drills, by name. `npm test -- faults` runs only these; in a complete run they are among the unit and
 * integration tests. docs/reliability.md names a test of each, which test/architecture/reliabilityPage.test.ts checks.
 */

/** @type {import('./testSubset.mjs').TestsByPoint} */
export const FAULT_TESTS = {
  'qemu stopped in each state': [
    ...['faults/stoppedQemu', 'integration/liveness', 'unit/session/unresponsive', 'unit/session/watch'],
    ...['unit/session/abandonedCalls', 'unit/server/forcedEnd'],
  ],
  'appliance ends or lacks memory': [
    'faults/endOfAppliance',
    'unit/launcher/endOfMachine',
    'unit/session/guestMemory',
    'integration/sessions',
  ],
  'calls repeated or cut off': [
    'unit/server/requestIds/repeatedCalls',
    'integration/repeatedCalls',
    'unit/qemu/kernelSync',
  ],
  'console flood': ['faults/consoleFlood', 'unit/common/consoleLog'],
  "jumps of the guest's clock": ['faults/clockJumps'],
  'image changed while attached': ['faults/changedImages', 'unit/images/watchedImage'],
  'disk full': [
    ...['faults/fullDisk', 'integration/durability', 'unit/session/durability'],
    'unit/launcher/template/templateStore',
  ],
  'daemon early, late, twice, never': [
    ...['unit/protocol/faultyAnswers', 'unit/protocol/lostDaemon', 'unit/protocol/cancelledTransfers'],
    'unit/protocol/daemonConnection',
  ],
  'uploads and calls at SIGTERM': [
    ...['faults/uploadsAtTheEnd', 'integration/service', 'unit/cli/shutdown', 'unit/server/drain'],
    'integration/drain',
  ],
  'server killed': ['faults/killedServer', 'integration/templates'],
  'few descriptors': [
    ...['integration/fewDescriptors', 'unit/common/descriptors', 'unit/cli/lowLimit', 'unit/common/subprocess'],
    'unit/common/errors',
  ],
  'defects end no session': ['unit/cli/lastResort', 'integration/lostOutput'],
  'clones and templates': ['unit/launcher/template/templates', 'unit/launcher/template/clone', 'integration/pool'],
  'requests that fill or freeze': [
    ...['unit/server/hostileClients', 'unit/server/requestLimit', 'unit/server/requestFlow', 'unit/server/cutUploads'],
  ],
};
