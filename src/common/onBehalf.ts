/**
 * Records for which client work is done. Everything that can wait, down to the last tool, has a signal, so the client
 * is attached to the signal of a call; signals derived from it inherit the client (see linkedAbort in waiting.ts).
 */

const clients = new WeakMap<AbortSignal, string>();

/** Declares that work with this signal is done on behalf of a client. */
export function onBehalfOf(client: string, signal: AbortSignal): void {
  clients.set(signal, client);
}

/** The client for which work with this signal is done; empty: the server itself. */
export function clientBehind(signal: AbortSignal): string {
  return clients.get(signal) ?? '';
}

/** A signal derived from others inherits the client of the first of them that has one. */
export function inheritClient(signal: AbortSignal, parents: readonly AbortSignal[]): void {
  for (const parent of parents) {
    const client = clients.get(parent);
    if (client === undefined) continue;
    clients.set(signal, client);
    return;
  }
}
