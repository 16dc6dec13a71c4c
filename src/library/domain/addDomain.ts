/** The action `add_domain`: the disks of a libvirt domain become drives. */
import type { AddDomainRequest } from '../../../gen/proto/guestfs/v1/drive.js';
import { badArgument, GuestfsError } from '../../common/errors.js';
import { FairSemaphore } from '../../common/fairSemaphore.js';
import { printable } from '../../common/guestText.js';
import { drivesFromRequest } from '../../images/addDriveRequest.js';
import type { Drive } from '../../images/drive.js';
import type { LibraryContext } from '../context.js';
import type { DomainDisk } from './domainXml.js';
import { parseDomainApart } from './parseDomainApart.js';
import { secretOf } from './secret.js';
import { virsh } from './virsh.js';

/** What to do with disks that the domain only reads. */
const READONLY_DISK = ['error', 'read', 'write', 'ignore'] as const;
type ReadonlyDisk = (typeof READONLY_DISK)[number];

const SHUT_OFF = 'shut off';

/** Each takes a process of virsh, and a thread that may need 256 MiB. */
const turns = new FairSemaphore({
  parallel: 8,
  perClient: 4,
  waiting: 64,
  limit: 'domains-waiting',
  tasks: 'domains of libvirt to be read',
});

function readonlyDiskOf(given = 'write'): ReadonlyDisk {
  const known = READONLY_DISK.find((one) => one === given);
  if (known === undefined) throw badArgument('readonlydisk', `must be one of ${READONLY_DISK.join(', ')}`);
  return known;
}

/** Whether the drive is read-only, by libguestfs's rules (lib/libvirt-domain.c); undefined: it is skipped. */
function isReadonly(disk: DomainDisk, wanted: boolean, handling: ReadonlyDisk): boolean | undefined {
  if (!disk.readonly) return wanted;
  if (handling === 'ignore') return undefined;
  if (wanted || handling === 'read') return true;
  if (handling === 'write') return false;
  throw new GuestfsError('EINVAL', 'a disk is marked <readonly/> in the domain, and readonlydisk is "error"');
}

async function drivesOf(
  disk: DomainDisk,
  subject: string,
  readonly: boolean,
  request: AddDomainRequest,
  { imageRoots, requireFound, signal }: LibraryContext,
): Promise<readonly Drive[]> {
  const { source } = disk;
  const { cachemode, discard, copyonread } = request;
  const options = {
    readonly,
    ...(disk.format === undefined ? {} : { format: disk.format }),
    ...(disk.blockSize === undefined ? {} : { blocksize: disk.blockSize }),
    ...(cachemode === undefined ? {} : { cachemode }),
    ...(discard === undefined ? {} : { discard }),
    ...(copyonread === undefined ? {} : { copyonread }),
  };
  if (source.kind === 'path') return drivesFromRequest(source.path, options, imageRoots, subject);
  if (source.kind === 'volume') {
    const path = await virsh(
      request.libvirturi,
      ['vol-path', `--pool=${source.pool}`, `--vol=${source.volume}`],
      signal,
    );
    return drivesFromRequest(path.trimEnd(), options, imageRoots, subject);
  }
  const { protocol, servers: server, name, login } = source;
  // First: a secret that would not be used is not asked for either.
  requireFound('remote-drives');
  const credentials =
    login === undefined
      ? {}
      : {
          username: login.username,
          secret: await secretOf((...args) => virsh(request.libvirturi, args, signal), login.secret),
        };
  return drivesFromRequest(name, { ...options, protocol, server, ...credentials }, imageRoots);
}

/**
 * Adds all disks, or none.
 * @returns how many
 * @throws GuestfsError `NOT_ALLOWED`, `ENOTSUP` without virsh, LIMIT_EXCEEDED if too many of the client wait, what libvirt
 *   says, and what is wrong with a disk
 */
export async function addDomain(context: LibraryContext, request: AddDomainRequest): Promise<number> {
  const { action, session, signal } = context;
  const handling = readonlyDiskOf(request.readonlydisk);
  if (request.live === true)
    throw new GuestfsError('ENOTSUP', 'libguestfs live support was removed in libguestfs 1.48');
  const { disks, drives } = await turns.run(() => disksOf(request, handling, context), signal);
  session.addDrives(drives, action.name);
  return disks;
}

/** How many disks a domain has, and the drives for those that are not ignored. */
async function disksOf(
  request: AddDomainRequest,
  handling: ReadonlyDisk,
  context: LibraryContext,
): Promise<{ readonly disks: number; readonly drives: readonly Drive[] }> {
  const { signal } = context;
  const wanted = request.readonly ?? false;
  const { dom, libvirturi, allowuuid } = request;
  const domain = await parseDomainApart(await virsh(libvirturi, ['dumpxml', `--domain=${dom}`], signal), signal);
  // virsh also accepts IDs of running domains, and UUIDs, in place of names.
  if (domain.name !== dom && !(allowuuid === true && domain.uuid === dom.toLowerCase())) {
    throw new GuestfsError('ENOENT', `no libvirt domain called '${printable(dom)}'`);
  }
  if (
    !wanted &&
    (await virsh(libvirturi, ['domstate', `--domain=${domain.uuid || domain.name}`], signal)).trim() !== SHUT_OFF
  ) {
    throw new GuestfsError(
      'EBUSY',
      'the domain is a live virtual machine: writing to the disks of a running virtual machine can cause disk corruption. Set readonly, or shut it down',
    );
  }
  const drives: Drive[] = [];
  for (const [index, disk] of domain.disks.entries()) {
    const readonly = isReadonly(disk, wanted, handling);
    if (readonly !== undefined)
      drives.push(...(await drivesOf(disk, `disk ${index + 1} of the domain`, readonly, request, context)));
  }
  if (domain.disks.length === 0) throw new GuestfsError('EINVAL', 'libvirt domain has no disks');
  return { disks: domain.disks.length, drives };
}
