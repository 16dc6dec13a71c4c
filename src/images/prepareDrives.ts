/**
 * Turns the drives of a session into open files and qemu block nodes.
 */
import { descriptors } from '../common/descriptors.js';
import { GuestfsError } from '../common/errors.js';
import { asPart } from '../common/spans.js';
import { BadImageHeader } from './badImageHeader.js';
import { isStreamOptimised } from './foreignHeader.js';
import type { FdSets } from '../qemu/fdSets.js';
import { naming, type OpenImage } from '../security/pathPolicy.js';
import { blockNodesOf, writtenNodes, type BlockNode, type NodeFile, type NodeLink } from './blockNodes.js';
import { explainBlockError } from './blockErrors.js';
import type { DiskNeed, DiskQuota } from './diskQuota.js';
import type { Drive, DriveSource } from './drive.js';
import { DISCARD_FORMATS, type ImageFormat } from './formats.js';
import { openImageChain, type ChainLink, type ClaimImage, type ImageChain } from './imageChain.js';
import type { ImageClaims } from './imageUses.js';
import { MappingBudget } from './mappedFile.js';
import type { ForeignImageProbe } from './foreignProbe.js';
import type { ExportSocket } from './exportSocket.js';
import { exportNode } from './exportNode.js';
import { openRemoteExport, type RemoteExport } from './remoteExport.js';
import { openRemoteImage, remoteFormat, type RemoteImage } from './remoteImage.js';
import { remoteAsker } from './remoteProbe.js';
import { DISCARD_PROTOCOLS, remoteSubject } from './remoteSource.js';
import { unusableImage } from './recognise.js';
import {
  createCover,
  createImageHead,
  createOverlay,
  createScratchDisk,
  type ImageCover,
  type TemporaryDisk,
} from './temporaryDisk.js';
import { openOvaDisk } from './ovaDisks.js';
import { mappedPart, MAX_EXTENTS, type VmdkPart } from './vmdkParts.js';
import { WatchedImage } from './watchedImage.js';

/** The context in which drives are prepared. */
export interface DriveContext {
  /** Private directory of the machine; overlays are created there. */
  readonly runDirectory: string;
  /** The machine's qemu, which also probes remote drives. */
  readonly qemuBinary: string;
  /** Collects the files to pass to the machine's qemu. */
  readonly fdSets: FdSets;
  /** Records the images that the drives use, by the names of their top nodes; released once no qemu has them open. */
  readonly claims: ImageClaims;
  /** What may be written in all; any amount when left out. */
  readonly disk?: DiskQuota | undefined;
  readonly signal: AbortSignal;
  /** Measures images whose format only qemu understands; without it, only raw and qcow2 are supported. */
  readonly probe?: ForeignImageProbe;
  /** Number in the names of the first drive's nodes; 0 by default. */
  readonly firstIndex?: number;
}

/** A drive that is ready for a `scsi-hd` device. */
export interface PreparedDrive {
  /** The nodes to add, in this order. */
  readonly blockNodes: readonly BlockNode[];
  /** Value of the device's `drive`: `drive0`, ... */
  readonly topNode: string;
  /** `serial` of the device: the label. */
  readonly serial: string | undefined;
  /** `logical_block_size` and `physical_block_size` of the device. */
  readonly blockSize: number | undefined;
  /** Format of the image itself. */
  readonly format: ImageFormat;
  /** The passphrase of its image; qemu gets it over its monitor only, when the nodes are added there, and for no longer. */
  readonly secret?: DriveSecret | undefined;
  /** How messages refer to the drive. */
  readonly subject: string;
  /** The files of its image, its backing images included; watched until its claims are released. */
  readonly files: readonly WatchedImage[];
}

/** A passphrase that opening a drive needs. */
export interface DriveSecret {
  /** Of qemu's object with it, to which the nodes refer. */
  readonly id: string;
  readonly data: string;
}

/** All drives of one machine, open. */
export interface PreparedDrives {
  /** In the order of the drives. */
  readonly drives: readonly PreparedDrive[];
  /**
   * Explains qemu's output (on standard error, or as a QMP error) about one of
   * these drives; undefined if it is about something else.
   *
   * @param drive the one that was being added, if known: a QMP error does not
   *   always name the file
   */
  explain(qemuMessage: string, drive?: PreparedDrive): GuestfsError | undefined;
  /**
   * Closes the server's files and connections. Must be called as soon as qemu has opened its drives,
   * and on failure: qemu's lock on an image lasts as long as the image is open here. Can be called twice.
   */
  dispose(): Promise<void>;
}

/** Usually an image, its overlay, the files that these are made with, and the one by which the image is watched. */
const DESCRIPTORS_PER_DRIVE = 5;

/**
 * Opens all images and creates overlays and scratch disks.
 *
 * @throws GuestfsError `OUTSIDE_IMAGE_ROOTS`, `IMAGE_MISSING`, `IMAGE_UNUSABLE`, `ENOTSUP`, or an errno
 *   of the run directory; nothing is left open then. If several drives fail, the error of the first one.
 */
export function prepareDrives(drives: readonly Drive[], context: DriveContext): Promise<PreparedDrives> {
  const part = { name: 'drives', attributes: { 'guestfs.drives': drives.length } };
  return asPart(context.signal, part, () => prepare(drives, context));
}

async function prepare(drives: readonly Drive[], context: DriveContext): Promise<PreparedDrives> {
  const opened = await descriptors.while(drives.length * DESCRIPTORS_PER_DRIVE, () =>
    Promise.allSettled(drives.map((drive, index) => openDrive(drive, nodePrefix(index, context), context))),
  );
  let disposing: Promise<void> | undefined;
  const dispose = (): Promise<void> =>
    (disposing ??= Promise.all(
      opened.map(async (one) => (one.status === 'fulfilled' ? one.value.close() : undefined)),
    ).then(() => undefined));
  try {
    context.signal.throwIfAborted();
    const failed = opened.find((one) => one.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    const ready = opened.map((one) => (one as PromiseFulfilledResult<OpenedDrive>).value);
    await reserveDisk(ready, context);
    // Last, so that the process that accepts them need not wait long for qemu.
    const sockets = await Promise.all(ready.map(async ({ remote }) => remote?.bytes.connect()));
    const subjects = new Map<string, string>();
    const prepared = ready.map((value, index) => {
      const place = { prefix: nodePrefix(index, context), fdSets: context.fdSets, socket: sockets[index] };
      return describe(drives[index] as Drive, value, place, subjects);
    });
    return {
      drives: prepared,
      explain: (message, drive) => explainBlockError(message, subjects, drive?.subject),
      dispose,
    };
  } catch (error) {
    await dispose();
    await Promise.all([...drives.keys()].map((index) => context.claims.release(nodePrefix(index, context))));
    throw error;
  }
}

/** Keeps what the drives can write, for as long as they have it. */
async function reserveDisk(opened: readonly OpenedDrive[], context: DriveContext): Promise<void> {
  const { disk, claims, signal } = context;
  if (disk === undefined) return;
  const needs = opened.flatMap(({ writes }, index) =>
    writes.map((need) => ({ need, name: nodePrefix(index, context) })),
  );
  const reservations = await disk.reserve(
    needs.map(({ need }) => need),
    signal,
  );
  reservations.forEach((one, index) => claims.keep(needs[index]?.name ?? '', () => one.release()));
}

function nodePrefix(index: number, context: DriveContext): string {
  return `drive${(context.firstIndex ?? 0) + index}`;
}

interface OpenedDrive {
  readonly chain?: ImageChain;
  /** For each image of the chain, the copy that replaces its first bytes. */
  readonly heads?: readonly (TemporaryDisk | undefined)[];
  readonly remote?: { readonly bytes: RemoteExport; readonly image: RemoteImage; readonly subject: string };
  /** Overlay of a read-only drive, or the scratch disk. */
  readonly temporary: TemporaryDisk | undefined;
  /** What can be written for it, at most. */
  readonly writes: readonly DiskNeed[];
  readonly files?: readonly WatchedImage[];
  close(): Promise<void>;
}

async function openDrive(drive: Drive, name: string, context: DriveContext): Promise<OpenedDrive> {
  context.signal.throwIfAborted();
  if (drive.source.kind === 'scratch') {
    const scratch = await createScratchDisk(context.runDirectory, `${name}.img`, drive.source.size);
    return { temporary: scratch, writes: [{ bytes: drive.source.size }], close: () => scratch.handle.close() };
  }
  if (drive.source.kind === 'remote') return openRemote(drive, drive.source, name, context);
  const chain = await openChain(drive, drive.source, name, context);
  const heads: (TemporaryDisk | undefined)[] = [];
  let overlay: TemporaryDisk | undefined;
  const close = async (): Promise<void> => {
    await Promise.all([chain.close(), ...[...heads, overlay].map((disk) => disk?.handle.close())]);
  };
  try {
    const [top] = chain.links;
    checkDiscard(drive, top);
    const extents = chain.links.filter(({ part }) => part !== undefined).length;
    if (extents > 0 && context.claims.addExtents(name, extents) > MAX_EXTENTS)
      throw unusableImage(
        naming(drive.source.name).subject,
        `cannot be attached: the drives of a session can have ${MAX_EXTENTS} VMDK extents in all; convert an image with 'qemu-img convert'`,
      );
    if (!drive.readonly && top.format === 'vmdk' && top.head !== undefined && isStreamOptimised(top.head))
      throw unusableImage(
        top.subject,
        'is a stream-optimised VMDK, which can only be read: attach it read-only, or convert it first with qemu-img convert',
      );
    const budget = new MappingBudget();
    let ownCopies = 0;
    for (const [depth, { image, head, part, subject, window }] of chain.links.entries()) {
      // qemu has to update the header of an image that it writes, so it gets the image itself.
      const covered = drive.readonly || depth > 0 ? head : undefined;
      const file = `${name}-head${depth}.qcow2`;
      const isReplayed = depth === 0 && top.format === 'vhdx';
      if (part !== undefined) {
        const cover = await coverOf(image, part, subject, context.runDirectory, file, budget);
        heads.push(cover);
        ownCopies += cover.written;
        continue;
      }
      if (covered !== undefined) ownCopies += covered.length;
      const length = window === undefined ? image.size : BigInt(window.size);
      heads.push(covered && (await createImageHead(context.runDirectory, file, length, covered, isReplayed)));
    }
    // Done for writable drives as well: an image that qemu cannot open fails here, with a message.
    const size = top.virtualSize ?? (await probe(top, context));
    if (size === 0n) throw unusableImage(top.subject, 'is empty: a drive needs at least one sector');
    overlay = drive.readonly ? await createOverlay(context.runDirectory, `${name}.qcow2`, size) : undefined;
    const writes = [...(ownCopies > 0 ? [{ bytes: BigInt(ownCopies) }] : []), ...growth(top, size, overlay)];
    return { chain, heads, temporary: overlay, writes, files: await watchFiles(chain, drive, name, context), close };
  } catch (error) {
    await close();
    throw error;
  }
}

function openChain(
  drive: Drive,
  { path, disk, name: given, roots }: Extract<DriveSource, { kind: 'file' }>,
  name: string,
  { claims }: DriveContext,
): Promise<ImageChain> {
  const { subject } = naming(given);
  const claim: ClaimImage = (image, use, whose) => claims.claim(name, image, use, whose);
  const { format, readonly, backingFormats, key } = drive;
  if (disk !== undefined) return openOvaDisk({ path, disk, stated: format !== undefined, roots }, claim, subject);
  const access = readonly ? 'read-only' : 'read-write';
  return openImageChain(path, format, access, roots, claim, subject, undefined, {
    backingFormats,
    hasKey: key !== undefined,
  });
}

/** Makes a part of a VMDK an image that qemu need not parse. */
async function coverOf(
  { handle, size }: OpenImage,
  part: VmdkPart,
  subject: string,
  directory: string,
  name: string,
  budget: MappingBudget,
): Promise<ImageCover> {
  try {
    return await createCover(directory, name, await mappedPart(part, handle, size, budget), budget);
  } catch (error) {
    throw error instanceof BadImageHeader ? unusableImage(subject, error.message) : error;
  }
}

/** Watches the files of an image until the claims of the drive are released. */
async function watchFiles(
  { links }: ImageChain,
  drive: Drive,
  name: string,
  { claims }: DriveContext,
): Promise<WatchedImage[]> {
  const watched: WatchedImage[] = [];
  const nodes = writtenNodes(name);
  for (const [depth, { image, dataFile, format, subject }] of links.entries()) {
    const written = depth === 0 && !drive.readonly;
    for (const [file, growsBy] of [
      [image, written && format !== 'raw' ? nodes.image : undefined],
      [dataFile, written ? nodes.dataFile : undefined],
    ] as const) {
      // A block device keeps its size, and without its name nothing is lost.
      if (file?.kind !== 'file') continue;
      const one = await WatchedImage.start(file, { subject, written, growsBy });
      claims.keep(name, () => one.close().catch(() => undefined));
      watched.push(one);
    }
  }
  return watched;
}

/** What an image can become, at most, and what can take its place: an overlay. A raw image stays as long as it is. */
function growth({ image, format, dataFile, snapshots }: ChainLink, size: bigint, overlay: unknown): DiskNeed[] {
  if (overlay !== undefined) return [{ bytes: size }];
  const larger = (one: OpenImage): bigint => (one.size > size ? one.size : size);
  if (dataFile?.kind === 'file') return [{ bytes: larger(dataFile), file: dataFile.identity }];
  if (format === 'raw' || image.kind === 'block') return [];
  // What a snapshot holds is not overwritten, but written elsewhere.
  return [{ bytes: snapshots ? image.size + size : larger(image), file: image.identity }];
}

async function openRemote(
  drive: Drive,
  { remote: source, roots }: Extract<DriveSource, { kind: 'remote' }>,
  name: string,
  context: DriveContext,
): Promise<OpenedDrive> {
  const subject = remoteSubject(source);
  const format = remoteFormat(drive, subject);
  if (drive.discard === 'enable' && !DISCARD_PROTOCOLS.has(source.protocol)) {
    throw new GuestfsError(
      'ENOTSUP',
      `discard cannot be enabled on this drive: protocol '${source.protocol}' does not support discard; 'besteffort' leaves it out where it is not`,
    );
  }
  const { runDirectory, qemuBinary, signal } = context;
  const bytes = await openRemoteExport(source, {
    ...{ name, writable: !drive.readonly, runDirectory, qemuBinary, roots, signal },
  });
  context.claims.keep(name, () => bytes.stop());
  let image: RemoteImage | undefined;
  try {
    image = await openRemoteImage(remoteAsker({ bytes, subject, name, qemuBinary, runDirectory, signal }), format, {
      directory: runDirectory,
      file: `${name}-head.qcow2`,
      subject,
    });
    const head = image.head?.handle;
    const overlay = drive.readonly ? await createOverlay(runDirectory, `${name}.qcow2`, image.virtualSize) : undefined;
    return {
      remote: { bytes, image, subject },
      temporary: overlay,
      writes: overlay === undefined ? [] : [{ bytes: image.virtualSize }],
      close: async () => {
        bytes.disconnect();
        await Promise.all([head?.close(), overlay?.handle.close()]);
      },
    };
  } catch (error) {
    await image?.head?.handle.close();
    throw error;
  }
}

async function probe(link: ChainLink, context: DriveContext): Promise<bigint> {
  const { head, image, window } = link;
  const size = window === undefined ? image.size : BigInt(window.size);
  if (context.probe !== undefined && head !== undefined)
    return context.probe({ ...image, size, head, window }, link.format, link.subject, context.signal);
  throw unusableImage(link.subject, `is in format '${link.format}', which this server cannot attach`);
}

function checkDiscard(drive: Drive, top: ChainLink): void {
  if (drive.discard !== 'enable') return;
  if (drive.readonly)
    throw new GuestfsError('ENOTSUP', 'discard cannot be enabled on this drive: the drive is read-only');
  if (!DISCARD_FORMATS.has(top.format)) {
    throw new GuestfsError(
      'ENOTSUP',
      `discard cannot be enabled on this drive: it is not supported for format '${top.format}'; 'besteffort' leaves it out where it is not`,
    );
  }
}

/** Where the nodes of a drive go. */
interface NodePlace {
  /** Prefix of all node names. */
  readonly prefix: string;
  readonly fdSets: FdSets;
  /** The connection to a remote drive. */
  readonly socket: ExportSocket | undefined;
}

/** Passes a drive's files to qemu and describes its nodes; records in `subjects` how messages refer to each of them. */
function describe(
  drive: Drive,
  opened: OpenedDrive,
  { prefix, fdSets, socket }: NodePlace,
  subjects: Map<string, string>,
): PreparedDrive {
  const give = (image: Pick<OpenImage, 'handle' | 'kind'>, subject: string, head?: TemporaryDisk): NodeFile => {
    const path = fdSets.add(image.handle);
    subjects.set(path, subject);
    return { path, kind: image.kind, head: head && give({ handle: head.handle, kind: 'file' }, subject) };
  };
  const describeNodes = (
    subject: string,
    format: ImageFormat,
    chain: readonly NodeLink[],
    overlay: NodeFile | undefined,
  ): PreparedDrive => {
    const blockNodes = blockNodesOf({ prefix, chain, overlay, drive });
    for (const node of blockNodes)
      subjects.set(
        node['node-name'],
        (typeof node['filename'] === 'string' && subjects.get(node['filename'])) || subject,
      );
    return {
      ...{ blockNodes, topNode: prefix, format, subject, files, secret },
      ...{ serial: drive.label, blockSize: drive.blockSize },
    };
  };
  const { chain, heads = [], remote, temporary, files = [] } = opened;
  const secret = chain?.links[0].encrypted === true ? { id: `${prefix}-key`, data: drive.key ?? '' } : undefined;
  const temporaryFile = temporary && give({ handle: temporary.handle, kind: 'file' }, 'a temporary disk of the server');
  if (remote !== undefined && socket !== undefined) {
    const { image, subject } = remote;
    const given = fdSets.connect(socket);
    const file = {
      node: (name: string, options: Readonly<Record<string, unknown>>): BlockNode => exportNode(given, name, options),
      head: image.head && give({ handle: image.head.handle, kind: 'file' }, subject),
    };
    return describeNodes(subject, image.format, [{ file, format: image.format, dataFile: undefined }], temporaryFile);
  }
  if (chain === undefined) {
    const { format } = temporary as TemporaryDisk;
    return describeNodes(
      'a scratch drive',
      format,
      [{ file: temporaryFile as NodeFile, format, dataFile: undefined }],
      undefined,
    );
  }
  const links = chain.links.map((link, depth) => ({
    file: { ...give(link.image, link.subject, heads[depth]), window: link.window },
    // What qemu reads of a part of a VMDK is its cover.
    format: link.part === undefined ? link.format : 'qcow2',
    dataFile: link.dataFile && give(link.dataFile, link.subject),
    keySecret: depth === 0 ? secret?.id : undefined,
  }));
  const [top] = chain.links;
  return describeNodes(top.subject, top.format, links, temporaryFile);
}
