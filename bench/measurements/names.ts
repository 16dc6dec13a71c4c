/** find over 100,000 names, readdir of 50,000 entries. */
import { namesImage, MANY, MANY_ENTRIES, ALL_NAMES } from '../namesImage.js';
import type { Bench } from '../bench.js';
import type { Measurement, Row } from '../measurement.js';
import { ServiceMachine } from '../subjects/service.js';
import type { Listing, Machine, SubjectId } from '../subjects/subject.js';

interface Round {
  readonly find: Listing;
  readonly readdir: Listing | undefined;
  /** Only for the service: the daemon's output for find. */
  readonly find0: Listing | undefined;
}

/** libguestfs 1.48 cannot call readdir on newer daemons, which have dropped its procedure. */
async function readdirIfPossible(machine: Machine, id: SubjectId): Promise<Listing | undefined> {
  try {
    return await machine.readdir(MANY);
  } catch (error) {
    if (id === 'service') throw error;
    return undefined;
  }
}

function expectNames(id: SubjectId, what: string, listing: Listing | undefined, least: number): void {
  if (listing !== undefined && listing.names < least)
    throw new Error(`${id}: ${what} gave ${listing.names} names of ${least}`);
}

async function run(bench: Bench): Promise<readonly Row[]> {
  bench.say('making a file system with 100,000 names');
  const path = await namesImage(bench);
  const rounds = await bench.inTurn(
    [{ path, format: 'raw' }],
    (machine) => machine.mountReadOnly(),
    async (machine, id): Promise<Round> => {
      const round = {
        find: await machine.find('/'),
        readdir: await readdirIfPossible(machine, id),
        find0: machine instanceof ServiceMachine ? await machine.find0('/') : undefined,
      };
      expectNames(id, 'find', round.find, ALL_NAMES);
      expectNames(id, 'readdir', round.readdir, MANY_ENTRIES);
      bench.say(
        `${id}: find ${round.find.seconds.toFixed(2)} s, readdir ${round.readdir?.seconds.toFixed(2) ?? 'impossible, without'} s`,
      );
      return round;
    },
  );
  const values = (pick: (round: Round) => number | undefined): Partial<Record<SubjectId, number[]>> =>
    Object.fromEntries(
      [...rounds]
        .map(([id, all]) => [id, all.map(pick).filter((value) => value !== undefined)] as const)
        .filter(([, all]) => all.length > 0),
    );
  return [
    { title: `find, ${ALL_NAMES} names`, unit: 's', better: 'less', values: values(({ find }) => find.seconds) },
    {
      title: 'find, until the first names',
      unit: 's',
      better: 'less',
      values: values(({ find }) => find.firstSeconds),
    },
    {
      title: 'find0, until its first bytes',
      unit: 's',
      better: 'less',
      values: values(({ find0 }) => find0?.firstSeconds),
    },
    {
      title: `readdir, ${MANY_ENTRIES} entries`,
      unit: 's',
      better: 'less',
      values: values(({ readdir }) => readdir?.seconds),
    },
    {
      title: 'readdir, until the first entries',
      unit: 's',
      better: 'less',
      values: values(({ readdir }) => readdir?.firstSeconds),
    },
  ];
}

export const names: Measurement = {
  name: 'names',
  summary: 'find over 100,000 names, readdir of 50,000 entries',
  repeat: 3,
  limitSeconds: 1800,
  run,
};
