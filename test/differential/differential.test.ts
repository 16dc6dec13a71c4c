/**
 * Random calls, valid and invalid, to this service and to libguestfs's C library, with the same appliance
 * on twin images, have the same outcomes. docs/differential.md explains how to repeat a run.
 */
import { randomInt } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { builtAppliance, describeWhen } from '../support/appliance.js';
import { emptyImage } from '../support/diskImages.js';
import { serverForTests } from '../support/scene.js';
import { show, type Call, type Outcome } from './call.js';
import { agree } from './differences.js';
import { btrfs } from './domains/btrfs.js';
import { disks } from './domains/disks.js';
import type { Domain } from './domains/domain.js';
import { files } from './domains/files.js';
import { everyAction, ACTION_COUNT } from './domains/everyAction.js';
import { handle } from './domains/handle.js';
import { hostImages } from './hostImages.js';
import { LibraryPeer, openInOrder, ServicePeer, type PeerOptions } from './peers.js';
import { samples } from './random.js';
import { shrink } from './shrink.js';

/** Works with the library of every release: the installed library is Debian 12's. */
const SUITE = 'bookworm';
/** Calls in one sequence. */
const LENGTH = 60;
const SIZE_MIB = { first: 200, second: 128 };
const SHRINKING_LIMIT = 60;
/** Much longer than any of the calls takes, milliseconds. */
const CALL_LIMIT_MS = 90_000;

/** The same by default, so that results do not depend on luck; set another one to search for more. */
const USUAL_SEED = '1';

const asked = process.env['GUESTFS_GRPC_DIFFERENTIAL_SEED'] ?? USUAL_SEED;
const seed = asked === 'random' ? randomInt(1_000_000) : Number(asked);
/** Multiplies the number of sequences. */
const times = Number(process.env['GUESTFS_GRPC_DIFFERENTIAL_TIMES'] ?? 1);
/** The sequences in which each action that both sides have is called once. */
const WHOLE_LIST = Math.ceil(ACTION_COUNT / LENGTH);
const sequences: readonly { readonly domain: Domain; readonly count: number }[] = [
  { domain: files, count: Math.ceil(22 * times) },
  { domain: disks, count: Math.ceil(5 * times) },
  { domain: btrfs, count: Math.ceil(3 * times) },
  { domain: everyAction(), count: Math.ceil(WHOLE_LIST * Math.max(1, times)) },
  { domain: handle, count: Math.ceil(10 * times) },
];

interface Difference {
  readonly call: Call;
  readonly ours: Outcome;
  readonly theirs: Outcome;
}

type Peers = readonly [ServicePeer, LibraryPeer];

jest.setTimeout(20 * 60_000);

const appliance = builtAppliance(SUITE);
describeWhen(
  'this service and the C library',
  appliance === undefined ? `there is no appliance: npm run appliance -- --suite ${SUITE}` : undefined,
  () => {
    const scene = serverForTests({
      flags: [
        '--appliance',
        appliance ?? '',
        '--debug-service',
        // The same as the library.
        ...['--max-smp', '255'],
        ...['host-actions', 'custom-qemu', 'network', 'remote-drives', 'backing-files'].flatMap((what) => [
          '--allow',
          what,
        ]),
      ],
    });

    // Ends before the server does.
    describe('on twin images', () => {
      const end = new AbortController();
      let launched: Peers;
      let calls = 0;

      /** Both sides, each with its own directory. */
      const open = async (launch: boolean, images: (directory: string) => readonly string[]): Promise<Peers> => {
        const options = (side: string): PeerOptions => {
          const directory = join(scene.server.images, side);
          rmSync(directory, { recursive: true, force: true });
          mkdirSync(directory);
          return { directory, images: images(directory), launch };
        };
        const service = (): Promise<ServicePeer> =>
          ServicePeer.open(scene.client, options(launch ? 'ours' : 'ours-new'));
        const library = (): Promise<LibraryPeer> =>
          LibraryPeer.open(
            { LIBGUESTFS_PATH: appliance ?? '', LIBGUESTFS_CACHEDIR: scene.server.images },
            options(launch ? 'theirs' : 'theirs-new'),
            end.signal,
          );
        if (!launch) return [await service(), await library()];
        const drives = Object.keys(SIZE_MIB).length;
        return [await openInOrder(service, drives), await openInOrder(library, drives)];
      };
      const close = async (peers: Peers): Promise<void> => {
        for (const peer of peers) await peer.close();
      };

      const openLaunched = (): Promise<Peers> =>
        open(true, (directory) =>
          Object.entries(SIZE_MIB).map(([name, size]) => emptyImage(join(directory, `${name}.img`), size)),
        );

      beforeAll(async () => {
        process.stderr.write(`differential test: seed ${seed}\n`);
        launched = await openLaunched();
      });
      afterAll(async () => {
        await close(launched);
        end.abort();
      });

      const both = async (call: Call, [service, library]: Peers): Promise<readonly [Outcome, Outcome]> => {
        let timer: NodeJS.Timeout | undefined;
        const late = new Promise<never>((_resolve, reject) => {
          timer = setTimeout(() => reject(new Error(`seed ${seed}: ${show(call)} does not end`)), CALL_LIMIT_MS);
        });
        try {
          return await Promise.race([Promise.all([service.do(call), library.do(call)]), late]);
        } finally {
          clearTimeout(timer);
        }
      };

      /** Whether both sides are in the initial state of a domain. */
      const begin = async ({ beginning, begun }: Domain, peers: Peers): Promise<boolean> => {
        for (const call of beginning) await both(call, peers);
        return begun === undefined || (await both(begun, peers)).every((outcome) => 'value' in outcome);
      };

      /** The launched handles, in the initial state of a domain. */
      const begunAnew = async (domain: Domain): Promise<Peers> => {
        if (await begin(domain, launched)) return launched;
        await close(launched);
        launched = await openLaunched();
        expect(await begin(domain, launched)).toBe(true);
        return launched;
      };

      /** The first call whose outcomes differ. */
      const firstDifference = async (domain: Domain, sequence: readonly Call[]): Promise<Difference | undefined> => {
        const peers = domain.launched === false ? await open(false, hostImages) : await begunAnew(domain);
        try {
          if (domain.launched === false) await begin(domain, peers);
          for (const call of sequence) {
            const [ours, theirs] = await both(call, peers);
            calls += 1;
            if (!agree(call, ours, theirs)) return { call, ours, theirs };
          }
          return undefined;
        } finally {
          if (peers !== launched) await close(peers);
        }
      };

      it.each(sequences)('agree on $domain.name', async ({ domain, count }) => {
        const drawn = samples((random) => Array.from({ length: LENGTH }, () => domain.call(random)), seed, count);
        for (const [number, sequence] of drawn.entries()) {
          const difference = await firstDifference(domain, sequence);
          if (difference === undefined) continue;
          const failing = sequence.slice(0, sequence.indexOf(difference.call) + 1);
          const short = await shrink(
            failing,
            async (fewer) => (await firstDifference(domain, fewer))?.call === difference.call,
            SHRINKING_LIMIT,
          );
          throw new Error(
            `seed ${seed}, ${domain.name}, sequence ${number}: after ${calls} calls, the two differ.\n\n${short.map(show).join('\n')}\n\nours:   ${JSON.stringify(difference.ours)}\ntheirs: ${JSON.stringify(difference.theirs)}\n`,
          );
        }
      });

      it('were called often enough', () => {
        process.stderr.write(`differential test: ${calls} calls, seed ${seed}\n`);
        expect(calls).toBe(sequences.reduce((sum, { count }) => sum + count * LENGTH, 0));
      });
    });
  },
);
