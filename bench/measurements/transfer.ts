/** Throughput of an upload and a download, file to file. */
import { sha256Of, writeNoise } from '../../demo/guest/noise.js';
import type { Bench } from '../bench.js';
import type { Measurement, Row } from '../measurement.js';
import type { SubjectId } from '../subjects/subject.js';

const SIZE_MIB = 256;
const DRIVE_FACTOR = 3n;
const MEBIBYTE = 1024n * 1024n;
const REMOTE = '/noise.bin';

async function run(bench: Bench): Promise<readonly Row[]> {
  const mebibytes = bench.options.size ?? SIZE_MIB;
  const size = BigInt(mebibytes) * MEBIBYTE;
  const [local, back] = [bench.workspace.path('noise.bin'), bench.workspace.path('noise.back')];
  const expected = await writeNoise(local, mebibytes);

  const speeds = await bench.inTurn(
    [{ scratchSize: size * DRIVE_FACTOR }],
    (machine) => machine.format(),
    async (machine, id) => {
      const up = mebibytes / (await machine.upload(local, REMOTE, size));
      const down = mebibytes / (await machine.download(REMOTE, back));
      if ((await sha256Of(back)) !== expected) throw new Error(`${id}: the download differs from the upload`);
      bench.say(`${id}: up ${up.toFixed(1)} MiB/s, down ${down.toFixed(1)} MiB/s`);
      return { up, down };
    },
  );
  const values = (way: 'up' | 'down'): Partial<Record<SubjectId, number[]>> =>
    Object.fromEntries([...speeds].map(([id, measured]) => [id, measured.map((one) => one[way])]));
  return [
    { title: `upload, ${mebibytes} MiB`, unit: 'MiB/s', better: 'more', values: values('up') },
    { title: `download, ${mebibytes} MiB`, unit: 'MiB/s', better: 'more', values: values('down') },
  ];
}

export const transfer: Measurement = {
  name: 'transfer',
  summary: 'throughput of uploads and downloads',
  repeat: 3,
  limitSeconds: 1800,
  run,
};
