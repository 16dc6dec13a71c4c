/** The two sides: this service, and libguestfs's C library. Each makes calls and reports outcomes in the same form. */
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { GuestfsRpcError } from '../../clients/typescript/src/index.js';
import { PythonDriver } from '../../bench/subjects/pythonDriver.js';
import { diskName } from '../../src/launcher/appliance/applianceScripts.js';
import { isFileIn, isFileOut } from '../../src/actions/shape.js';
import type { ActionDef } from '../../src/actions/types.js';
import { imageDrive, SessionClient, type TestClient } from '../support/testClient.js';
import { actionOf, HOST_DIRECTORY, type Argument, type Call, type Outcome } from './call.js';

export interface Peer {
  do(call: Call): Promise<Outcome>;
  close(): Promise<void>;
}

/** Longer data is represented by its digest. */
const SHOWN_BYTES = 64 * 1024;

function shown(bytes: Uint8Array): object {
  if (bytes.length <= SHOWN_BYTES) return { $bytes: Buffer.from(bytes).toString('base64') };
  return { $sha256: createHash('sha256').update(bytes).digest('hex'), $size: String(bytes.length) };
}

/** Numbers, truth values and bytes as text; records with their keys in order. */
export function plain(value: unknown): unknown {
  if (value === null || value === undefined) return '';
  if (typeof value === 'boolean') return value ? '1' : '0';
  if (typeof value === 'number' || typeof value === 'bigint') return String(value);
  if (value instanceof Uint8Array) return shown(value);
  if (value instanceof Map) return plain(Object.fromEntries(value));
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === 'object')
    return Object.fromEntries(
      Object.entries(value)
        .sort(([one], [other]) => (one < other ? -1 : 1))
        .map(([key, one]) => [key, plain(one)]),
    );
  return value;
}

/** Replaces one text with another in all strings of a value. */
function rewrite<Value>(value: Value, from: string, to: string): Value {
  if (typeof value === 'string') return value.replaceAll(from, to) as Value;
  if (Array.isArray(value)) return value.map((one: unknown) => rewrite(one, from, to)) as Value;
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(
      Object.entries(value).map(([key, one]) => [rewrite(key, from, to), rewrite(one as unknown, from, to)]),
    ) as Value;
  return value;
}

/** Maximum number of launches until a kernel discovers the disks in order: it searches for all of them at once. */
const MOST_LAUNCHES = 12;

/** Whether the kernel's names for disks are the daemon's: tools report the kernel's. */
async function inOrder(peer: Peer, drives: number): Promise<boolean> {
  for (let index = 0; index < drives; index += 1) {
    const device = `/dev/${diskName(index)}`;
    // The message names the device.
    const outcome = await peer.do({ name: 'isoinfo_device', args: { device } });
    if (!('message' in outcome) || !outcome.message.includes(`${device}:`)) return false;
  }
  return true;
}

/**
 * Opens a handle whose disks have the expected names.
 * @throws Error if no launch results in one
 */
export async function openInOrder<Side extends Peer>(open: () => Promise<Side>, drives: number): Promise<Side> {
  for (let launches = 1; launches <= MOST_LAUNCHES; launches += 1) {
    const peer = await open();
    if (await inOrder(peer, drives)) return peer;
    await peer.close();
  }
  throw new Error(`in ${MOST_LAUNCHES} launches the kernel did not discover the disks in order`);
}

/** Parameters of a handle: its drives, and the directory with its disk images. */
export interface PeerOptions {
  readonly images: readonly string[];
  readonly directory: string;
  /** True by default. */
  readonly launch?: boolean;
}

/** In the form for the generated client. */
function forClient(action: ActionDef, name: string, value: Argument): unknown {
  const required = action.args.find((one) => one.name === name);
  const optional = action.optargs.find((one) => one.name === name);
  const type = required?.type ?? optional?.type;
  if (type === 'int64') return BigInt(value as number);
  if (type === 'buffer') return Buffer.from(value as string);
  if (optional?.type === 'string_list') return { values: value };
  return value;
}

export class ServicePeer implements Peer {
  private constructor(
    private readonly client: TestClient,
    private readonly session: SessionClient,
    private readonly directory: string,
  ) {}

  static async open(client: TestClient, { images, directory, launch = true }: PeerOptions): Promise<ServicePeer> {
    const { id } = await client.createSession({ drives: images.map((image) => imageDrive(image)), launch });
    return new ServicePeer(client, new SessionClient(client, id), directory);
  }

  async do(call: Call): Promise<Outcome> {
    return rewrite(await this.#do(rewrite(call, HOST_DIRECTORY, this.directory)), this.directory, HOST_DIRECTORY);
  }

  async #do(call: Call): Promise<Outcome> {
    const action = actionOf(call);
    const request: Record<string, unknown> = Object.fromEntries(
      Object.entries(call.args).map(([name, value]) => [name, forClient(action, name, value)]),
    );
    // The library overwrites existing files.
    if (call.name === 'disk_create') request['overwrite'] = true;
    try {
      if (isFileIn(action)) {
        await this.session.upload(call.name, request, [Buffer.from(call.file ?? '', 'base64')]);
        return { value: '' };
      }
      if (isFileOut(action)) return { value: plain(await this.session.download(call.name, request)) };
      return { value: plain(await this.session.call(call.name, request)) };
    } catch (error) {
      if (!(error instanceof GuestfsRpcError)) throw error;
      return { errno: error.info?.reason ?? `status ${error.code}`, message: error.details };
    }
  }

  async close(): Promise<void> {
    await this.client.deleteSession(this.session.id);
  }
}

const PROGRAM = fileURLToPath(new URL('../../../test/differential/library.py', import.meta.url));

export class LibraryPeer implements Peer {
  private constructor(
    private readonly driver: PythonDriver,
    private readonly directory: string,
  ) {}

  static async open(
    env: NodeJS.ProcessEnv,
    { images, directory, launch = true }: PeerOptions,
    signal: AbortSignal,
  ): Promise<LibraryPeer> {
    const driver = new PythonDriver(
      { LIBGUESTFS_BACKEND: 'direct', LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg', ...env },
      signal,
      PROGRAM,
    );
    const launched = launch ? await driver.ask<Outcome>({ op: 'launch', drives: images }) : undefined;
    if (launched !== undefined && 'errno' in launched)
      throw new Error(`libguestfs does not launch: ${launched.message}`);
    return new LibraryPeer(driver, directory);
  }

  async do(call: Call): Promise<Outcome> {
    const answered = await this.driver.ask<Outcome>(this.#request(rewrite(call, HOST_DIRECTORY, this.directory)));
    const outcome = rewrite(answered, this.directory, HOST_DIRECTORY);
    return 'errno' in outcome
      ? { ...outcome, errno: outcome.errno === '0' ? 'DAEMON_ERROR' : outcome.errno }
      : { value: plain(outcome.value) };
  }

  async close(): Promise<void> {
    await this.driver.close();
  }

  #request({ name, args, file }: Call): object {
    const action = actionOf({ name });
    const required = action.args
      .filter((argument) => argument.name in args)
      .map((argument) => {
        const value = args[argument.name];
        return argument.type === 'buffer' ? { $bytes: Buffer.from(value as string).toString('base64') } : value;
      });
    const optional = Object.fromEntries(
      action.optargs
        .filter((argument) => argument.name in args)
        .map((argument) => [argument.name, args[argument.name]]),
    );
    if (!isFileIn(action) && !isFileOut(action)) return { op: 'call', name, required, optional };
    // The library expects the name of a file on the host there.
    const at = action.args.findIndex(
      (argument) => 'kind' in argument && (argument.kind === 'filein' || argument.kind === 'fileout'),
    );
    return isFileIn(action)
      ? { op: 'upload', name, required, optional, at, content: file ?? '' }
      : { op: 'download', name, required, optional, at };
  }
}
