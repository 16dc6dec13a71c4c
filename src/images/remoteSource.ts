/**
 * Where the content of a network drive is: the arguments of `add_drive`, with
 * the library's checks.
 */
import { isIPv6 } from 'node:net';
import { REMOTE_PROTOCOLS } from '../actions/remoteProtocols.js';
import { badArgument } from '../common/errors.js';
import { printableName } from '../common/guestText.js';
import { resolveSocketPath, type ImageRoots } from '../security/pathPolicy.js';

export type RemoteProtocol = (typeof REMOTE_PROTOCOLS)[number];

/** Protocols that libguestfs used to accept, and that qemu no longer supports. */
const REMOVED_PROTOCOLS: ReadonlySet<string> = new Set(['sheepdog', 'tftp']);

/** Protocols of web and FTP servers, over which drives can only be read. */
export const WEB_PROTOCOLS = ['http', 'https', 'ftp', 'ftps'] as const satisfies readonly RemoteProtocol[];
export type WebProtocol = (typeof WEB_PROTOCOLS)[number];

/** Whether it is one of them. */
export function isWebProtocol(protocol: RemoteProtocol): protocol is WebProtocol {
  return (WEB_PROTOCOLS as readonly RemoteProtocol[]).includes(protocol);
}

/** What is on the command line of the program that connects to a web server: the system limits its length. */
const MAX_PATH_BYTES = 4096;

/** Protocols over which qemu can discard. */
export const DISCARD_PROTOCOLS: ReadonlySet<RemoteProtocol> = new Set(['nbd', 'iscsi', 'rbd', 'gluster']);

/** One server of a drive. */
export type RemoteServer =
  /** `host` is a name or an address, IPv6 ones without brackets; `port` undefined: the protocol's own. */
  | { readonly transport: 'tcp'; readonly host: string; readonly port: number | undefined }
  /** A socket of this machine, under an image root; `path` is the resolved absolute path. */
  | { readonly transport: 'unix'; readonly path: string };

/** Where the content of a network drive is. */
export interface RemoteSource {
  readonly protocol: RemoteProtocol;
  readonly servers: readonly RemoteServer[];
  /** Export, path, target or image, depending on the protocol; libguestfs's `exportname`. */
  readonly name: string;
  readonly username: string | undefined;
  /** Must never be shown, logged, or put on a command line. */
  readonly secret: string | undefined;
}

/** Whether a network is needed, not only Unix sockets. A cluster without servers takes them from its configuration. */
export function usesNetwork({ servers }: RemoteSource): boolean {
  return servers.length === 0 || servers.some(({ transport }) => transport === 'tcp');
}

/** The arguments of `add_drive` that make a {@link RemoteSource}. */
export interface RemoteOptions {
  readonly server?: readonly string[];
  readonly username?: string;
  readonly secret?: string;
}

/**
 * The protocol with that name.
 * @throws GuestfsError `BAD_ARGUMENT` if there is none
 */
export function remoteProtocol(name: string): RemoteProtocol {
  const known = REMOTE_PROTOCOLS.find((protocol) => protocol === name);
  if (known !== undefined) return known;
  throw badArgument(
    'protocol',
    `'${printableName(name)}' is unknown${REMOVED_PROTOCOLS.has(name) ? ': qemu does not have it any more' : ''}`,
  );
}

/**
 * Checks the arguments of a network drive.
 * @throws GuestfsError `BAD_ARGUMENT`, and those of {@link resolveSocketPath}
 */
export async function remoteSourceFromRequest(
  protocol: RemoteProtocol,
  name: string,
  options: RemoteOptions,
  roots: ImageRoots,
): Promise<RemoteSource> {
  const servers: RemoteServer[] = [];
  for (const server of options.server ?? []) servers.push(await parseServer(server, roots));
  const source: RemoteSource = { protocol, servers, name, username: options.username, secret: options.secret };
  for (const [field, value] of [
    ['filename', name],
    ['username', options.username],
    ['secret', options.secret],
  ] as const) {
    if (value?.includes('\0') === true) throw badArgument(field, 'must not contain a NUL character');
  }
  CHECKS[protocol](source);
  return source;
}

/** `host`, `host:port`, `tcp:host`, `tcp:host:port` or `unix:/path`. */
async function parseServer(server: string, roots: ImageRoots): Promise<RemoteServer> {
  if (server.startsWith('unix:')) {
    const path = server.slice('unix:'.length);
    if (path === '') throw badArgument('server', 'missing Unix domain socket path');
    return { transport: 'unix', path: await resolveSocketPath(path, roots) };
  }
  const address = server.startsWith('tcp:') ? server.slice('tcp:'.length) : server;
  const [, before, digits] = /^(.*):(\d+)$/s.exec(address) ?? [];
  if (before === undefined || isIPv6(address)) return { transport: 'tcp', host: checkHost(address), port: undefined };
  const port = Number(digits);
  if (port < 1 || port > 65535) throw badArgument('server', `invalid port number '${printableName(digits ?? '')}'`);
  return { transport: 'tcp', host: checkHost(before), port };
}

function checkHost(text: string): string {
  const host = /^\[(.*)\]$/.exec(text)?.[1] ?? text;
  const valid = host !== text ? isIPv6(host) : isIPv6(host) || /^[-.A-Za-z0-9]{1,255}$/.test(host);
  if (!valid || host.startsWith('-'))
    throw badArgument('server', `invalid hostname or server string '${printableName(text)}'`);
  return host;
}

type Check = (source: RemoteSource) => void;

const checkCurl: Check = (source) => {
  exactlyOneServer(source);
  onlyTcp(source);
  absoluteName(source, 'pathname');
  if (source.username === '')
    throw badArgument('username', `${source.protocol}: username should not be an empty string`);
  secretNeedsUsername(source);
  for (const [field, value] of [
    ['filename', source.name],
    ['username', source.username],
  ] as const) {
    if (Buffer.byteLength(value ?? '') > MAX_PATH_BYTES)
      throw badArgument(field, `${source.protocol}: must have at most ${MAX_PATH_BYTES} bytes`);
  }
  if (source.secret?.includes('\n') === true)
    throw badArgument('secret', `${source.protocol}: a password must be one line`);
};

/** What each protocol needs and permits. */
const CHECKS: Readonly<Record<RemoteProtocol, Check>> = {
  nbd: (source) => {
    withoutCredentials(source);
    exactlyOneServer(source);
  },
  http: checkCurl,
  https: checkCurl,
  ftp: checkCurl,
  ftps: checkCurl,
  ssh: (source) => {
    exactlyOneServer(source);
    onlyTcp(source);
    absoluteName(source, 'pathname');
    if (source.username === '') throw badArgument('username', 'ssh: username should not be an empty string');
  },
  iscsi: (source) => {
    exactlyOneServer(source);
    onlyTcp(source);
    relativeName(source, 'target name');
    if (!/^[^/]+(\/\d{1,5})?$/.test(source.name))
      throw badArgument(
        'filename',
        "iscsi: must be a target, or a target and the number of a unit, as in 'iqn.2003-01.org.example:disk/1'",
      );
    secretNeedsUsername(source);
    if (source.username !== undefined && source.secret === undefined)
      throw badArgument('secret', 'iscsi: a username needs a secret');
  },
  rbd: (source) => {
    onlyTcp(source);
    if (source.servers.some((server) => server.transport === 'tcp' && server.port === undefined))
      throw badArgument('server', 'rbd: port number must be specified');
    relativeName(source, 'image name');
    if (!/^[^/@]+(\/[^/@]+){1,2}(@[^/@]+)?$/.test(source.name))
      throw badArgument(
        'filename',
        "rbd: must be a pool and an image, as in 'pool/image' or 'pool/namespace/image@snapshot'",
      );
    if (source.secret !== undefined && !/^[A-Za-z0-9+/]+={0,2}$/.test(source.secret))
      throw badArgument('secret', 'rbd: must be a key in base64, as "ceph auth print-key" prints it');
  },
  gluster: (source) => {
    withoutCredentials(source);
    exactlyOneServer(source);
    relativeName(source, 'volume name');
    if (!/^[^/]+\/./s.test(source.name))
      throw badArgument('filename', "gluster: must be a volume and a path, as in 'volume/disk.img'");
  },
};

function withoutCredentials({ protocol, username, secret }: RemoteSource): void {
  if (username !== undefined)
    throw badArgument('username', `${protocol}: you cannot specify a username with this protocol`);
  if (secret !== undefined) throw badArgument('secret', `${protocol}: you cannot specify a secret with this protocol`);
}

function exactlyOneServer({ protocol, servers }: RemoteSource): void {
  if (servers.length !== 1) throw badArgument('server', `${protocol}: you must specify exactly one server`);
}

function onlyTcp({ protocol, servers }: RemoteSource): void {
  if (servers.some(({ transport }) => transport !== 'tcp'))
    throw badArgument('server', `${protocol}: only tcp transport is supported`);
}

function absoluteName({ protocol, name }: RemoteSource, what: string): void {
  if (name === '') throw badArgument('filename', `${protocol}: ${what} should not be an empty string`);
  if (!name.startsWith('/')) throw badArgument('filename', `${protocol}: ${what} must begin with a '/'`);
}

function relativeName({ protocol, name }: RemoteSource, what: string): void {
  if (name === '') throw badArgument('filename', `${protocol}: ${what} should not be an empty string`);
  if (name.startsWith('/')) throw badArgument('filename', `${protocol}: ${what} must not begin with a '/'`);
}

/** The library ignores such a secret silently. */
function secretNeedsUsername({ protocol, username, secret }: RemoteSource): void {
  if (secret !== undefined && username === undefined)
    throw badArgument('username', `${protocol}: a secret needs a username`);
}

/** The drive in messages: everything but the secret, in printable form. */
export function remoteSubject({ protocol, servers, name, username }: RemoteSource): string {
  const hosts = servers.map((server) => (server.transport === 'unix' ? `unix:${server.path}` : hostAndPort(server)));
  const user = username === undefined ? '' : `${username}@`;
  return `${protocol} drive '${printableName(`${user}${hosts.join(',')}${name === '' || name.startsWith('/') ? '' : '/'}${name}`)}'`;
}

/** The URL of a drive on a web server, without user and password. */
export function remoteUrl({ protocol, servers, name }: RemoteSource): string {
  return `${protocol}://${hostAndPort(servers[0] as RemoteServer & { transport: 'tcp' })}${escapePath(name)}`;
}

/** A path is only bytes to its server: characters that are special in a URI are escaped, as in the library. */
function escapePath(path: string): string {
  return encodeURIComponent(path).replace(/%(2F|3B|40|26|3D|2B|24|2C)/g, (escape) => decodeURIComponent(escape));
}

/** As in a URI: IPv6 addresses in brackets. */
export function hostAndPort({ host, port }: { readonly host: string; readonly port: number | undefined }): string {
  return `${isIPv6(host) ? `[${host}]` : host}${port === undefined ? '' : `:${port}`}`;
}
