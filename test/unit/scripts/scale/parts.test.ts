/** The parts of the simulation of many nodes: clock, chance, processors, figures. */
import { describe, expect, it, test } from '@jest/globals';
import { exists, textOf } from '../../../architecture/sourceTree.js';
import { EventQueue, FIGURES, percentile, placesOf, Processors, Random } from './modules.js';

describe('the clock', () => {
  it('calls events in the order of their times, and of their making', () => {
    const queue = new EventQueue();
    const random = new Random(7);
    const seen: [number, number][] = [];
    for (let order = 0; order < 500; order++) {
      const time = random.below(50);
      queue.at(time, () => seen.push([time, order]));
    }
    queue.runUntil(100);
    expect(seen).toHaveLength(500);
    expect(seen).toEqual([...seen].sort((one, other) => one[0] - other[0] || one[1] - other[1]));
    expect(queue.now).toBe(100);
  });

  it('calls only what is due, and what events bring about', () => {
    const queue = new EventQueue();
    const seen: number[] = [];
    const again = (): void => {
      seen.push(queue.now);
      queue.after(2, again);
    };
    queue.at(1, again);
    queue.runUntil(6);
    expect(seen).toEqual([1, 3, 5]);
  });

  it('refuses the past', () => {
    const queue = new EventQueue();
    queue.runUntil(5);
    expect(() => queue.at(4, () => undefined)).toThrow('an event at 4, when it is 5');
  });
});

describe('chance', () => {
  it('is the same for the same seed, and another for another', () => {
    const [one, same, other] = [new Random(3), new Random(3), new Random(4)];
    const numbers = Array.from({ length: 20 }, () => one.next());
    expect(Array.from({ length: 20 }, () => same.next())).toEqual(numbers);
    expect(Array.from({ length: 20 }, () => other.next())).not.toEqual(numbers);
  });

  it('has the mean that was asked for', () => {
    const random = new Random(1);
    let sum = 0;
    for (let count = 0; count < 100_000; count++) sum += random.exponential(5);
    expect(sum / 100_000).toBeCloseTo(5, 1);
  });
});

describe('processors', () => {
  it('give each task one, as long as there are enough', () => {
    const queue = new EventQueue();
    const processors = new Processors(queue, 2);
    const ends: number[] = [];
    processors.start(3, () => ends.push(queue.now));
    processors.start(1, () => ends.push(queue.now));
    queue.runUntil(10);
    expect(ends).toEqual([1, 3]);
    expect(processors.used).toBeCloseTo(4);
  });

  it('are shared by all tasks, if there are more', () => {
    const queue = new EventQueue();
    const processors = new Processors(queue, 1);
    const ends: number[] = [];
    processors.start(2, () => ends.push(queue.now));
    // Both have half of it from 1 on: the first has got 1 by then, and 1 more until 3; the second 1 until then.
    queue.at(1, () => void processors.start(3, () => ends.push(queue.now)));
    queue.runUntil(10);
    expect(ends).toEqual([3, 5]);
  });

  it('give the share of a task that is cancelled to the others', () => {
    const queue = new EventQueue();
    const processors = new Processors(queue, 1);
    const ends: number[] = [];
    const task = processors.start(10, () => ends.push(-1));
    processors.start(2, () => ends.push(queue.now));
    queue.at(2, () => processors.cancel(task));
    queue.runUntil(10);
    expect(ends).toEqual([3]);
  });
});

test('places are what there is memory for, and --max-sessions allows', () => {
  const node = { cores: 16, memory: 65_536, memsize: 1280, maxSessions: 64, pool: 4, launch: 'template' };
  expect(placesOf(node)).toBe(50);
  expect(placesOf({ ...node, maxSessions: 16 })).toBe(16);
  expect(placesOf({ ...node, memory: 1000 })).toBe(0);
});

test('percentiles', () => {
  expect(percentile([3, 1, 2], 0.5)).toBe(2);
  expect(percentile([1], 0.99)).toBe(1);
  expect(percentile([], 0.5)).toBeNaN();
});

test.each(Object.entries(FIGURES))('%s is what its source says', (_name, { value, source, says }) => {
  expect(value).toBeGreaterThan(0);
  expect(exists(source)).toBe(true);
  expect(textOf(source).replace(/\s+/g, ' ')).toContain(says);
});
