/** Medians, percentiles and ratios. */

/** The value that the given share of the values do not exceed; NaN for no values. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((one, other) => one - other);
  const position = (sorted.length - 1) * share;
  const below = sorted[Math.floor(position)];
  const above = sorted[Math.ceil(position)];
  if (below === undefined || above === undefined) return NaN;
  return below + (above - below) * (position - Math.floor(position));
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** How many times better ours is than theirs. */
export function timesBetter(ours: number, theirs: number, better: 'less' | 'more'): number {
  return better === 'less' ? theirs / ours : ours / theirs;
}
