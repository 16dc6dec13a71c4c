/**
 * Parses a description of a domain in a thread. The parser takes half a second for a description of a few hundred
 * kilobytes, which a client's own libvirt can make it read; nothing else of the server waits for that.
 */
import { Worker } from 'node:worker_threads';
import { GuestfsError } from '../../common/errors.js';
import { unlessAborted, withTimeLimit } from '../../common/waiting.js';
import type { ParsedDomain } from './domainThread.js';
import type { Domain } from './domainXml.js';

const LIMIT_MS = 30_000;
const MEMORY = { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 32 } as const;

/**
 * @throws GuestfsError `EINVAL` if it is not such a description, or takes too much time or memory; or the reason of the
 *   signal
 */
export async function parseDomainApart(xml: string, signal: AbortSignal): Promise<Domain> {
  const tooMuch = (what: string): GuestfsError =>
    new GuestfsError('EINVAL', `the description of the domain that libvirt returned takes too much ${what} to parse`);
  const thread = new Worker(new URL('domainThread.js', import.meta.url), {
    workerData: xml,
    resourceLimits: MEMORY,
    env: {},
    stdin: false,
  });
  try {
    return await withTimeLimit(
      LIMIT_MS,
      () => tooMuch('time'),
      [signal],
      async (limit) => {
        const answer = new Promise<ParsedDomain>((resolve, reject) => {
          thread.once('message', resolve);
          thread.once('error', (error: NodeJS.ErrnoException) =>
            reject(error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? tooMuch('memory') : error),
          );
          thread.once('exit', () => reject(new Error('the thread that parses ended')));
        });
        const result = await unlessAborted(answer, limit);
        if ('domain' in result) return result.domain;
        throw new GuestfsError(result.refused.reason, result.refused.message);
      },
    );
  } finally {
    await thread.terminate();
  }
}
