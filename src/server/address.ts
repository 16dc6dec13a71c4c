/** Addresses of the form host:port, [v6]:port. */

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
