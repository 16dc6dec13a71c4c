/**
 * From an empty disk to a file on it and back, with Connect for Node.js.
 *
 *   node drive.mjs [ADDRESS]     with the stubs that "buf generate" makes of buf.gen.yaml beside it
 */
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { ErrorInfoSchema } from './stubs/google/rpc/error_details_pb.js';
import { FileService } from './stubs/guestfs/v1/file_pb.js';
import { FilesystemService } from './stubs/guestfs/v1/filesystem_pb.js';
import { MountService } from './stubs/guestfs/v1/mount_pb.js';
import { PartitionService } from './stubs/guestfs/v1/partition_pb.js';
import { SessionService } from './stubs/guestfs/v1/session_pb.js';
import { TransferService } from './stubs/guestfs/v1/transfer_pb.js';

const MIB = 1 << 20;
const content = Buffer.concat([1, 2, 3, 4, 5, 6, 7, 8].map((number) => Buffer.alloc(MIB, number)));

/** Read as fast as the service accepts it. */
async function* uploadOf(remotefilename) {
  yield { payload: { case: 'arguments', value: { remotefilename } } };
  for (let sent = 0; sent < content.length; sent += MIB) {
    yield { payload: { case: 'chunk', value: content.subarray(sent, sent + MIB) } };
    console.log(`sent ${sent / MIB + 1} of 8 MiB`);
  }
}

const transport = createGrpcTransport({ baseUrl: `http://${process.argv[2] ?? '127.0.0.1:50051'}` });
const sessions = createClient(SessionService, transport);
const drive = { source: { case: 'scratchSize', value: BigInt(64 * MIB) }, writable: true };
const { id } = await sessions.createSession({ drives: [drive], launch: true });
console.log('launched');
const headers = { 'guestfs-session': id }; // every call names its session
try {
  await createClient(PartitionService, transport).partDisk({ device: '/dev/sda', parttype: 'gpt' }, { headers });
  await createClient(FilesystemService, transport).mkfs({ fstype: 'ext4', device: '/dev/sda1' }, { headers });
  await createClient(MountService, transport).mount({ mountable: '/dev/sda1', mountpoint: '/' }, { headers });

  const transfers = createClient(TransferService, transport);
  await transfers.upload(uploadOf('/file'), { headers });
  const received = [];
  for await (const { chunk } of transfers.download({ remotefilename: '/file' }, { headers })) received.push(chunk);
  if (!content.equals(Buffer.concat(received))) throw new Error('the file has changed');
  console.log('received the same 8 MiB');

  try {
    await createClient(FileService, transport).cat({ path: '/missing' }, { headers });
  } catch (error) {
    const [info] = ConnectError.from(error).findDetails(ErrorInfoSchema);
    if (info === undefined) throw error;
    console.log(`cat /missing: ${info.reason}`);
  }

  const enough = new AbortController();
  try {
    const download = transfers.download({ remotefilename: '/dev/sda' }, { headers, signal: enough.signal });
    for await (const _part of download) enough.abort();
  } catch (error) {
    if (ConnectError.from(error).code !== Code.Canceled) throw error;
    console.log('cancelled a download');
  }
} finally {
  await sessions.deleteSession({}, { headers });
  console.log('deleted');
}
