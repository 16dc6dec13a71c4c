/** The smallest call that goes to the daemon and back, one after the other. */
import type { Bench } from '../bench.js';
import type { Measurement, Row } from '../measurement.js';
import { median, quantile } from '../statistics.js';
import { ServiceMachine } from '../subjects/service.js';

const COUNT = 500;
const MILLISECONDS = 1000;
const HIGH = 0.99;

async function run(bench: Bench): Promise<readonly Row[]> {
  const rounds = await bench.inTurn(
    [{ scratchSize: 1024n * 1024n }],
    async () => undefined,
    async (machine) => ({
      echo: await machine.echo(COUNT),
      version: machine instanceof ServiceMachine ? await machine.version(COUNT) : [],
    }),
  );
  const inMilliseconds = (samples: readonly (readonly number[])[]): number[] =>
    samples.flat().map((seconds) => seconds * MILLISECONDS);
  const values = Object.fromEntries([...rounds].map(([id, all]) => [id, inMilliseconds(all.map(({ echo }) => echo))]));
  const answeredHere = Object.fromEntries(
    bench.services.map((id) => [id, inMilliseconds((rounds.get(id) ?? []).map(({ version }) => version))]),
  );
  const { service = [], library = [] } = values;
  const extra = median(service) - median(library);
  const note = `${extra.toFixed(2)} ms more than the library; 99 of 100 within ${quantile(service, HIGH).toFixed(2)} ms, the library's within ${quantile(library, HIGH).toFixed(2)} ms`;
  return [
    {
      title: 'echo_daemon',
      unit: 'ms',
      better: 'less',
      values,
      ...(service.length > 0 && library.length > 0 ? { note } : {}),
    },
    ...(bench.services.length > 0
      ? [
          {
            title: 'version, which never leaves the server',
            unit: 'ms',
            better: 'less',
            values: answeredHere,
          } as const,
        ]
      : []),
  ];
}

export const call: Measurement = {
  name: 'call',
  summary: `latency of echo_daemon, ${COUNT} calls a round`,
  repeat: 5,
  limitSeconds: 900,
  run,
};
