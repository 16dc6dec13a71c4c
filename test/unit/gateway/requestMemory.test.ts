/** Memory of requests that the gateway passes on. */
import { expect, it } from '@jest/globals';
import { GatewayMemory } from '../../../src/gateway/requestMemory.js';

const refusal = expect.objectContaining({ reason: 'LIMIT_EXCEEDED' });
const refused = (work: () => void): unknown => {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
};

it('a client has a part of it, in all its requests together', () => {
  const memory = new GatewayMemory({ all: 100, client: 60 });
  const [one, two] = [memory.for('a'), memory.for('a')];
  one.add(40);
  two.add(20);
  expect(refused(() => two.add(1))).toEqual(refusal);
  memory.for('b').add(30);
  expect(memory.held).toBe(91);
});

it('all clients together have a limit', () => {
  const memory = new GatewayMemory({ all: 100, client: 60 });
  memory.for('a').add(60);
  memory.for('b').add(40);
  expect(refused(() => memory.for('c').add(1))).toEqual(refusal);
});

it('is free again once a request was passed on, or dropped', () => {
  const memory = new GatewayMemory({ all: 100, client: 60 });
  const held = memory.for('a');
  held.add(60);
  held.release();
  held.release();
  expect(memory.held).toBe(0);
  held.add(60);
  held.end();
  // A chunk that was on its way.
  held.add(60);
  expect(memory.held).toBe(0);
});
