import { expect, it } from '@jest/globals';
import { silentLogger } from '../../../src/common/logger.js';
import { Undo } from '../../../src/launcher/undo.js';

it('runs the steps once, last first, and continues after a failing one', async () => {
  const taken: number[] = [];
  const undo = new Undo(silentLogger);
  undo.add('first', () => void taken.push(1));
  undo.add('second', async () => {
    taken.push(2);
    throw new Error('no');
  });
  undo.add('third', () => void taken.push(3));
  await Promise.all([undo.run(), undo.run()]);
  await undo.run();
  expect(taken).toEqual([3, 2, 1]);
});
