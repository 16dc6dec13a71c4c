#!/usr/bin/env node
/** The command of the npm package: `guestfs-grpc appliance` builds an appliance, `inspect` is a client, the rest is the server's. */
const OTHERS = { appliance: '../dist/appliance-builder/main.js', inspect: '../dist/clients/command/main.js' };
const [command = '', ...args] = process.argv.slice(2);
const other = Object.hasOwn(OTHERS, command) ? OTHERS[/** @type {keyof typeof OTHERS} */ (command)] : undefined;
if (other !== undefined) process.argv.splice(2, Infinity, ...args);
await import(new URL(other ?? '../dist/src/cli/main.js', import.meta.url).href);
