/** A file of noise that a machine gets and gives back. */
import { sha256Of, writeNoise } from '../../demo/guest/noise.js';
import type { Bench } from '../bench.js';
import type { BenchDrive, Machine, SubjectId } from '../subjects/subject.js';

const SIZE_MIB = 256;
const DRIVE_FACTOR = 3n;
const MEBIBYTE = 1024n * 1024n;
const REMOTE = '/noise.bin';

/** Throughput, MiB/s. */
export interface Speeds {
  readonly up: number;
  readonly down: number;
}

export interface NoiseFile {
  readonly mebibytes: number;
  /** Those of a machine that it fits on. */
  readonly drives: readonly BenchDrive[];
  /** Sends it to a machine with a file system and receives it. @throws Error if what comes back is different */
  readonly thereAndBack: (machine: Machine, id: SubjectId) => Promise<Speeds>;
}

/** Writes the file, of the size that was asked for. */
export async function noiseFile(bench: Bench): Promise<NoiseFile> {
  const mebibytes = bench.options.size ?? SIZE_MIB;
  const size = BigInt(mebibytes) * MEBIBYTE;
  const [local, back] = [bench.workspace.path('noise.bin'), bench.workspace.path('noise.back')];
  const expected = await writeNoise(local, mebibytes);
  return {
    mebibytes,
    drives: [{ scratchSize: size * DRIVE_FACTOR }],
    thereAndBack: async (machine, id) => {
      const up = mebibytes / (await machine.upload(local, REMOTE, size));
      const down = mebibytes / (await machine.download(REMOTE, back));
      if ((await sha256Of(back)) !== expected) throw new Error(`${id}: the download differs from the upload`);
      bench.say(`${id}: up ${up.toFixed(1)} MiB/s, down ${down.toFixed(1)} MiB/s`);
      return { up, down };
    },
  };
}
