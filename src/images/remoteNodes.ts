/** Describes network drives as structured qemu protocol nodes, so that no text from a client is parsed as a file name. */
import type { BlockNode } from './blockNodes.js';
import {
  hostAndPort,
  type RemoteProtocol,
  type RemoteServer,
  type RemoteSource,
  type WebProtocol,
} from './remoteSource.js';

/** Protocols that qemu's own drivers are used for. */
type QemuProtocol = Exclude<RemoteProtocol, WebProtocol>;

/** How qemu reaches a source: the resources that its machine was given. */
export interface RemoteAccess {
  /** ID of the object with the secret; undefined if there is none. */
  readonly secretId: string | undefined;
  /** Name of the socket in the machine's directory, qemu's working directory, that relays to the server's socket. */
  socketFor(server: RemoteServer & { readonly transport: 'unix' }): string;
}

/** Default ports of protocols whose nodes must specify one. */
const NBD_PORT = 10809;
const SSH_PORT = 22;
const GLUSTER_PORT = 24007;

/** The node for the bytes of a source, with further options of any node. */
export function remoteNode(
  source: RemoteSource,
  name: string,
  access: RemoteAccess,
  options: Readonly<Record<string, unknown>>,
): BlockNode {
  return {
    driver: source.protocol,
    'node-name': name,
    ...definedOnly(NODES[source.protocol as QemuProtocol](source, access)),
    ...options,
  };
}

type Write = (source: RemoteSource, access: RemoteAccess) => Record<string, unknown>;

const NODES: Readonly<Record<QemuProtocol, Write>> = {
  nbd: (source, access) => ({
    server: socketAddress(source.servers[0] as RemoteServer, NBD_PORT, access),
    export: source.name === '' ? undefined : source.name,
  }),
  ssh: (source) => {
    const { host, port } = tcp(source);
    return {
      server: { host, port: String(port ?? SSH_PORT) },
      path: source.name,
      user: source.username,
      // Also the default, but better not relied on.
      'host-key-check': { mode: 'known_hosts' },
    };
  },
  iscsi: (source, { secretId }) => {
    const [target, unit = '0'] = source.name.split('/');
    return {
      transport: 'tcp',
      portal: hostAndPort(tcp(source)),
      target,
      lun: Number(unit),
      user: source.username,
      'password-secret': secretId,
    };
  },
  rbd: (source, { secretId }) => {
    const [, path = '', snapshot] = /^([^@]*)(?:@(.*))?$/s.exec(source.name) ?? [];
    const parts = path.split('/');
    return {
      pool: parts[0],
      namespace: parts.length === 3 ? parts[1] : undefined,
      image: parts.at(-1),
      snapshot,
      user: source.username,
      'auth-client-required':
        source.username === undefined && source.secret === undefined ? ['none'] : ['cephx', 'none'],
      'key-secret': secretId,
      server:
        source.servers.length === 0
          ? undefined
          : source.servers.map((server) => ({
              host: (server as RemoteServer & { transport: 'tcp' }).host,
              port: String((server as RemoteServer & { transport: 'tcp' }).port),
            })),
    };
  },
  gluster: (source, access) => {
    const [, volume, path] = /^([^/]+)\/(.*)$/s.exec(source.name) ?? [];
    return { volume, path, server: source.servers.map((server) => socketAddress(server, GLUSTER_PORT, access)) };
  },
};

/** The one server of a protocol without Unix sockets; the checks of the arguments guarantee it. */
function tcp({ servers }: RemoteSource): RemoteServer & { readonly transport: 'tcp' } {
  return servers[0] as RemoteServer & { readonly transport: 'tcp' };
}

function socketAddress(server: RemoteServer, port: number, access: RemoteAccess): Record<string, unknown> {
  if (server.transport === 'unix') return { type: 'unix', path: access.socketFor(server) };
  return { type: 'inet', host: server.host, port: String(server.port ?? port) };
}

function definedOnly(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
