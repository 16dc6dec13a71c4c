/**
 * On whose behalf work is done. Whatever can wait has a signal, down to the last tool, so the signal of a call knows its
 * client; signals that follow it know the same (see linkedAbort in waiting.ts).
 */

const clients = new WeakMap<AbortSignal, string>();

/** Work with this signal is done on behalf of a client. */
export function onBehalfOf(client: string, signal: AbortSignal): void {
  clients.set(signal, client);
}

/** The client that work with this signal is done for; empty: the server itself. */
export function clientBehind(signal: AbortSignal): string {
  return clients.get(signal) ?? '';
}

/** A signal that follows others is on behalf of the first of them that is on anybody's. */
export function inheritClient(signal: AbortSignal, parents: readonly AbortSignal[]): void {
  for (const parent of parents) {
    const client = clients.get(parent);
    if (client === undefined) continue;
    clients.set(signal, client);
    return;
  }
}
