/** Addresses of servers, as all clients here write them. */

/** Where a server is. */
export interface ServerAddress {
  /** As gRPC writes it: `dns:///host:port` or `unix:/path`. */
  readonly target: string;
  /** Whether the connection is encrypted. */
  readonly tls: boolean;
}

const MAX_PORT = 65_535;

/**
 * Reads `host:port`, `tls:host:port` or `unix:/path`.
 * @throws Error if it is none of these
 */
export function parseAddress(text: string): ServerAddress {
  if (text.startsWith('unix:/')) return { target: text, tls: false };
  const tls = text.startsWith('tls:');
  const target = tls ? text.slice('tls:'.length) : text;
  const [, port = ''] = /^.+:(\d{1,5})$/.exec(target) ?? [];
  if (text.startsWith('unix:') || Number(port) < 1 || Number(port) > MAX_PORT)
    throw new Error(`${text} is not the address of a server: host:port, tls:host:port or unix:/path`);
  return { target: `dns:///${target}`, tls };
}
