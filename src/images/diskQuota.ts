/**
 * Limits how many bytes of the host's disks each client may use: by the files in the directories that it may write to,
 * and by what its sessions can still write to other files of the server.
 *
 * The writes of a virtual machine bypass the server, so the maximum that it can write counts, from the moment that it
 * gets the file. The sizes of files are looked up whenever the client wants more, so that nothing has to be remembered,
 * and files that others have added or removed are taken into account.
 */
import { limitExceeded } from '../common/limitExceeded.js';
import { Semaphore } from '../common/semaphore.js';
import type { OwnLimits } from '../security/access.js';
import { writableDirectories, type ImageRoots } from '../security/pathPolicy.js';
import { bytesBelow } from './fileSizes.js';

/** What is about to be written. */
export interface DiskNeed {
  readonly bytes: bigint;
  /** Identity of the file in an image root that is written; undefined: a temporary file elsewhere. */
  readonly file?: string;
}

/** Bytes that are reserved for a writer. */
export interface DiskReservation {
  /** @throws GuestfsError LIMIT_EXCEEDED when there is no room for that many more */
  grow(bytes: bigint): Promise<void>;
  /**
   * Corrects the reservation to what has been written.
   * @param measure asked only if there is a limit
   * @throws GuestfsError LIMIT_EXCEEDED
   */
  settle(measure: () => Promise<bigint>): Promise<void>;
  /** Nothing more will be written. May be called more than once. */
  release(): void;
}

/** What one client may use. */
export interface DiskQuota {
  /**
   * Reserves bytes for all of these files or, if there is not enough room, for none of them.
   * @throws GuestfsError LIMIT_EXCEEDED
   */
  reserve(needs: readonly DiskNeed[], signal: AbortSignal): Promise<readonly DiskReservation[]>;
}

/** A quota without a limit. */
export const NO_QUOTA: DiskQuota = {
  reserve: async (needs) =>
    needs.map(() => ({ grow: async () => undefined, settle: async () => undefined, release: () => undefined })),
};

/** Whose quota it is, and where its files are. */
export interface DiskOwner {
  readonly client: string;
  readonly imageRoots: ImageRoots;
  /** Takes precedence over the limit of the server. */
  readonly limits: OwnLimits;
}

/** What a client has reserved, and how much its files took when they were last counted. */
class Ledger {
  readonly reservations = new Set<Reservation>();
  /** Bytes of files, without those that are reserved. */
  files = 0n;
  /** One count at a time, so that reservations made in the meantime are not missed. */
  readonly looks = new Semaphore(1);
  /** Reservations that ended during a count, which has left out their files. */
  ended: Reservation[] | undefined;

  get reserved(): bigint {
    let sum = 0n;
    for (const { bytes } of this.reservations) sum += bytes;
    return sum;
  }

  /** Ends a reservation. Until the next count its file counts with the bytes reserved, so nothing written is missed. */
  end(reservation: Reservation): void {
    if (this.ended !== undefined) {
      this.ended.push(reservation);
      return;
    }
    if (!this.reservations.delete(reservation)) return;
    if (reservation.file !== undefined) this.files += reservation.bytes;
    if (this.unused) this.onUnused();
  }

  get unused(): boolean {
    return this.reservations.size === 0 && this.looks.length === 0;
  }

  /** @param onUnused called when there is nothing to remember */
  constructor(private readonly onUnused: () => void) {}
}

/** Where a reservation gets more bytes from. */
interface Room {
  readonly limited: () => boolean;
  readonly take: (more: bigint, take: () => void) => Promise<void>;
}

class Reservation implements DiskReservation {
  bytes: bigint;
  readonly file: string | undefined;

  constructor(
    { bytes, file }: DiskNeed,
    private readonly ledger: Ledger,
    private readonly room: Room,
  ) {
    this.bytes = bytes;
    this.file = file;
  }

  async grow(bytes: bigint): Promise<void> {
    await this.room.take(bytes, () => {
      this.bytes += bytes;
    });
  }

  async settle(measure: () => Promise<bigint>): Promise<void> {
    if (!this.room.limited()) return;
    const bytes = await measure();
    if (bytes <= this.bytes) this.bytes = bytes;
    else await this.grow(bytes - this.bytes);
  }

  release(): void {
    this.ledger.end(this);
  }
}

/** The quotas of all clients. */
export class DiskQuotas {
  readonly #ledgers = new Map<string, Ledger>();

  /** @param limit for each client, bytes; undefined: none */
  constructor(private readonly limit: number | undefined) {}

  of(owner: DiskOwner): DiskQuota {
    return { reserve: (needs, signal) => this.#reserve(owner, needs, signal) };
  }

  #ledgerOf(client: string): Ledger {
    const ledger = this.#ledgers.get(client) ?? new Ledger(() => this.#ledgers.delete(client));
    this.#ledgers.set(client, ledger);
    return ledger;
  }

  async #reserve(owner: DiskOwner, needs: readonly DiskNeed[], signal: AbortSignal): Promise<readonly Reservation[]> {
    if (needs.length === 0) return [];
    const ledger = this.#ledgerOf(owner.client);
    const room: Room = {
      limited: () => this.#limitOf(owner) !== undefined,
      take: (more, take) => this.#take(owner, ledger, { more, take }, signal),
    };
    const made = needs.map((need) => new Reservation(need, ledger, room));
    const more = made.reduce((sum, { bytes }) => sum + bytes, 0n);
    const take = (): void => {
      for (const one of made) ledger.reservations.add(one);
    };
    const files = new Set(needs.flatMap(({ file }) => file ?? []));
    try {
      await this.#take(owner, ledger, { more, take, files, look: true }, signal);
      return made;
    } finally {
      if (ledger.unused) this.#ledgers.delete(owner.client);
    }
  }

  /** Takes bytes if there is room for them. Counts the files first if requested, or if there seems to be no room. */
  async #take(
    owner: DiskOwner,
    ledger: Ledger,
    { more, take, files = new Set(), look = false }: Wanted,
    signal: AbortSignal,
  ): Promise<void> {
    const fits = (most: bigint): boolean => ledger.files + ledger.reserved + more <= most;
    const before = this.#limitOf(owner);
    if (before === undefined || (!look && fits(before))) return take();
    await ledger.looks.run(async () => {
      ledger.ended = [];
      try {
        const reserved = [...ledger.reservations].flatMap(({ file }) => file ?? []);
        const directories = await writableDirectories(owner.imageRoots);
        ledger.files = await bytesBelow(directories, new Set([...reserved, ...files]), signal);
        const most = this.#limitOf(owner);
        if (most !== undefined && !fits(most)) throw exceeded(ledger, more, most, owner.limits.diskBytes === undefined);
        take();
      } finally {
        const { ended } = ledger;
        ledger.ended = undefined;
        for (const reservation of ended) ledger.end(reservation);
      }
    }, signal);
  }

  #limitOf({ limits }: DiskOwner): bigint | undefined {
    const most = limits.diskBytes ?? this.limit;
    return most === undefined ? undefined : BigInt(most);
  }
}

function exceeded({ files, reserved }: Ledger, more: bigint, most: bigint, ofFlag: boolean): Error {
  const setting = ofFlag ? '--max-disk-bytes-per-client' : 'limits.disk_bytes of its role';
  return limitExceeded(
    `there is no room for ${more} more bytes: the files of this client take ${files} bytes, and its sessions can write ${reserved}; at most ${most} are allowed (${setting})`,
    { limit: 'max-disk-bytes-per-client', maximum: Number(most) },
  );
}

interface Wanted {
  readonly more: bigint;
  readonly take: () => void;
  /** Files whose bytes are included in `more`. */
  readonly files?: ReadonlySet<string>;
  readonly look?: boolean;
}
