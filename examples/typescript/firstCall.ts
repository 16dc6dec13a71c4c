/**
 * A first call: which file systems are on a disk image, and what is in the first of them?
 *
 *   node firstCall.js [ADDRESS [IMAGE]]     IMAGE is absolute, or relative to an image root of the server
 */
import { connect } from '../../clients/typescript/src/index.js';

const [address = '127.0.0.1:50051', path = 'disk.img'] = process.argv.slice(2);
await using guest = await connect(address).session({ drives: [{ path }], launch: true });
const fileSystems = await guest.listFilesystems();
for (const [device, type] of fileSystems) console.log(`${device}: ${type}`);
await guest.mountRo([...fileSystems.keys()][0] ?? '', '/');
for (const name of await guest.ls('/')) console.log(name);
