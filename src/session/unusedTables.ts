/** Drives on which the daemon finds nothing, although they have a partition table: it is for sectors of another size. */
import { blockdevGetss, preadDevice } from '../../gen/calls/device.js';
import { listFilesystems } from '../../gen/calls/filesystem.js';
import { GuestfsError } from '../common/errors.js';
import type { DaemonCall } from '../protocol/daemonCall.js';

/** Makes a call to the daemon, in the turn of the one that listed the file systems. */
type Ask = <Request, Response>(call: DaemonCall<Request, Response>, request: Request) => Promise<Response>;

const UNKNOWN = 'unknown';
const DRIVE = /^\/dev\/[hsv]d[a-z]+$/;
/** The rest of a long list is not looked at. */
const MAX_DRIVES = 16;
const SIGNATURE = Buffer.from('EFI PART');
const OTHER_SIZE: ReadonlyMap<number, number> = new Map([
  [512, 4096],
  [4096, 512],
]);

/** To be called when a call has succeeded: what a client should know about the drives in its answer. */
export async function unusedTables(action: string, response: unknown, ask: Ask): Promise<readonly string[]> {
  if (action !== listFilesystems.action) return [];
  const { fses } = response as { readonly fses: ReadonlyMap<string, string> };
  const drives = [...fses].filter(([device, type]) => type === UNKNOWN && DRIVE.test(device)).slice(0, MAX_DRIVES);
  const warnings: string[] = [];
  for (const [device] of drives) {
    try {
      // The header is in the second sector.
      const size = OTHER_SIZE.get((await ask(blockdevGetss, { device })).sectorsize);
      if (size === undefined) continue;
      const { content } = await ask(preadDevice, { device, count: SIGNATURE.length, offset: BigInt(size) });
      if (content.equals(SIGNATURE))
        warnings.push(`${device} has a GPT for sectors of ${size} bytes: add the drive with blocksize ${size}`);
    } catch (error) {
      // Such as a drive that is too small. The list itself has been made.
      if (!(error instanceof GuestfsError)) throw error;
    }
  }
  return warnings;
}
