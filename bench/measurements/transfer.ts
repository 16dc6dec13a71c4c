/** Throughput of an upload and a download, file to file. */
import type { Bench } from '../bench.js';
import type { Measurement, Row } from '../measurement.js';
import type { SubjectId } from '../subjects/subject.js';
import { noiseFile } from './noiseFile.js';

async function run(bench: Bench): Promise<readonly Row[]> {
  const { mebibytes, drives, thereAndBack } = await noiseFile(bench);
  const speeds = await bench.inTurn(drives, (machine) => machine.format(), thereAndBack);
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
