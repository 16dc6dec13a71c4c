/** Prints the names of the system packages for a purpose: `packageNames.mjs LIST PURPOSE`. */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [list = '', purpose = ''] = process.argv.slice(2);
/** @type {{ packagesFor(purposes: readonly string[]): readonly { readonly name: string }[] }} */
const packages = await import(pathToFileURL(resolve(list)).href);
const names = packages.packagesFor([purpose]).map(({ name }) => name);
if (names.length === 0) throw new Error(`no packages for ${purpose}`);
console.log(names.join(' '));
