/** Many sessions at once: the memory of each, and whether each answers. */
import type { Bench } from '../bench.js';
import type { Measurement, Row } from '../measurement.js';
import { currentSize } from '../memory.js';
import { childrenOf, openFiles, programOf, proportionalSize, treeOf } from '../processes.js';
import type { ServiceMachine } from '../subjects/service.js';

const SESSIONS = 40;
/** Numbers of sessions at which memory is measured. */
const STEPS = [1, 10, 20, SESSIONS];
const LIMIT_MIB = 150;
/** Time for the appliance to finish work that a launch defers. */
const IDLE_MS = 5_000;
const MEBIBYTE = 1024n * 1024n;
const QEMU = 'qemu-system-';

/** Proportional set sizes of each qemu of a server together with the processes of its jail, MiB. */
async function sizes(server: number): Promise<number[]> {
  const trees = await Promise.all((await childrenOf(server)).map(treeOf));
  const programs = await Promise.all(trees.map((tree) => Promise.all(tree.map(programOf))));
  const machines = trees.filter((_tree, index) => programs[index]?.some((name) => name.startsWith(QEMU)));
  const proportional = await Promise.all(machines.map((tree) => Promise.all(tree.map(proportionalSize))));
  return proportional.map((ofTree) => ofTree.reduce((sum, size) => sum + size, 0));
}

interface Holdings {
  readonly descriptors: number;
  readonly rss: number;
}

/** Resources of the server itself. */
async function holdings(pid: number): Promise<Holdings> {
  const { files, sockets } = await openFiles(pid);
  return { descriptors: files + sockets, rss: await currentSize(pid) };
}

async function run(bench: Bench): Promise<readonly Row[]> {
  const service = await bench.service();
  const { pid } = service.server;
  const before = await holdings(pid);
  const machines: ServiceMachine[] = [];
  const launched: number[] = [];
  const proportional = new Map<number, readonly number[]>();
  for (let count = 1; count <= SESSIONS; count += 1) {
    const machine = await service.launch([{ scratchSize: 16n * MEBIBYTE }]);
    machines.push(machine);
    launched.push(machine.launchSeconds);
    if (!STEPS.includes(count)) continue;
    await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
    const found = await sizes(pid);
    if (found.length !== count) throw new Error(`${found.length} qemu processes are running for ${count} sessions`);
    bench.say(`${count} sessions take ${found.reduce((sum, size) => sum + size, 0).toFixed(0)} MiB`);
    proportional.set(count, found);
  }
  const after = await holdings(pid);
  const ofEach = (of: keyof Holdings): number[] => [(after[of] - before[of]) / SESSIONS];
  const answers: number[] = [];
  for (const machine of machines) answers.push(...(await machine.echo(1)).map((seconds) => seconds * 1000));
  for (const machine of machines) await machine.close();
  return [
    ...[...proportional].map(
      ([count, values]): Row => ({
        title: `PSS of an idle session, ${count} alive`,
        unit: 'MiB',
        better: 'less',
        values: { service: values },
        limit: LIMIT_MIB,
      }),
    ),
    { title: `first call in each of ${SESSIONS}`, unit: 'ms', better: 'less', values: { service: answers } },
    {
      title: 'descriptors of the server for each',
      unit: '',
      better: 'less',
      values: { service: ofEach('descriptors') },
    },
    { title: "server's RSS for each", unit: 'MiB', better: 'less', values: { service: ofEach('rss') } },
    { title: `launch of each of ${SESSIONS}`, unit: 's', better: 'less', values: { service: launched } },
  ];
}

export const density: Measurement = {
  name: 'density',
  summary: `${SESSIONS} sessions alive at once, and their memory`,
  repeat: 1,
  limitSeconds: 1800,
  run,
};
