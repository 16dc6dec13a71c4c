/**
 * Runs the server's code for cgroups on a real cgroup version 2, in an appliance: `cgroupCheck.mjs CODE NODE...`, where
 * CODE is the directory of the compiled code, and NODE the command that starts Node.js. Prints what it found as JSON.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const [code, ...node] = process.argv.slice(2);
const { createCgroup, findCgroups, sweepCgroups } = await import(`${code}/jail/cgroups.js`);
const found = await findCgroups();
const own = readFileSync('/proc/self/cgroup', 'utf8').trim();
if (found.version !== 2) {
  console.log(JSON.stringify({ found }));
  process.exit();
}
const inside = async (entry, script) => {
  const child = spawn('sh', ['-c', `echo 0 >"$0" && ${script}`, entry, ...node], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return [child, once(child, 'exit')];
};

const cgroup = await createCgroup({ memory: 64 << 20, processes: 12 });
const [entry] = cgroup.entries;
const limit = (name) => readFileSync(join(dirname(entry), name), 'latin1').trim();
const limits = { memory: limit('memory.max'), processes: limit('pids.max') };

const [, many] = await inside(entry, 'for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do sleep 1 & done; wait');
const forked = await many;
const [, big] = await inside(entry, `exec "$@" -e 'const kept = []; for (;;) kept.push(Buffer.alloc(1 << 20, 1))'`);
const filled = await big;

// One that does not end with its parent.
const [left] = await inside(entry, 'setsid sleep 1000 & echo started; wait');
await once(left.stdout, 'data');
const processes = limit('cgroup.procs').split('\n');
await cgroup.remove();
const removed = !existsSync(dirname(entry));
const killed = processes.every(
  (pid) => !existsSync(`/proc/${pid}`) || / Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1')),
);

// As of a server that was killed.
const other = await createCgroup({ memory: 64 << 20, processes: 12 });
const space = /guestfs-grpc-(\d+)-/.exec(other.entries[0])?.[1];
const dead = join(dirname(dirname(other.entries[0])), `guestfs-grpc-${space}-999999-77-3`);
mkdirSync(dead);
const swept = await sweepCgroups();
const kept = existsSync(dirname(other.entries[0])) && !existsSync(dead);
await other.remove();

console.log(
  JSON.stringify({
    version: found.version,
    parents: [...found.parents],
    ...{ own, limits, forked, filled, left: processes.length, killed, removed, swept, kept },
  }),
);
