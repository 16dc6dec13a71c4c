/** The two sides: this service, and libguestfs's C library. Each does a call and says what came of it, in the same form. */
import { fileURLToPath } from 'node:url';
import { PythonDriver } from '../../bench/subjects/pythonDriver.js';
import { isFileIn, isFileOut } from '../../src/actions/shape.js';
import type { ActionDef } from '../../src/actions/types.js';
import { imageDrive, CallFailure, SessionClient, type TestClient } from '../support/testClient.js';
import { actionOf, type Argument, type Call, type Outcome } from './call.js';

export interface Peer {
  do(call: Call): Promise<Outcome>;
  close(): Promise<void>;
}

/** Numbers, truth values and bytes as text; records with their keys in order. */
export function plain(value: unknown): unknown {
  if (value === null || value === undefined) return '';
  if (typeof value === 'boolean') return value ? '1' : '0';
  if (typeof value === 'number' || typeof value === 'bigint') return String(value);
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString('base64') };
  if (value instanceof Map) return plain(Object.fromEntries(value));
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === 'object') return Object.fromEntries(Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)).map(([key, one]) => [key, plain(one)]));
  return value;
}

/** As the generated client takes it. */
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
  private constructor(private readonly client: TestClient, private readonly session: SessionClient) {}

  static async launch(client: TestClient, images: readonly string[]): Promise<ServicePeer> {
    const { id } = await client.createSession({ drives: images.map((image) => imageDrive(image)), launch: true });
    return new ServicePeer(client, new SessionClient(client, id));
  }

  async do(call: Call): Promise<Outcome> {
    const action = actionOf(call);
    const request = Object.fromEntries(Object.entries(call.args).map(([name, value]) => [name, forClient(action, name, value)]));
    try {
      if (isFileIn(action)) {
        await this.session.upload(call.name, request, [Buffer.from(call.file ?? '', 'base64')]);
        return { value: '' };
      }
      if (isFileOut(action)) return { value: plain(await this.session.download(call.name, request)) };
      return { value: plain(await this.session.call(call.name, request)) };
    } catch (error) {
      if (!(error instanceof CallFailure)) throw error;
      return { errno: error.info?.reason ?? `status ${error.code}`, message: error.details };
    }
  }

  async close(): Promise<void> {
    await this.client.deleteSession(this.session.id);
  }
}

const PROGRAM = fileURLToPath(new URL('../../../test/differential/library.py', import.meta.url));

export class LibraryPeer implements Peer {
  private constructor(private readonly driver: PythonDriver) {}

  static async launch(env: NodeJS.ProcessEnv, images: readonly string[], signal: AbortSignal): Promise<LibraryPeer> {
    const driver = new PythonDriver({ LIBGUESTFS_BACKEND: 'direct', LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg', ...env }, signal, PROGRAM);
    const launched = await driver.ask<Outcome>({ op: 'launch', drives: images });
    if ('errno' in launched) throw new Error(`libguestfs does not launch: ${launched.message}`);
    return new LibraryPeer(driver);
  }

  async do(call: Call): Promise<Outcome> {
    const outcome = await this.driver.ask<Outcome>(this.#request(call));
    return 'errno' in outcome ? { ...outcome, errno: outcome.errno === '0' ? 'DAEMON_ERROR' : outcome.errno } : { value: plain(outcome.value) };
  }

  async close(): Promise<void> {
    await this.driver.close();
  }

  #request({ name, args, file }: Call): object {
    const action = actionOf({ name });
    const required = action.args.filter((argument) => argument.name in args).map((argument) => {
      const value = args[argument.name];
      return argument.type === 'buffer' ? { $bytes: Buffer.from(value as string).toString('base64') } : value;
    });
    if (isFileIn(action)) return { op: 'upload', name, required, content: file ?? '' };
    if (isFileOut(action)) return { op: 'download', name, required };
    const optional = Object.fromEntries(action.optargs.filter((argument) => argument.name in args).map((argument) => [argument.name, args[argument.name]]));
    return { op: 'call', name, required, optional };
  }
}
