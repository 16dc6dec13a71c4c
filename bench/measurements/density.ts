/** Many sessions at once: what each takes of the memory, and whether each answers. */
import type { Bench } from '../bench.js';
import type { Measurement, Row } from '../measurement.js';
import { childrenOf, proportionalSize } from '../processes.js';
import type { ServiceMachine } from '../subjects/service.js';

const SESSIONS = 40;
const LIMIT_MIB = 150;
/** The guest has done what a launch leaves to be done later. */
const IDLE_MS = 5_000;
const MEBIBYTE = 1024n * 1024n;

/** Proportional set sizes of all machines of a server, MiB. */
async function sizes(server: number): Promise<number[]> {
  return Promise.all((await childrenOf(server)).map(proportionalSize));
}

async function run(bench: Bench): Promise<readonly Row[]> {
  const service = await bench.service();
  const { pid } = service.server;
  const machines: ServiceMachine[] = [];
  const launched: number[] = [];
  const alone: number[] = [];
  for (let count = 1; count <= SESSIONS; count += 1) {
    const machine = await service.launch([{ scratchSize: 16n * MEBIBYTE }]);
    machines.push(machine);
    launched.push(machine.launchSeconds);
    if (count === 1) {
      await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
      alone.push(...await sizes(pid));
    }
  }
  await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
  const together = await sizes(pid);
  if (together.length !== SESSIONS) throw new Error(`${together.length} machines run for ${SESSIONS} sessions`);
  const answers: number[] = [];
  for (const machine of machines) answers.push(...(await machine.echo(1)).map((seconds) => seconds * 1000));
  bench.say(`${SESSIONS} sessions answer; together they take ${together.reduce((sum, size) => sum + size, 0).toFixed(0)} MiB`);
  for (const machine of machines) await machine.close();
  return [
    { title: 'idle session alone, PSS', unit: 'MiB', better: 'less', values: { service: alone }, limit: LIMIT_MIB },
    { title: `idle session of ${SESSIONS}, PSS`, unit: 'MiB', better: 'less', values: { service: together }, limit: LIMIT_MIB },
    { title: `first call in each of ${SESSIONS}`, unit: 'ms', better: 'less', values: { service: answers } },
    { title: `launch of each of ${SESSIONS}`, unit: 's', better: 'less', values: { service: launched } },
  ];
}

export const density: Measurement = { name: 'density', summary: `${SESSIONS} sessions alive at once, and their memory`, repeat: 1, limitSeconds: 1800, run };
