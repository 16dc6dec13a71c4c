/** Uploads and downloads a file larger than any buffer; the server's memory must not grow with it. */
import { createHash } from 'node:crypto';
import type { Guest } from '../../clients/typescript/src/index.js';
import { writeNoise } from '../../demo/guest/noise.js';
import type { Bench } from '../bench.js';
import type { Measurement, Row } from '../measurement.js';
import { peak, startPeak } from '../memory.js';
import { timed } from '../timed.js';

const SIZE_MIB = 2048;
const MEBIBYTE = 1024n * 1024n;
const REMOTE = '/large.bin';
const LIMIT_MIB = 64;

/** SHA-256 of the downloaded file. */
async function downloadedSum(guest: Guest): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of guest.download(REMOTE)) hash.update(chunk);
  return hash.digest('hex');
}

async function run(bench: Bench): Promise<readonly Row[]> {
  const mebibytes = bench.options.size ?? SIZE_MIB;
  const size = BigInt(mebibytes) * MEBIBYTE;
  const local = bench.workspace.path('large.bin');
  const expected = await writeNoise(local, mebibytes);

  const service = await bench.service();
  const { pid } = service.server;
  const machine = await service.launch([{ scratchSize: size + size / 4n }]);
  await machine.format();
  // Nothing has been transferred yet: the memory of the first transfer counts as growth.
  const before = await startPeak(pid);
  const uploadSeconds = await machine.upload(local, REMOTE, size);
  const uploadGrowth = (await peak(pid)) - before;
  bench.say(
    `uploaded ${mebibytes} MiB in ${uploadSeconds.toFixed(0)} s; the server had ${before.toFixed(0)} MiB and grew by ${uploadGrowth.toFixed(0)} MiB`,
  );
  const inGuest = await machine.checksum(REMOTE);
  await startPeak(pid);
  const [downloadSeconds, back] = await timed(() => downloadedSum(machine.guest));
  const downloadGrowth = (await peak(pid)) - before;
  bench.say(`downloaded in ${downloadSeconds.toFixed(0)} s; the server grew by ${downloadGrowth.toFixed(0)} MiB`);
  await machine.close();
  if (inGuest !== expected || back !== expected)
    throw new Error(
      `checksums differ: on the client ${expected}, in the appliance ${inGuest}, of the download ${back}`,
    );
  bench.say(`checksums equal: on the client, in the appliance, of the download (${expected})`);
  return [
    {
      title: `server's RSS growth, ${mebibytes} MiB up`,
      unit: 'MiB',
      better: 'less',
      values: { service: [uploadGrowth] },
      limit: LIMIT_MIB,
    },
    {
      title: `server's RSS growth, ${mebibytes} MiB down`,
      unit: 'MiB',
      better: 'less',
      values: { service: [downloadGrowth] },
      limit: LIMIT_MIB,
    },
    {
      title: `upload, ${mebibytes} MiB`,
      unit: 'MiB/s',
      better: 'more',
      values: { service: [mebibytes / uploadSeconds] },
    },
    {
      title: `download, ${mebibytes} MiB`,
      unit: 'MiB/s',
      better: 'more',
      values: { service: [mebibytes / downloadSeconds] },
    },
  ];
}

export const rss: Measurement = {
  name: 'rss',
  summary: "the server's memory during an upload and a download of 2 GiB",
  repeat: 1,
  limitSeconds: 3600,
  run,
};
