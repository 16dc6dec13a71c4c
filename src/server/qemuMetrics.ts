/**
 * What qemu uses, by the state of its session. All machines of a state are one series, and their largest another: a
 * series for each session would be too many.
 *
 * Each machine costs two small files of /proc, so that they are read neither at every scrape nor all at once.
 */
import { Counter, Gauge } from 'prom-client';
import { usageOf, type ProcessUsage } from '../common/processUsage.js';
import { runningQemus } from '../qemu/runningQemus.js';
import { metrics } from './metrics.js';

/** States of sessions that have a machine; `none`: it starts, is in the pool, or becomes a template. */
const STATES = ['READY', 'STOPPING', 'CLOSED', 'none'] as const;
type MachineState = (typeof STATES)[number];

/** Machines that are read at the same time. */
const AT_ONCE = 16;
/** Figures are at least this old before they are read again, milliseconds, ... */
const LEAST_AGE_MS = 5000;
/** ... and this many times as old as reading them took. */
const AGE_PER_DURATION = 50;

export interface MeasuredMachines {
  /** The state of the session of each machine that has one, by its PID. */
  readonly states: () => ReadonlyMap<number, string>;
  readonly running?: () => readonly number[];
  readonly usage?: (pid: number) => Promise<ProcessUsage | undefined>;
  readonly now?: () => number;
}

/** The sum and the largest of the machines of a state. */
interface Sum {
  machines: number;
  privateBytes: number;
  sharedBytes: number;
  largest: number;
}

/** Reads what machines use, no more often than is worth it. */
export class MachineUsage {
  readonly #machines: Required<MeasuredMachines>;
  /** Processor time of the machines that run, by their PIDs. */
  #cpu: ReadonlyMap<number, number> = new Map();
  #reading: Promise<void> | undefined;
  #freshUntil = -Infinity;
  readonly sums = new Map<MachineState, Sum>(STATES.map((state) => [state, nothing()]));

  /** @param onCpu gets the processor time that machines of a state have used since they were last looked at, seconds */
  constructor(
    machines: MeasuredMachines,
    private readonly onCpu: (state: MachineState, seconds: number) => void,
  ) {
    this.#machines = { running: runningQemus, usage: usageOf, now: () => performance.now(), ...machines };
  }

  /** Brings the sums up to date, unless they are recent. */
  async refresh(): Promise<void> {
    if (this.#machines.now() < this.#freshUntil) return;
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    await this.#reading;
  }

  async #read(): Promise<void> {
    const { states, running, usage, now } = this.#machines;
    const started = now();
    const pids = running();
    const stateOf = states();
    const cpu = new Map<number, number>();
    const sums = new Map<MachineState, Sum>(STATES.map((state) => [state, nothing()]));
    for (let first = 0; first < pids.length; first += AT_ONCE) {
      const some = pids.slice(first, first + AT_ONCE);
      const used = await Promise.all(some.map(usage));
      some.forEach((pid, index) => {
        const one = used[index];
        if (one === undefined) return;
        const state = STATES.find((known) => known === stateOf.get(pid)) ?? 'none';
        add(sums.get(state) as Sum, one);
        cpu.set(pid, one.cpuSeconds);
        const before = this.#cpu.get(pid) ?? 0;
        // Less than before: it is another process with the same PID.
        this.onCpu(state, one.cpuSeconds >= before ? one.cpuSeconds - before : one.cpuSeconds);
      });
    }
    this.#cpu = cpu;
    for (const [state, sum] of sums) this.sums.set(state, sum);
    this.#freshUntil = now() + Math.max(LEAST_AGE_MS, AGE_PER_DURATION * (now() - started));
  }
}

function nothing(): Sum {
  return { machines: 0, privateBytes: 0, sharedBytes: 0, largest: 0 };
}

function add(sum: Sum, { privateBytes, sharedBytes }: ProcessUsage): void {
  sum.machines += 1;
  sum.privateBytes += privateBytes;
  sum.sharedBytes += sharedBytes;
  sum.largest = Math.max(sum.largest, privateBytes + sharedBytes);
}

/** Adds what qemu uses to the metrics of the process; once. */
export function measureMachines(machines: MeasuredMachines): void {
  const cpu = new Counter({
    name: 'guestfs_qemu_cpu_seconds_total',
    help: 'Processor time of qemu, by the state of its session; none: it has no session yet.',
    labelNames: ['state'] as const,
    registers: [],
    async collect() {
      await usage.refresh();
    },
  });
  const usage = new MachineUsage(machines, (state, seconds) => cpu.inc({ state }, seconds));
  for (const state of STATES) cpu.inc({ state }, 0);
  metrics.registerMetric(cpu);
  const gauge = (name: string, help: string, value: (sum: Sum) => number): void =>
    metrics.registerMetric(
      new Gauge({
        name,
        help,
        labelNames: ['state'] as const,
        registers: [],
        async collect() {
          await usage.refresh();
          for (const [state, sum] of usage.sums) this.set({ state }, value(sum));
        },
      }),
    );
  gauge('guestfs_qemu_processes', 'Running qemus, by the state of their session.', ({ machines: count }) => count);
  gauge(
    'guestfs_qemu_private_memory_bytes',
    'Memory that qemus share with nobody, by the state of their session.',
    ({ privateBytes }) => privateBytes,
  );
  gauge(
    'guestfs_qemu_shared_memory_bytes',
    'Memory of qemus that others can have as well, such as unchanged memory of a template; counted for each of them.',
    ({ sharedBytes }) => sharedBytes,
  );
  gauge(
    'guestfs_qemu_largest_memory_bytes',
    'Memory of the largest qemu, by the state of its session.',
    ({ largest }) => largest,
  );
}
