/** A Python program over the client, and the same one over libguestfs's own binding: small calls, and a file. */
import { sha256Of, writeNoise } from '../../demo/guest/noise.js';
import type { Bench } from '../bench.js';
import type { Measurement, Row } from '../measurement.js';
import { PythonClient } from '../subjects/pythonClient.js';
import type { SubjectId } from '../subjects/subject.js';

const COUNT = 1000;
const SIZE_MIB = 256;
const DRIVE_FACTOR = 3n;
const MEBIBYTE = 1024n * 1024n;
const REMOTE = '/noise.bin';

async function run(bench: Bench): Promise<readonly Row[]> {
  const mebibytes = bench.options.size ?? SIZE_MIB;
  const size = BigInt(mebibytes) * MEBIBYTE;
  const [local, back] = [bench.workspace.path('noise.bin'), bench.workspace.path('noise.back')];
  const expected = await writeNoise(local, mebibytes);
  const client = new PythonClient((await bench.service()).server.address, bench.options.signal);
  try {
    const measured = await bench.inTurn(
      [{ scratchSize: size * DRIVE_FACTOR }],
      (machine) => machine.format(),
      async (machine, id) => {
        const calls = (await machine.echo(COUNT)).reduce((sum, seconds) => sum + seconds, 0);
        const up = mebibytes / (await machine.upload(local, REMOTE, size));
        const down = mebibytes / (await machine.download(REMOTE, back));
        if ((await sha256Of(back)) !== expected) throw new Error(`${id}: the download differs from the upload`);
        bench.say(`${id}: ${calls.toFixed(2)} s, up ${up.toFixed(1)} MiB/s, down ${down.toFixed(1)} MiB/s`);
        return { calls, up, down };
      },
      { service: client },
    );
    const values = (of: 'calls' | 'up' | 'down'): Partial<Record<SubjectId, number[]>> =>
      Object.fromEntries([...measured].map(([id, all]) => [id, all.map((one) => one[of])]));
    return [
      { title: `Python: ${COUNT} echo_daemon`, unit: 's', better: 'less', values: values('calls') },
      { title: `Python: upload, ${mebibytes} MiB`, unit: 'MiB/s', better: 'more', values: values('up') },
      { title: `Python: download, ${mebibytes} MiB`, unit: 'MiB/s', better: 'more', values: values('down') },
    ];
  } finally {
    await client.close();
  }
}

export const python: Measurement = {
  name: 'python',
  summary: `${COUNT} calls and a file over the Python client, in place of the one in TypeScript`,
  repeat: 3,
  limitSeconds: 1800,
  run,
};
