/** Warnings of Node itself, such as too many listeners. */
import { afterEach, beforeEach, expect } from '@jest/globals';
import { quiet } from './duplexPair.js';

/** Fails every test in the file during which Node emits a warning. */
export function forbidWarnings(): void {
  const warnings: Error[] = [];
  const note = (warning: Error): void => {
    warnings.push(warning);
  };
  beforeEach(() => {
    warnings.length = 0;
    process.on('warning', note);
  });
  afterEach(async () => {
    await quiet();
    process.off('warning', note);
    expect(warnings).toEqual([]);
  });
}
