/** Many small calls at once, over several sessions. Only for the service: the library has one caller per handle. */
import type { Bench } from '../bench.js';
import type { Measurement, Row } from '../measurement.js';
import { processorTime } from '../processorTime.js';
import type { ServiceId, ServiceMachine } from '../subjects/service.js';
import { timed } from '../timed.js';

const CALLS = 10_000;
const IN_FLIGHT = 32;
/** As many as two processors can run; calls of one session take turns. */
const SESSIONS = 4;
const MICROSECONDS = 1_000_000;

/** Makes this many calls, with {@link IN_FLIGHT} of them in flight at any time. */
async function callAll(machines: readonly ServiceMachine[], count: number): Promise<void> {
  let started = 0;
  await Promise.all(
    Array.from({ length: IN_FLIGHT }, async (_unused, caller) => {
      const machine = machines[caller % machines.length];
      for (; machine !== undefined && started < count; ) {
        started += 1;
        await machine.echo(1);
      }
    }),
  );
}

/** One version of the service, and what was measured. */
interface Loaded {
  readonly id: ServiceId;
  readonly pid: number;
  readonly machines: readonly ServiceMachine[];
  readonly rates: number[];
  readonly costs: number[];
}

async function prepare(bench: Bench, id: ServiceId): Promise<Loaded> {
  const service = await bench.service([], id);
  const machines: ServiceMachine[] = [];
  for (let index = 0; index < SESSIONS; index += 1)
    machines.push(await service.launch([{ scratchSize: 1024n * 1024n }]));
  await callAll(machines, CALLS / 10);
  return { id, pid: service.server.pid, machines, rates: [], costs: [] };
}

async function run(bench: Bench): Promise<readonly Row[]> {
  const all: Loaded[] = [];
  for (const id of bench.services) all.push(await prepare(bench, id));
  for (let round = 0; round < bench.repeat; round += 1) {
    for (const { id, pid, machines, rates, costs } of all) {
      const before = await processorTime(pid);
      const [seconds] = await timed(() => callAll(machines, CALLS));
      const cost = (((await processorTime(pid)) - before) * MICROSECONDS) / CALLS;
      bench.say(
        `${id}: ${CALLS} calls, ${(CALLS / seconds).toFixed(0)} calls/s, ${cost.toFixed(0)} µs of the server's CPU time each`,
      );
      rates.push(CALLS / seconds);
      costs.push(cost);
    }
  }
  for (const { machines } of all) for (const machine of machines) await machine.close();
  const what = `${CALLS} echo_daemon, ${IN_FLIGHT} in flight, ${SESSIONS} sessions`;
  const values = (of: 'rates' | 'costs'): Row['values'] => Object.fromEntries(all.map((one) => [one.id, one[of]]));
  return [
    { title: what, unit: 'calls/s', better: 'more', values: values('rates') },
    { title: "server's CPU time for each", unit: 'µs', better: 'less', values: values('costs') },
  ];
}

export const load: Measurement = {
  name: 'load',
  summary: `${CALLS} calls, ${IN_FLIGHT} in flight over ${SESSIONS} sessions`,
  repeat: 3,
  limitSeconds: 900,
  run,
};
