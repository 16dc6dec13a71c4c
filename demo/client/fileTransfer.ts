/** Files of this machine into the guest and back. */
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { TransferServiceService, type UploadRequest } from '../../gen/proto/guestfs/v1/transfer.js';
import type { GuestfsClient } from './guestfsClient.js';

/** Large enough that a chunk's own cost does not count, well under the service's limit of 1 MiB. */
const CHUNK = 256 * 1024;

async function* uploadMessages(local: string, remote: string, size: bigint): AsyncGenerator<UploadRequest> {
  yield { payload: { $case: 'arguments', value: { remotefilename: remote, progress_hint: size } } };
  for await (const chunk of createReadStream(local, { highWaterMark: CHUNK }))
    yield { payload: { $case: 'chunk', value: chunk as Buffer } };
}

/** Uploads a file; its size goes along, so that progress can be told. */
export async function upload(session: GuestfsClient, local: string, remote: string, size: bigint): Promise<void> {
  await session.upload(TransferServiceService.upload, uploadMessages(local, remote, size));
}

/** Downloads a file; returns its size. */
export async function download(session: GuestfsClient, remote: string, local: string): Promise<number> {
  const file = await open(local, 'w');
  let size = 0;
  try {
    for await (const { chunk } of session.stream(TransferServiceService.download, { remotefilename: remote })) {
      await file.write(chunk);
      size += chunk.length;
    }
  } finally {
    await file.close();
  }
  return size;
}
