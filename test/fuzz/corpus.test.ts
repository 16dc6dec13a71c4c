/** Runs every target on its seed inputs and on its corpus, which includes former findings. */
import { describe, expect, test } from '@jest/globals';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../architecture/sourceTree.js';
import { readInputs } from './engine/corpus.js';
import { findTarget, targetNames } from './targets/index.js';

const CORPUS = join(root, 'test', 'fuzz', 'corpus');
/** Inputs in the source tree are small. */
const LARGEST = 8 * 1024;

describe('the corpus of fuzzing', () => {
  test('belongs to targets', () => {
    expect(readdirSync(CORPUS).filter((name) => !targetNames.includes(name))).toEqual([]);
  });

  test.each(targetNames)('does not make %s fail', async (name) => {
    const target = await findTarget(name);
    const inputs = readInputs(join(CORPUS, name));
    expect(inputs.filter(({ bytes }) => bytes.length > LARGEST).map((one) => one.name)).toEqual([]);
    for (const bytes of await target.seeds()) await target.run(Buffer.from(bytes));
    for (const { name: file, bytes } of inputs) {
      try {
        await target.run(Buffer.from(bytes));
      } catch (error) {
        throw new Error(`test/fuzz/corpus/${name}/${file}`, { cause: error });
      }
    }
  });
});
