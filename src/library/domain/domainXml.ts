/** The disks in libvirt's description of a domain (https://libvirt.org/formatdomain.html). */
import { XMLParser } from 'fast-xml-parser';
import { GuestfsError, messageOf } from '../../common/errors.js';
import { MAX_DRIVES } from '../../qemu/limits.js';
import type { SecretReference } from './secret.js';

/** Credentials for a network disk's server. */
export interface DomainLogin {
  readonly username: string;
  readonly secret: SecretReference;
}

/** A disk of the domain. */
export interface DomainDisk {
  readonly source:
    | { readonly kind: 'path'; readonly path: string }
    | { readonly kind: 'volume'; readonly pool: string; readonly volume: string }
    | {
        readonly kind: 'network';
        readonly protocol: string;
        readonly name: string;
        readonly servers: readonly string[];
        readonly login: DomainLogin | undefined;
      };
  /** undefined: the domain does not say. */
  readonly format: string | undefined;
  /** The domain only reads it. */
  readonly readonly: boolean;
  readonly blockSize: number | undefined;
}

export interface Domain {
  readonly name: string;
  readonly uuid: string;
  readonly disks: readonly DomainDisk[];
}

/** An element: its attributes begin with `@`, all other properties are elements, or lists of them. */
type Element = Readonly<Record<string, unknown>>;

/** Elements that can occur more than once. */
const LISTS: ReadonlySet<string> = new Set(['domain.devices.disk', 'domain.devices.disk.source.host']);

function element(parent: Element, name: string): Element {
  const child = parent[name];
  return typeof child === 'object' && child !== null ? (child as Element) : {};
}

function attribute(parent: Element, name: string): string | undefined {
  const value = parent[`@${name}`];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function elements(parent: Element, name: string): readonly Element[] {
  const children = parent[name];
  return Array.isArray(children)
    ? (children as unknown[]).filter((child): child is Element => typeof child === 'object' && child !== null)
    : [];
}

/** undefined for a disk without contents, such as an empty CD drive, or of a kind that libguestfs does not support. */
function sourceOf(disk: Element): DomainDisk['source'] | undefined {
  const source = element(disk, 'source');
  const type = attribute(disk, 'type');
  if (type === 'file' || type === 'block') {
    const path = attribute(source, type === 'file' ? 'file' : 'dev');
    return path === undefined ? undefined : { kind: 'path', path };
  }
  if (type === 'volume') {
    const [pool, volume] = [attribute(source, 'pool'), attribute(source, 'volume')];
    return pool === undefined || volume === undefined ? undefined : { kind: 'volume', pool, volume };
  }
  const protocol = attribute(source, 'protocol');
  if (type !== 'network' || protocol === undefined) return undefined;
  const servers = elements(source, 'host').flatMap((host) => {
    const [name, port, socket] = [attribute(host, 'name'), attribute(host, 'port'), attribute(host, 'socket')];
    if (socket !== undefined) return [`unix:${socket}`];
    return name === undefined ? [] : [port === undefined ? name : `${name}:${port}`];
  });
  return {
    kind: 'network',
    protocol,
    name: attribute(source, 'name') ?? '',
    servers,
    login: loginOf(source) ?? loginOf(disk),
  };
}

/** The element can be inside the source or next to it. */
function loginOf(parent: Element): DomainLogin | undefined {
  const login = element(parent, 'auth');
  const username = attribute(login, 'username');
  if (username === undefined) return undefined;
  const secret = element(login, 'secret');
  return {
    username,
    secret: {
      type: attribute(secret, 'type') ?? '',
      uuid: attribute(secret, 'uuid'),
      usage: attribute(secret, 'usage'),
    },
  };
}

/**
 * Reads the description.
 * @throws GuestfsError `EINVAL` if it is not one
 */
export function parseDomain(xml: string): Domain {
  const malformed = (why: string): GuestfsError =>
    new GuestfsError('EINVAL', `unable to parse the description of the domain that libvirt returned: ${why}`);
  // libvirt never writes one, and it could refer to files.
  if (xml.includes('<!DOCTYPE')) throw malformed('it has a document type');
  const parser = new XMLParser({
    ignoreAttributes: false,
    attributeNamePrefix: '@',
    parseAttributeValue: false,
    parseTagValue: false,
    // Names can begin or end with spaces.
    trimValues: false,
    // Also enables numbers of characters, as which libvirt writes line breaks and tabs in names.
    htmlEntities: true,
    ignoreDeclaration: true,
    isArray: (_name, path) => LISTS.has(String(path)),
  });
  let root: Element;
  try {
    root = parser.parse(xml) as Element;
  } catch (error) {
    throw malformed(messageOf(error));
  }
  const domain = element(root, 'domain');
  const { name, uuid } = domain;
  if (typeof name !== 'string') throw malformed('it has no name');
  const disks = elements(element(domain, 'devices'), 'disk').flatMap((disk): DomainDisk[] => {
    const source = sourceOf(disk);
    if (source === undefined) return [];
    const blockSize = attribute(element(disk, 'blockio'), 'logical_block_size');
    return [
      {
        source,
        format: attribute(element(disk, 'driver'), 'type'),
        readonly: 'readonly' in disk,
        blockSize: blockSize === undefined ? undefined : Number(blockSize),
      },
    ];
  });
  if (disks.length > MAX_DRIVES)
    throw malformed(`it has ${disks.length} disks, and a session at most ${MAX_DRIVES} drives`);
  return { name, uuid: typeof uuid === 'string' ? uuid : '', disks };
}
