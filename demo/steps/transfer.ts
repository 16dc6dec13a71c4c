/** Uploads and downloads a large file, and compares the checksums on all three sides. */
import { createReadStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { FileServiceService } from '../../gen/proto/guestfs/v1/file.js';
import { TransferServiceService } from '../../gen/proto/guestfs/v1/transfer.js';
import { sha256Of, writeNoise } from '../guest/noise.js';
import type { Guide } from '../guide.js';
import { bar, bytes } from '../terminal/format.js';

const SIZE_MIB = 64;
const REMOTE = '/home/noise.bin';
const BAR_WIDTH = 40;
/** Large enough that a chunk's own cost does not count. */
const CHUNK = 256 * 1024;

export async function transfer(guide: Guide): Promise<void> {
  const { out, session, workspace } = guide;
  const [local, back] = [workspace.path('noise.bin'), workspace.path('noise.back')];
  const size = BigInt(SIZE_MIB) * 1024n * 1024n;
  const expected = await writeNoise(local, SIZE_MIB);

  await withBar(guide, TransferServiceService.upload, size, async () => {
    const given = { remotefilename: REMOTE, progress_hint: size };
    await session.upload(TransferServiceService.upload, given, createReadStream(local, { highWaterMark: CHUNK }));
  });
  const { checksum } = await guide.call(
    FileServiceService.checksum,
    { csumtype: 'sha256', path: REMOTE },
    'by the appliance',
  );
  expectSame('the checksum in the appliance', expected, checksum);
  out.good(`in the appliance: SHA-256 ${checksum.slice(0, 16)}..., same as on the client`);

  await withBar(guide, TransferServiceService.download, size, () =>
    writeFile(back, session.download(TransferServiceService.download, { remotefilename: REMOTE })),
  );
  expectSame('the checksum of the download', expected, await sha256Of(back));
  out.good('the download is identical');
}

/** Shows a bar from the progress events of a transfer, and its throughput afterwards. */
async function withBar(
  guide: Guide,
  method: { readonly path: string },
  size: bigint,
  body: () => Promise<void>,
): Promise<void> {
  const startedAt = performance.now();
  const progress = (): string => {
    const { position, total } = guide.current?.events.progress ?? { position: 0n, total: 1n };
    const part = Number(position) / Number(total);
    return `${bar(part, BAR_WIDTH)} ${String(Math.round(part * 100)).padStart(3)} %`;
  };
  await guide.tell(
    method,
    body,
    () => {
      const perSecond = Math.round(Number(size) / ((performance.now() - startedAt) / 1000));
      return `${bytes(size)}, ${bytes(perSecond)}/s  ${bar(1, BAR_WIDTH / 4)}`;
    },
    progress,
  );
}

function expectSame(what: string, expected: string, found: string): void {
  if (expected !== found) throw new Error(`${what} is ${found}, expected ${expected}`);
}
