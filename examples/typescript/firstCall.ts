/**
 * A first call: which file systems are on a disk image, and what is in the first of them?
 *
 *   node firstCall.js [ADDRESS [IMAGE]]     IMAGE is absolute, or relative to an image root of the server
 */
import { Client, credentials, Metadata, type MethodDefinition } from '@grpc/grpc-js';
import { FileServiceClient, type LsResponse } from '../../gen/proto/guestfs/v1/file.js';
import { FilesystemServiceService as Filesystems } from '../../gen/proto/guestfs/v1/filesystem.js';
import { MountServiceService as Mounts } from '../../gen/proto/guestfs/v1/mount.js';
import { SessionServiceService as Sessions } from '../../gen/proto/guestfs/v1/session.js';

const [address = '127.0.0.1:50051', path = 'disk.img'] = process.argv.slice(2);
const client = new Client(address, credentials.createInsecure());
const metadata = new Metadata();

/** A call in a promise. */
function call<Request, Response>(rpc: MethodDefinition<Request, Response>, request: Request): Promise<Response> {
  return new Promise((resolve, reject) =>
    client.makeUnaryRequest(
      rpc.path,
      rpc.requestSerialize,
      rpc.responseDeserialize,
      request,
      metadata,
      (error, response) => (error ? reject(error) : resolve(response as Response)),
    ),
  );
}

const drives = [{ source: { $case: 'path' as const, value: path }, writable: false }];
const { id } = await call(Sessions.createSession, {
  drives,
  launch: true,
  settings: undefined,
  idle_timeout: undefined,
  labels: new Map(),
});
metadata.set('guestfs-session', id); // from now on, calls name the session
try {
  const { fses } = await call(Filesystems.listFilesystems, {});
  for (const [device, type] of fses) console.log(`${device}: ${type}`);
  await call(Mounts.mountRo, { mountable: [...fses.keys()][0] ?? '', mountpoint: '/' });
  const listings: AsyncIterable<LsResponse> = new FileServiceClient(address, credentials.createInsecure()).ls(
    { directory: '/' },
    metadata,
  );
  for await (const { listing } of listings) console.log(listing.join('\n'));
} finally {
  await call(Sessions.deleteSession, { id });
}
