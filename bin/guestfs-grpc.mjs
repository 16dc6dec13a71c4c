#!/usr/bin/env node
/** The command of the npm package: `guestfs-grpc appliance` builds an appliance, everything else is the server's. */
const [command, ...args] = process.argv.slice(2);
if (command === 'appliance') process.argv.splice(2, Infinity, ...args);
const main = command === 'appliance' ? '../dist/appliance-builder/main.js' : '../dist/src/cli/main.js';
await import(new URL(main, import.meta.url).href);
