/**
 * From an empty disk to a file on it and back.
 *
 *   node drive.js [ADDRESS]
 */
import { connect, GuestfsRpcError, type Guest } from '../../clients/typescript/src/index.js';

const MIB = 1 << 20;
const content = Buffer.concat([1, 2, 3, 4, 5, 6, 7, 8].map((number) => Buffer.alloc(MIB, number)));

/** Read as fast as the service accepts it. */
function* pieces(): Generator<Buffer> {
  for (let sent = 0; sent < content.length; sent += MIB) {
    yield content.subarray(sent, sent + MIB);
    console.log(`sent ${sent / MIB + 1} of 8 MiB`);
  }
}

async function use(guest: Guest): Promise<void> {
  await guest.partDisk('/dev/sda', 'gpt');
  await guest.mkfs('ext4', '/dev/sda1');
  await guest.mount('/dev/sda1', '/');

  await guest.upload(pieces(), '/file');
  const received = await guest.download('/file').bytes();
  if (!received.equals(content)) throw new Error('the file has changed');
  console.log('received the same 8 MiB');

  try {
    await guest.cat('/missing');
  } catch (error) {
    if (!(error instanceof GuestfsRpcError)) throw error;
    console.log(`cat /missing: ${error.reason}`);
  }

  const enough = new AbortController();
  try {
    for await (const _chunk of guest.download('/dev/sda', { signal: enough.signal })) enough.abort();
  } catch (error) {
    if (!enough.signal.aborted) throw error;
    console.log('cancelled a download');
  }
}

{
  const drives = [{ scratchSize: BigInt(64 * MIB), writable: true }];
  await using guest = await connect(process.argv[2] ?? '127.0.0.1:50051').session({ drives, launch: true });
  console.log('launched');
  await use(guest);
}
console.log('deleted');
