/** Sessions come and go, and must leave nothing behind. */
import { execFile } from 'node:child_process';
import { open, readdir } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { Bench } from '../bench.js';
import type { Measurement, Row } from '../measurement.js';
import { currentSize } from '../memory.js';
import { processorTime } from '../processorTime.js';
import { childrenOf, openFiles } from '../processes.js';
import type { Service } from '../subjects/service.js';
import { timed } from '../timed.js';

const SESSIONS = 200;
/** Warm-up sessions, after which the server has everything that it keeps permanently. */
const WARM_UP = 40;
const IN_FLIGHT = 4;
const IMAGE_SIZE = 64 * 1024 * 1024;
/** Tolerance for the timing of garbage collection. */
const RSS_LIMIT_MIB = 32;
/** The last session's files are closed a moment after the answer. */
const SETTLE_MS = 2_000;
const CONTENT = Buffer.from('written through a session of its own');

async function use(service: Service, path: string): Promise<void> {
  const machine = await service.launch([{ path, format: 'raw' }]);
  await machine.guest.mount('/dev/sda', '/');
  await machine.guest.write('/file', CONTENT);
  if (!CONTENT.equals(await machine.guest.readFile('/file')))
    throw new Error('the file read differs from the file written');
  await machine.close();
}

async function useMany(service: Service, path: string, count: number): Promise<void> {
  let started = 0;
  await Promise.all(
    Array.from({ length: IN_FLIGHT }, async () => {
      while (started < count) {
        started += 1;
        await use(service, path);
      }
    }),
  );
}

interface Holdings {
  readonly processes: number;
  readonly files: number;
  readonly sockets: number;
  readonly directories: number;
  readonly rss: number;
}

async function holdings(pid: number, temporary: string): Promise<Holdings> {
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  return {
    processes: (await childrenOf(pid)).length,
    ...(await openFiles(pid)),
    directories: (await readdir(temporary)).length,
    rss: await currentSize(pid),
  };
}

async function run(bench: Bench): Promise<readonly Row[]> {
  const path = bench.image('churn.img');
  const file = await open(path, 'w');
  await file.truncate(IMAGE_SIZE);
  await file.close();
  const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
  await promisify(execFile)('mke2fs', ['-q', '-t', 'ext4', path], { env: { ...process.env, PATH } });

  const service = await bench.service();
  const { pid } = service.server;
  const temporary = bench.workspace.path('tmp');
  await useMany(service, path, WARM_UP);
  const before = await holdings(pid, temporary);
  const processorBefore = await processorTime(pid);
  const [seconds] = await timed(() => useMany(service, path, SESSIONS));
  const processorMs = (((await processorTime(pid)) - processorBefore) * 1000) / SESSIONS;
  const after = await holdings(pid, temporary);
  bench.say(`before ${JSON.stringify(before)}, after ${JSON.stringify(after)}`);
  const growth = (title: string, of: keyof Holdings, unit: Row['unit'], limit: number): Row => ({
    title: `${title}, growth`,
    unit,
    better: 'less',
    values: { service: [Math.max(0, after[of] - before[of])] },
    limit,
  });
  return [
    {
      title: `${SESSIONS} sessions used and deleted, ${IN_FLIGHT} in flight`,
      unit: 'sessions/s',
      better: 'more',
      values: { service: [SESSIONS / seconds] },
    },
    { title: "server's CPU time for each", unit: 'ms', better: 'less', values: { service: [processorMs] } },
    growth('processes', 'processes', '', 0),
    growth('open files', 'files', '', 0),
    growth('sockets', 'sockets', '', 0),
    growth('run directories', 'directories', '', 0),
    growth("server's RSS", 'rss', 'MiB', RSS_LIMIT_MIB),
  ];
}

export const churn: Measurement = {
  name: 'churn',
  summary: `${SESSIONS} sessions created, used and deleted, ${IN_FLIGHT} in flight`,
  repeat: 1,
  limitSeconds: 3000,
  run,
};
