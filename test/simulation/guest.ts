/** What a simulated appliance does: it boots, its daemon starts, and answers calls well or badly. */
import type { Duplex } from 'node:stream';
import { echoDaemon, pingDaemon } from '../../gen/calls/appliance.js';
import { debug } from '../../gen/calls/debug.js';
import { sync } from '../../gen/calls/filesystem.js';
import { yaraLoad } from '../../gen/calls/forensics.js';
import { internalAutosync } from '../../gen/calls/internal.js';
import { download, upload } from '../../gen/calls/transfer.js';
import { FakeDaemon, type ReceivedCall } from '../fakes/fakeDaemon.js';
import { text } from '../fakes/xdrBytes.js';
import { contentOf, summary } from './contents.js';
import { Ended, type SimulatedQemu } from './qemu.js';
import type { World } from './world.js';

const CHUNK = 8192;
/** Pieces of this size are written at a time. */
const SPLITS = [Infinity, Infinity, Infinity, 4096, 100] as const;
const CANCEL_FLAG_LENGTH = 4;
/** Procedures that the daemon knows, in a probe of its version. */
const NEWEST_PROCEDURE = 510;

/** The first string of a call's arguments. */
function firstString({ body }: ReceivedCall): string {
  return body.subarray(4, 4 + body.readUInt32BE(0)).toString('utf8');
}

/** The strings of a call whose only argument is a list. */
function wordsOf({ body }: ReceivedCall): string[] {
  const words: string[] = [];
  let at = 4;
  for (let count = body.readUInt32BE(0); count > 0; count -= 1) {
    const length = body.readUInt32BE(at);
    words.push(body.subarray(at + 4, at + 4 + length).toString('utf8'));
    at += 4 + 4 * Math.ceil(length / 4);
  }
  return words;
}

export class Guest {
  /** How often the daemon has written everything out, as a call or at the end, and said so. */
  syncs = 0;
  readonly #daemon: FakeDaemon;

  constructor(
    private readonly world: World,
    private readonly qemu: SimulatedQemu,
    pair: readonly [Duplex, Duplex],
  ) {
    this.#daemon = new FakeDaemon({ pair, split: world.random.of(SPLITS) });
  }

  /** Boots it, and starts its daemon. */
  boot(): void {
    this.#live(async () => {
      const { world, qemu } = this;
      qemu.console('Linux boots\n');
      await qemu.sleep(50 + world.duration(4000));
      if (world.happens('boot is slow')) await qemu.sleep(world.duration(200_000));
      if (world.happens('boot fails')) {
        qemu.console('Kernel panic - not syncing: it is simulated\n');
        if (world.random.once(2)) qemu.end({ exitCode: 0, signal: undefined });
        await qemu.hang();
      }
      await this.#daemon.launch();
      await this.#serve();
    });
  }

  /** Continues where its machine was saved. */
  resume(): void {
    this.#live(() => this.#serve());
  }

  /** Runs until the machine ends or the server closes the connection. */
  #live(life: () => Promise<void>): void {
    life().catch((error: unknown) => {
      const over = error instanceof Ended || this.qemu.exit !== undefined || this.#daemon.channel.destroyed;
      // What a daemon that was not meant to go on reads makes no sense.
      if (!over && !this.#confused) this.world.violate(`a simulated daemon failed: ${String(error)}`);
    });
  }

  /** It has broken the protocol, and what it reads next may be anything. */
  #confused = false;

  async #serve(): Promise<void> {
    for (;;) {
      await this.qemu.running();
      const call = await this.#daemon.nextCall();
      await this.qemu.running();
      await this.#answer(call);
    }
  }

  async #answer(call: ReceivedCall): Promise<void> {
    const { world, qemu } = this;
    const daemon = this.#daemon;
    if (world.random.once(3)) await qemu.sleep(world.duration(500));
    if (world.happens('daemon is slow')) await qemu.sleep(world.duration(100_000));
    if (world.happens('daemon is silent')) await qemu.hang();
    if (world.happens('daemon breaks the protocol')) return this.#breakProtocol(call);
    switch (call.procedure) {
      case upload.procedure:
      case yaraLoad.procedure:
        return this.#upload(call);
      case download.procedure:
        return this.#download(call);
      case echoDaemon.procedure: {
        const answer = wordsOf(call).join(' ');
        for (let count = world.random.once(4) ? world.random.below(4) : 0; count > 0; count -= 1) {
          await daemon.progress(call, BigInt(count), 10n);
          await qemu.sleep(world.duration(200));
        }
        if (await this.#refused(call)) return;
        this.#alone();
        world.answered.set(answer, answer);
        return daemon.reply(call, text(answer));
      }
      case sync.procedure:
      case internalAutosync.procedure:
        if (await this.#refused(call)) return;
        this.#alone();
        this.syncs += 1;
        return daemon.reply(call);
      case debug.procedure:
        if (await this.#refused(call)) return;
        return daemon.reply(call, text('sda\n'));
      case pingDaemon.procedure:
        return daemon.reply(call);
      default:
        if (call.procedure > NEWEST_PROCEDURE)
          return daemon.fail(call, '', `dispatch_incoming_message: unknown procedure number ${call.procedure}, `);
        return daemon.fail(call, '', 'xdr failed to decode the arguments');
    }
  }

  /** Answers with an error. */
  async #refused(call: ReceivedCall): Promise<boolean> {
    if (!this.world.happens('daemon refuses')) return false;
    await this.#daemon.fail(call, 'EIO', 'it is refused');
    return true;
  }

  /** There is one call at a time: nothing comes before its answer. */
  #alone(): void {
    if (this.#daemon.unreadBytes > 0)
      this.world.violate(`${this.qemu.what} gets a call before it has answered another`);
  }

  async #breakProtocol(call: ReceivedCall): Promise<void> {
    const daemon = this.#daemon;
    this.#confused = true;
    switch (this.world.random.below(5)) {
      case 0:
        return daemon.reply(call, undefined, { serial: call.serial + 1 });
      case 1:
        if (call.procedure !== echoDaemon.procedure) break;
        this.world.answered.set(wordsOf(call).join(' '), 'twice');
        await daemon.reply(call, text(wordsOf(call).join(' ')));
        return daemon.reply(call, text(wordsOf(call).join(' ')));
      case 2:
        return daemon.write(Buffer.from('a message is no text'));
      case 3:
        return daemon.launch();
      default:
        return daemon.reply(call, Buffer.from('no value'));
    }
    await daemon.fail(call, 'EIO', 'it is refused');
    return daemon.fail(call, 'EIO', 'it is refused again');
  }

  async #upload(call: ReceivedCall): Promise<void> {
    const { world } = this;
    const daemon = this.#daemon;
    const mayNotAnswer = call.procedure === yaraLoad.procedure;
    if (world.happens('daemon answers early')) {
      this.#confused = true;
      return daemon.fail(call, 'EINVAL', 'it is refused before it was read');
    }
    if (world.happens('daemon refuses')) {
      // As cancel_receive does: the flag, and then the rest is read.
      for (let count = world.random.below(3); count > 0; count -= 1) {
        const piece = await daemon.nextPiece();
        if (piece.kind === 'chunk' && (piece.cancel || piece.data.length === 0))
          return mayNotAnswer ? undefined : daemon.fail(call, 'EIO', 'it is refused');
      }
      await daemon.cancelFlag();
      await daemon.nextFile();
      return mayNotAnswer ? undefined : daemon.fail(call, 'EIO', 'it is refused');
    }
    const { data, cancelled } = await daemon.nextFile();
    await this.qemu.running();
    if (cancelled) return mayNotAnswer ? undefined : daemon.fail(call, 'EINTR', 'the client has cancelled');
    // Rules have no name.
    world.answered.set(mayNotAnswer ? `rules of ${summary(data)}` : firstString(call), summary(data));
    return daemon.reply(call);
  }

  async #download(call: ReceivedCall): Promise<void> {
    const { world, qemu } = this;
    const daemon = this.#daemon;
    if (await this.#refused(call)) return;
    await daemon.reply(call);
    const data = contentOf(firstString(call));
    for (let start = 0; start < data.length; start += CHUNK) {
      if (world.random.once(4)) await qemu.sleep(world.duration(1500));
      if (daemon.unreadBytes >= CANCEL_FLAG_LENGTH) {
        await daemon.nextPiece();
        await daemon.cancelChunk();
        // Some procedures send it twice.
        return world.random.once(3) ? daemon.cancelChunk() : undefined;
      }
      if (world.happens('daemon refuses')) return daemon.cancelChunk();
      await daemon.chunk(data.subarray(start, start + CHUNK));
    }
    world.answered.set(firstString(call), summary(data));
    return daemon.lastChunk();
  }
}
