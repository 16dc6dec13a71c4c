/** A Python program over the client, and the same one over libguestfs's own binding: small calls, and a file. */
import type { Bench } from '../bench.js';
import type { Measurement, Row } from '../measurement.js';
import { PythonClient } from '../subjects/pythonClient.js';
import type { SubjectId } from '../subjects/subject.js';
import { noiseFile } from './noiseFile.js';

const COUNT = 1000;

async function run(bench: Bench): Promise<readonly Row[]> {
  const { mebibytes, drives, thereAndBack } = await noiseFile(bench);
  const client = new PythonClient((await bench.service()).server.address, bench.options.signal);
  try {
    const measured = await bench.inTurn(
      drives,
      (machine) => machine.format(),
      async (machine, id) => {
        const calls = (await machine.echo(COUNT)).reduce((sum, seconds) => sum + seconds, 0);
        bench.say(`${id}: ${calls.toFixed(2)} s for ${COUNT} calls`);
        return { calls, ...(await thereAndBack(machine, id)) };
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
