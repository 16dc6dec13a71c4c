/** Accounts for the memory that requests occupy while they arrive and are used. */

/**
 * A budget of bytes. One client can use up to `size`, all clients together twice as much, so no single client can use
 * up all of it.
 */
export class RequestMemory {
  readonly #held = new Map<string, number>();
  #total = 0;

  /** @param size bytes for one client */
  constructor(readonly size: number) {}

  /** Bytes left for a client. */
  freeFor(client: string): number {
    return Math.min(this.size - (this.#held.get(client) ?? 0), 2 * this.size - this.#total);
  }

  /** Reserves bytes; false if not enough are left. */
  take(client: string, bytes: number): boolean {
    if (bytes > this.freeFor(client)) return false;
    this.#held.set(client, (this.#held.get(client) ?? 0) + bytes);
    this.#total += bytes;
    return true;
  }

  giveBack(client: string, bytes: number): void {
    this.#total -= bytes;
    const left = (this.#held.get(client) ?? 0) - bytes;
    if (left > 0) this.#held.set(client, left);
    else this.#held.delete(client);
  }
}
