/** Where the other replicas are: listed in a flag or a file, or found by DNS. */
import { lookup } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { socketPath, splitAddress } from '../address.js';

/** Where addresses come from. */
export type PeerSource =
  /** Each of them, as HOST:PORT or unix:/PATH. */
  | { readonly kind: 'list'; readonly addresses: readonly string[] }
  /** The addresses of a name, such as that of a headless service. */
  | { readonly kind: 'dns'; readonly host: string; readonly port: number }
  /** A file with one address per line. */
  | { readonly kind: 'file'; readonly path: string };

const DNS = 'dns:';

function isAddress(text: string): boolean {
  return socketPath(text) !== undefined || splitAddress(text) !== undefined;
}

/** Parses `dns:NAME:PORT`, the path of a file, or addresses separated by commas; undefined if it is none of them. */
export function peerSource(text: string): PeerSource | undefined {
  if (text.startsWith(DNS)) {
    const name = splitAddress(text.slice(DNS.length));
    return name && { kind: 'dns', ...name };
  }
  const addresses = text.split(',');
  if (addresses.every(isAddress)) return { kind: 'list', addresses };
  return text.includes('/') && !text.includes(',') ? { kind: 'file', path: text } : undefined;
}

async function readAddresses(path: string): Promise<readonly string[]> {
  const lines = (await readFile(path, 'utf8')).split('\n').map((line) => line.trim());
  const addresses = lines.filter((line) => line !== '' && !line.startsWith('#'));
  const wrong = addresses.find((address) => !isAddress(address));
  if (wrong !== undefined) throw new Error(`${path}: '${wrong}' has neither the form HOST:PORT nor unix:/PATH`);
  return addresses;
}

/**
 * The addresses now.
 * @throws Error if the file cannot be read, or the name does not resolve
 */
export async function addressesOf(source: PeerSource): Promise<readonly string[]> {
  switch (source.kind) {
    case 'list':
      return source.addresses;
    case 'file':
      return readAddresses(source.path);
    case 'dns': {
      const found = await lookup(source.host, { all: true });
      return found.map(({ address }) => `${isIPv6(address) ? `[${address}]` : address}:${source.port}`);
    }
  }
}
