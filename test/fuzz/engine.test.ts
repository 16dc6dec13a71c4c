/** Tests of the fuzzer: probes do not change what code does, and the fuzzer finds hidden defects. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { setImmediate } from 'node:timers/promises';
import { collectGarbage } from '../fakes/memory.js';
import { threadTime } from './engine/clock.js';
import { Fuzzer, type Finding, type FuzzerOptions } from './engine/fuzzer.js';
import { instrument } from './engine/instrument.js';
import { installProbes, type Probes } from './engine/probes.js';
import { shrink } from './engine/shrink.js';
import { turn, type Target } from './engine/target.js';

/** Time for one search, even if the processor is busy. */
const LONGEST_MS = 30_000;

let probes: Probes;
beforeAll(() => {
  probes = installProbes();
});

let places = 0;

/** Runs the text of a function body with probes in it. @returns its result */
function instrumented(text: string): unknown {
  const { text: probed, end } = instrument(`${text}`, 'module.js', places, true);
  places = end;
  // The text comes from this test only.
  // eslint-disable-next-line @typescript-eslint/no-implied-eval
  return (new Function(probed) as () => unknown)();
}

describe('instrumented code', () => {
  test.each([
    [
      'conditions',
      'const f = (a, b) => (a > b ? "more" : a === b ? "same" : "less"); return [f(2, 1), f(1, 1), f(1, 2)];',
    ],
    [
      'short circuits',
      'const log = []; const f = (x) => { log.push(x); return x; }; f(0) && f(1); f(2) || f(3); f(null) ?? f(4); return log;',
    ],
    [
      'loops',
      'let n = 0; for (let i = 0; i < 3; i++) n += i; for (const x of [1, 2]) n += x; while (n < 10) n++; return n;',
    ],
    [
      'switches',
      'const f = (x) => { switch (x) { case 1: return "one"; case 2: default: return "other"; } }; return [f(1), f(2), f(3)];',
    ],
    [
      'classes',
      'class A { #x = 1; constructor(y) { this.y = y; } get x() { return this.#x; } } class B extends A { constructor() { super(2); } } const b = new B(); return [b.x, b.y];',
    ],
    ['errors', 'try { throw new Error("x"); } catch (error) { return error.message; } finally { if (false) throw 1; }'],
    [
      'methods in the middle of conditions',
      'const o = { v: 5, f() { return this.v; } }; return [true && o.f(), false || o.f(), o?.f()];',
    ],
    ['generators', 'function* g() { for (let i = 0; i < 2; i++) yield i !== 1 ? i : -1; } return [...g()];'],
    [
      'big numbers and others',
      'return [1n === 1n, 1n < 2, "a" <= "b", NaN !== NaN, undefined === null, typeof 1 === "number"];',
    ],
    ['directives', '"use strict"; return (function () { "use strict"; return this; })() === undefined;'],
  ])('behaves as before: %s', (_what, text) => {
    // The text is one of those above.
    // eslint-disable-next-line @typescript-eslint/no-implied-eval
    expect(instrumented(text)).toEqual((new Function(text) as () => unknown)());
  });

  test('counts the places that it passes', () => {
    const first = places;
    const choose = instrumented('return (x) => { if (x) return 1; return 2; };') as (x: boolean) => number;
    probes.edges.fill(0);
    choose(true);
    const counts = [...probes.edges.subarray(first, places)];
    choose(false);
    choose(false);
    expect([...probes.edges.subarray(first, places)]).not.toEqual(counts);
    expect(probes.edges.subarray(first, places).reduce((sum, count) => sum + count, 0)).toBe(6);
  });

  test('reports its literals and the values that it compares', () => {
    const f = instrumented('return (x) => x === 0xfeedface || /^magic-word$/.test(x);') as (x: unknown) => boolean;
    f(7);
    expect([...probes.literals]).toEqual(expect.arrayContaining([0xfeedface, 'magic-word']));
    expect(probes.pairs).toContainEqual([7, 0xfeedface]);
  });
});

/** Fuzzes a target until there is a finding, or the time is up. */
async function findings(run: Target['run'], more: Partial<FuzzerOptions> = {}): Promise<Finding[]> {
  const found: Finding[] = [];
  const seeds = (): Buffer[] => [Buffer.alloc(16)];
  const target: Target = { name: 'test', about: '', longest: 64, stretched: 4096, seeds, run };
  const nothing = (): void => undefined;
  const fuzzer = new Fuzzer({
    ...{
      target,
      probes,
      seed: 1,
      milliseconds: LONGEST_MS,
      onlyFirst: true,
      inputs: [],
      collectGarbage: nothing,
      onRun: nothing,
    },
    ...{ onNew: nothing, onStatus: nothing, statusMs: 1e9, isSlow: () => true },
    onFinding: (finding) => void found.push(finding),
    ...more,
  });
  const { stackTraceLimit } = Error;
  try {
    await fuzzer.run();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
  return found;
}

describe('the fuzzer', () => {
  test('finds a defect behind several conditions, and shortens the input', async () => {
    const run = instrumented(`return (bytes) => {
      if (bytes.length < 12 || bytes.readUInt32BE(0) !== 0xcafed00d) return;
      if (bytes.toString('latin1', 4, 8) !== 'word') return;
      if (bytes.readUInt32LE(8) > 1000000) throw new TypeError('found');
    };`) as Target['run'];
    const [finding] = await findings(run);
    expect(finding?.what).toMatch(/^TypeError: found/);
    expect(finding?.stack).toContain('TypeError: found');
    expect(finding?.input).toHaveLength(12);
  }, 60_000);

  test('finds a turn that is slow', async () => {
    const work = (): void => {
      const until = threadTime() + 80;
      while (threadTime() < until);
    };
    const [finding] = await findings((bytes) => (bytes[0] === 0 ? undefined : turn(work)));
    expect(finding?.what).toMatch(/^takes \d+ ms/);
    const others = await findings((bytes) => (bytes[0] === 0 ? undefined : (turn(() => 1), work())), {
      milliseconds: 500,
    });
    expect(others.filter(({ what }) => what.startsWith('takes'))).toEqual([]);
  }, 60_000);

  test('finds memory that is kept, and does not take garbage for it', async () => {
    // Allocating may well take longer than an input should.
    const options = { milliseconds: 300, isSlow: () => false };
    const allocate = async (count: number): Promise<Buffer[]> => {
      await setImmediate();
      return Array.from({ length: count }, () => Buffer.alloc(1 << 20));
    };
    for (let count = 0; count < 4; count += 1)
      expect(await findings(async () => void (await allocate(40)), { ...options, collectGarbage })).toEqual([]);
    const kept: Buffer[] = [];
    let isWarm = false;
    const keep = async (): Promise<void> => {
      const own = await allocate(1);
      if (isWarm && kept.length < 60) kept.push(...own);
    };
    const collect = (): void => {
      collectGarbage();
      isWarm = true;
    };
    const [finding] = await findings(keep, { ...options, milliseconds: 2000, collectGarbage: collect });
    expect(finding?.what).toMatch(/^memory grew by \d/);
  }, 60_000);

  test('makes inputs as short as they can be', async () => {
    const input = Buffer.from('some text with a needle in it');
    const least = await shrink(input, async (shorter) => shorter.includes('needle'), 5000);
    expect(least.toString()).toBe('needle');
  });
});
