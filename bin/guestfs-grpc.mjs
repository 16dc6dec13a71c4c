#!/usr/bin/env node
/** The command of the npm package: `guestfs-grpc appliance` builds an appliance, everything else is the server's. */
const [command, ...args] = process.argv.slice(2);
if (command === 'appliance') {
  process.argv.splice(2, Infinity, ...args);
  await import('../dist/appliance-builder/main.js');
} else {
  await import('../dist/src/cli/main.js');
}
