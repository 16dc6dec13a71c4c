/**
 * Runs the server's code for cgroups on a real cgroup version 2, in an appliance. Prints what it found as JSON.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createCgroup, findCgroups, sweepCgroups, type Cgroup } from '../../src/jail/cgroups.js';

async function make(): Promise<Cgroup> {
  const cgroup = await createCgroup({ memory: 64 << 20, processes: 12 });
  if (cgroup === undefined) throw new Error('there is none');
  return cgroup;
}

const found = await findCgroups();
const own = readFileSync('/proc/self/cgroup', 'utf8').trim();
if (found.version !== 2) {
  console.log(JSON.stringify({ found }));
  process.exit();
}
/** Starts a shell in a cgroup. */
function inside(entry: string, script: string): { child: ChildProcess; ended: Promise<unknown> } {
  const child = spawn('sh', ['-c', `echo 0 >"$0" && { ${script}; }`, entry], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return { child, ended: once(child, 'exit') };
}

const cgroup = await make();
const [entry = ''] = cgroup.entries;
const limit = (name: string): string => readFileSync(join(dirname(entry), name), 'latin1').trim();
const limits = { memory: limit('memory.max'), processes: limit('pids.max') };

const many = inside(entry, 'for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do sleep 1 & done; wait');
const forked = await many.ended;
// It keeps all of a line.
const big = inside(entry, 'exec tail </dev/zero');
const filled = await big.ended;

// What was killed takes a moment to end and to give back its memory, which the next would lack.
const isEmpty = (): boolean => limit('cgroup.procs') === '' && Number(limit('memory.current')) < 32 << 20;
for (let waited = 0; !isEmpty() && waited < 100; waited++) await sleep(100);

// One that does not end with its parent.
const left = inside(entry, 'setsid sleep 1000 & echo started; wait');
await once(left.child.stdout as NonNullable<ChildProcess['stdout']>, 'data');
const processes = limit('cgroup.procs').split('\n');
await cgroup.remove();
const removed = !existsSync(dirname(entry));
const killed = processes.every(
  (pid) => !existsSync(`/proc/${pid}`) || / Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1')),
);

// As of a server that was killed.
const other = await make();
const [theirs = ''] = other.entries;
const space = /guestfs-grpc-(\d+)-/.exec(theirs)?.[1] ?? '';
const dead = join(dirname(dirname(theirs)), `guestfs-grpc-${space}-999999-77-3`);
mkdirSync(dead);
const swept = await sweepCgroups();
const kept = existsSync(dirname(theirs)) && !existsSync(dead);
await other.remove();

console.log(
  JSON.stringify({
    version: found.version,
    parents: [...found.parents],
    ...{ own, limits, forked, filled, left: processes.length, killed, removed, swept, kept },
  }),
);
