/**
 * Describes drives as qemu block nodes.
 *
 * Every node is named and every reference is by name: qemu opens only the files that
 * are passed to it, guesses no format, and follows no reference in a header.
 */
import type { Drive } from './drive.js';
import { BACKED_FORMATS, type ImageFormat } from './formats.js';

/** Arguments of one `blockdev-add`, or of `-blockdev` as JSON. */
export type BlockNode = Readonly<Record<string, unknown>> & { readonly driver: string; readonly 'node-name': string };

/** One file, in the form in which qemu opens it. */
export interface NodeFile {
  /** `/dev/fdset/N`. */
  readonly path: string;
  readonly kind: 'file' | 'block';
  /** Only this part of it, in whole sectors; undefined: all. */
  readonly window?: { readonly offset: number; readonly size: number } | undefined;
  /** A qcow2 image whose data replaces that of the file, where it has any; undefined: only the file is read. */
  readonly head?: NodeFile | undefined;
}

/** Content that is not in a local file. */
export interface NodeBytes {
  /** Describes the node that provides it. */
  readonly node: (name: string, options: Readonly<Record<string, unknown>>) => BlockNode;
  /** As in {@link NodeFile}. */
  readonly head: NodeFile | undefined;
}

/** One image of a chain, as presented to qemu. */
export interface NodeLink {
  readonly file: NodeFile | NodeBytes;
  readonly format: ImageFormat;
  readonly dataFile: NodeFile | undefined;
  /** ID of the object with the passphrase of an encrypted image. */
  readonly keySecret?: string | undefined;
}

/** Everything that determines the nodes of one drive. */
export interface DriveNodes {
  /** Prefix of all node names; at most 12 characters, since qemu's limit is 31. */
  readonly prefix: string;
  /** The image and its backing chain, top first. */
  readonly chain: readonly NodeLink[];
  /** Receives the writes to a read-only drive. */
  readonly overlay: NodeFile | undefined;
  readonly drive: Pick<Drive, 'cacheMode' | 'discard' | 'copyOnRead'>;
}

/** The nodes of the files of a drive's own image, which a writable drive writes to. */
export function writtenNodes(prefix: string): { readonly image: string; readonly dataFile: string } {
  return { image: `${prefix}-file`, dataFile: `${prefix}-file-data` };
}

/**
 * The nodes of one drive, in the order in which they have to be added; the last
 * one, named `prefix`, is for the device.
 */
export function blockNodesOf(nodes: DriveNodes): BlockNode[] {
  const { prefix, chain, overlay, drive } = nodes;
  const added: BlockNode[] = [];
  const copyOnRead = overlay === undefined && drive.copyOnRead;
  let below: string | null = null;
  for (let depth = chain.length - 1; depth >= 0; depth--) {
    const link = chain[depth] as NodeLink;
    const writable = depth === 0 && overlay === undefined;
    const options = writable
      ? // The lock keeps two writers apart; an image that is in use elsewhere must not be written.
        { file: { ...writableOptions(drive), locking: 'on' }, format: writableOptions(drive) }
      : // A read-only drive neither locks its image nor respects the locks of others, as in libguestfs;
        // but the backing images of a writable drive must not change.
        { file: { 'read-only': true, locking: overlay === undefined ? 'on' : 'off' }, format: { 'read-only': true } };
    // The log of a VHDX is replayed into the copy of its start.
    if (!writable && depth === 0 && link.format === 'vhdx' && 'head' in link.file && link.file.head !== undefined)
      options.format = { ...options.format, 'read-only': false };
    const base = depth > 0 ? `${prefix}-backing${depth}` : overlay !== undefined ? `${prefix}-image` : prefix;
    const name = depth === 0 && copyOnRead ? `${prefix}-image` : base;
    const fileName = depth === 0 ? writtenNodes(prefix).image : `${name}-file`;
    added.push(...bytesNodes(fileName, link.file, options.file, options.format['read-only'] === false));
    if (link.dataFile !== undefined) added.push(fileNode(`${fileName}-data`, link.dataFile, options.file));
    added.push({
      driver: link.format,
      'node-name': name,
      file: fileName,
      ...(link.dataFile === undefined ? {} : { 'data-file': `${fileName}-data` }),
      ...(BACKED_FORMATS.has(link.format) ? { backing: below } : {}),
      ...(link.keySecret === undefined ? {} : { encrypt: { format: 'luks', 'key-secret': link.keySecret } }),
      ...options.format,
    });
    below = name;
  }
  if (overlay !== undefined) {
    // Data that is discarded with the session need not survive a crash of the host.
    const options = { 'read-only': false, cache: { direct: false, 'no-flush': true } };
    added.push(fileNode(`${prefix}-overlay`, overlay, { ...options, locking: 'off' }));
    added.push({ driver: 'qcow2', 'node-name': prefix, file: `${prefix}-overlay`, backing: below, ...options });
  } else if (copyOnRead) {
    added.push({ driver: 'copy-on-read', 'node-name': prefix, file: below, ...writableOptions(drive) });
  }
  return added;
}

function fileNode(
  name: string,
  { path, kind }: NodeFile,
  { locking, ...options }: Readonly<Record<string, unknown>>,
): BlockNode {
  return { driver: kind === 'block' ? 'host_device' : 'file', 'node-name': name, filename: path, locking, ...options };
}

/** The last node provides the bytes. Locks apply to files only. */
function bytesNodes(
  name: string,
  bytes: NodeFile | NodeBytes,
  options: Readonly<Record<string, unknown>>,
  isHeadWritable: boolean,
): BlockNode[] {
  const { locking: _, ...further } = options;
  const nodes = (nodeName: string): BlockNode[] => {
    if ('node' in bytes) return [bytes.node(nodeName, further)];
    if (bytes.window === undefined) return [fileNode(nodeName, bytes, options)];
    const whole = fileNode(`${nodeName}-whole`, bytes, options);
    return [whole, { driver: 'raw', 'node-name': nodeName, file: whole['node-name'], ...bytes.window, ...further }];
  };
  if (bytes.head === undefined) return nodes(name);
  const access = isHeadWritable ? { 'read-only': false } : {};
  return [
    ...nodes(`${name}-body`),
    // No other process can open it.
    fileNode(`${name}-head`, bytes.head, { ...options, ...access, locking: 'off' }),
    { driver: 'qcow2', 'node-name': name, file: `${name}-head`, backing: `${name}-body`, ...further, ...access },
  ];
}

/** Options that apply to every node from the device down to the file, as `-drive` would set them. */
function writableOptions(drive: DriveNodes['drive']): Record<string, unknown> {
  return {
    'read-only': false,
    cache: { direct: false, 'no-flush': drive.cacheMode === 'unsafe' },
    ...(drive.discard === 'disable' ? {} : { discard: 'unmap' }),
  };
}
