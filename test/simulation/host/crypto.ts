/** Chance of a simulated host: the simulation's. */
import { world } from '../world.js';

export * from 'node:crypto';

export function randomBytes(size: number): Buffer {
  return Buffer.from(Array.from({ length: size }, () => world().random.below(256)));
}

export function randomUUID(): string {
  return randomBytes(16).toString('hex');
}
