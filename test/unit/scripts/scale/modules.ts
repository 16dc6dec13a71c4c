/** The modules of `scripts/scale`, which are no TypeScript, with the types that the tests need. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from '../../../architecture/sourceTree.js';

export interface Figure {
  readonly value: number;
  readonly source: string;
  readonly says: string;
}

export interface Flags {
  readonly nodes: readonly number[];
  readonly [name: string]: unknown;
}

export interface Options {
  readonly nodes: number;
  readonly node: Readonly<Record<string, unknown>>;
  readonly [name: string]: unknown;
}

export interface Simulation {
  readonly counts: {
    readonly wanted: number;
    readonly attempts: number;
    readonly refused: number;
    readonly launched: number;
    readonly completed: number;
    readonly givenUp: number;
    readonly interrupted: number;
    readonly lost: { readonly update: number; readonly failure: number };
    readonly failures: number;
    readonly updated: number;
  };
  readonly latencies: readonly number[];
  readonly waiting: number;
  readonly sessions: number;
  readonly replicas: readonly { readonly places: number; readonly sessions: ReadonlySet<unknown> }[];
}

async function load<Module>(name: string): Promise<Module> {
  return (await import(pathToFileURL(join(root, 'scripts', 'scale', `${name}.mjs`)).href)) as Module;
}

export const { simulate } = await load<{ simulate(options: Options): Simulation }>('simulation');
export const { FIGURES } = await load<{ FIGURES: Readonly<Record<string, Figure>> }>('figures');
export const { EventQueue } = await load<{
  EventQueue: new () => {
    readonly now: number;
    at(time: number, action: () => void): void;
    after(delay: number, action: () => void): void;
    runUntil(end: number): void;
  };
}>('eventQueue');
export const { Random } = await load<{
  Random: new (seed: number) => { next(): number; below(end: number): number; exponential(mean: number): number };
}>('random');
export const { Processors } = await load<{
  Processors: new (
    queue: InstanceType<typeof EventQueue>,
    cores: number,
  ) => {
    readonly used: number;
    start(work: number, ended: () => void): object;
    cancel(task: object): void;
  };
}>('processors');
export const { placesOf } = await load<{ placesOf(node: Readonly<Record<string, unknown>>): number }>('replica');
export const { limitsInOrder, controlPlane } = await load<{
  limitsInOrder(
    shapeOf: (replicas: number) => object,
    updateSeconds: number,
  ): readonly { readonly name: string; readonly replicas: number }[];
  controlPlane(shape: object): Readonly<Record<string, number>>;
}>('controlPlane');
export const { readCommandLine } = await load<{
  readCommandLine(args: readonly string[]): { readonly flags: Flags; readonly tables: readonly string[] };
}>('commandLine');
export const { table, percentile } = await load<{
  table(name: string, flags: Flags): string;
  percentile(values: readonly number[], part: number): number;
}>('tables');

/** A node that nothing but its places limits. */
export const largeNode = { cores: 1e6, memory: 1e9, memsize: 1, maxSessions: 20, pool: 0, launch: 'template' } as const;

/** A service that works, without failures and updates. */
export const calmService: Options = {
  nodes: 10,
  node: { cores: 16, memory: 65_536, memsize: 1280, maxSessions: 64, pool: 4, launch: 'template' },
  rate: 0.5,
  sessionSeconds: 60,
  compute: 12,
  work: 'session',
  burst: 0,
  warmUp: 20,
  seconds: 200,
  seed: 1,
  policy: 'round-robin',
  proxies: 2,
  reportInterval: 10,
  attempts: 12,
  hoursBetweenFailures: Infinity,
  repair: 300,
  update: undefined,
  loopShare: 1,
};
