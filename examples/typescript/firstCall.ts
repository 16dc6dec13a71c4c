/**
 * A first call: which file systems are on a disk image, and what is in the first of them?
 *
 *   node firstCall.js [ADDRESS [IMAGE]]     IMAGE is absolute, or relative to an image root of the server
 */
import { connect } from '../../clients/typescript/src/index.js';
import { FileServiceService as Files } from '../../gen/proto/guestfs/v1/file.js';
import { FilesystemServiceService as Filesystems } from '../../gen/proto/guestfs/v1/filesystem.js';
import { MountServiceService as Mounts } from '../../gen/proto/guestfs/v1/mount.js';

const [address = '127.0.0.1:50051', path = 'disk.img'] = process.argv.slice(2);
const client = connect(address);
const session = await client.session({ drives: [{ path }], launch: true });
try {
  const { fses } = await session.call(Filesystems.listFilesystems, {});
  for (const [device, type] of fses) console.log(`${device}: ${type}`);
  await session.call(Mounts.mountRo, { mountable: [...fses.keys()][0] ?? '', mountpoint: '/' });
  for await (const { listing } of session.stream(Files.ls, { directory: '/' })) console.log(listing.join('\n'));
} finally {
  await session.end();
  client.close();
}
