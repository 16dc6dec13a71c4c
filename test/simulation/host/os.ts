/** The machine that a simulated host is. */
export * from 'node:os';

export function cpus(): readonly { readonly model: string }[] {
  return [{ model: 'simulated' }];
}

export function totalmem(): number {
  return 64 * 2 ** 30;
}
