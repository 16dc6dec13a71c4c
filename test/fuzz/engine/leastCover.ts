/** The part of a corpus that is worth to be kept with the sources: few and short inputs that reach as much as all. */
import type { Probes } from './probes.js';
import type { Target } from './target.js';

/** Longer inputs are for nobody to read, and of more than this number nobody would miss one. */
const LONGEST = 512;
const MOST = 40;

/**
 * @param kept inputs that are kept already
 * @param corpus inputs with which the target does not fail
 */
export async function leastCover(
  target: Target,
  probes: Probes,
  kept: readonly Buffer[],
  corpus: readonly Buffer[],
): Promise<Buffer[]> {
  const reached = new Set<number>();
  /** Places that the target reaches with an input and with none before it. */
  const learn = async (input: Buffer): Promise<number> => {
    probes.edges.fill(0);
    await target.run(Buffer.from(input));
    const before = reached.size;
    for (let place = 0; place < probes.used; place += 1) if (probes.edges[place] !== 0) reached.add(place);
    return reached.size - before;
  };
  for (const input of [...(await target.seeds()), ...kept]) await learn(input);
  const useful: { readonly input: Buffer; readonly places: number }[] = [];
  for (const input of [...corpus].sort((one, other) => one.length - other.length)) {
    const places = input.length > LONGEST ? 0 : await learn(input);
    if (places > 0) useful.push({ input, places });
  }
  return useful
    .sort((one, other) => other.places - one.places)
    .slice(0, MOST)
    .map(({ input }) => input);
}
