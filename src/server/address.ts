/** Addresses of the form host:port, [v6]:port, or unix:/path. */
import { isIPv4, isIPv6 } from 'node:net';

const UNIX = 'unix:';

/** The path of a Unix socket's address; undefined for any other address. */
export function socketPath(address: string): string | undefined {
  return address.startsWith(UNIX) ? address.slice(UNIX.length) : undefined;
}

/** True if an address is reachable only from this machine. Names other than `localhost` may resolve to anything. */
export function isLocal(address: string): boolean {
  if (socketPath(address) !== undefined) return true;
  const host = splitAddress(address)?.host ?? '';
  if (isIPv4(host)) return host.startsWith('127.');
  // An IPv6 address can be written in several ways; URL normalizes it.
  if (isIPv6(host)) return new URL(`http://[${host}]`).hostname === '[::1]';
  return host === 'localhost';
}

/** Host and port of an address. */
export function splitAddress(address: string): { readonly host: string; readonly port: number } | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host === undefined || port > 65_535 ? undefined : { host, port };
}

/** The address with the port that was actually bound; the configured port may be 0. */
export function addressText(address: string, port: number): string {
  return address.replace(/:\d+$/, `:${port}`);
}
