/** `InspectionService/Inspect`: a session for the length of a call, and the report of what it finds. */
import { Metadata, type handleServerStreamingCall, type ServerWritableStream } from '@grpc/grpc-js';
import type {
  InspectDrive,
  InspectKey,
  InspectRequest,
  InspectResponse,
} from '../../gen/proto/guestfs/v1/inspection_report.js';
import type { DriveSpec } from '../../gen/proto/guestfs/v1/session.js';
import { badArgument } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import type { ForeignImageProbe } from '../images/foreignProbe.js';
import { actionCalls } from '../library/report/actionCalls.js';
import { inspectionReport } from '../library/report/report.js';
import type { ServerPolicy } from '../security/policy.js';
import { newSessionId, type SessionRegistry } from '../session/sessionRegistry.js';
import { answerWriter } from './answerWriter.js';
import { identityOf, scopeOf } from './callScope.js';
import { Undecodable } from './decoding.js';
import { drivesOf } from './driveSpecs.js';
import { beating } from './heartbeat.js';
import type { SessionFactory } from './sessionFactory.js';
import { toStatus } from './statusMapping.js';

const NAME = 'Inspect';
/** As many as a session has drives. */
const MAX_KEYS = 255;
/** By which those who list sessions tell these from others. */
const LABELS: ReadonlyMap<string, string> = new Map([['rpc', NAME]]);

export interface InspectOptions {
  readonly registry: SessionRegistry;
  readonly factory: SessionFactory;
  readonly policy: ServerPolicy;
  readonly probe: ForeignImageProbe;
  readonly logger: Logger;
}

/** A drive whose writes go nowhere. */
function readOnly({ source, format, blocksize }: InspectDrive): DriveSpec {
  return { source, format, writable: false, label: undefined, cachemode: undefined, discard: undefined, blocksize };
}

function checkKeys(keys: readonly InspectKey[]): void {
  if (keys.length > MAX_KEYS) throw badArgument('keys', `has ${keys.length} entries; at most ${MAX_KEYS} are allowed`);
  for (const [index, { device, key }] of keys.entries()) {
    if (!device.startsWith('/dev/') || device.includes('\0'))
      throw badArgument(`keys[${index}].device`, 'must be the name of a device, such as /dev/sda2');
    if (key.includes('\0')) throw badArgument(`keys[${index}].key`, 'must not contain a NUL character');
  }
}

/** The handler of the RPC. */
export function inspectHandler({
  registry,
  factory,
  policy,
  probe,
  logger,
}: InspectOptions): handleServerStreamingCall<InspectRequest | Undecodable, InspectResponse> {
  const inspect = async (
    call: ServerWritableStream<InspectRequest | Undecodable, InspectResponse>,
    signal: AbortSignal,
  ): Promise<void> => {
    const { request } = call;
    if (request instanceof Undecodable) throw request.error;
    registry.refuseWhileDraining();
    if (request.drives.length === 0) throw badArgument('drives', 'names no disk image; at least one is needed');
    checkKeys(request.keys);
    const settings = factory.settings(request.settings);
    const drives = await drivesOf(request.drives.map(readOnly), policy);
    const id = request.session_id ?? newSessionId();
    const session = registry.add(id, () =>
      factory.create({ id, settings, labels: LABELS, owner: identityOf(call), idleTimeoutMs: undefined }),
    );
    const writer = answerWriter(call, signal);
    const heart = beating(writer, (): InspectResponse => ({ part: undefined, warnings: [] }));
    try {
      call.sendMetadata(new Metadata()); // tells the client that there is a session now
      session.addDrives(drives, NAME);
      await session.launch(signal);
      const actions = actionCalls({ session, signal, policy, probe });
      for await (const part of inspectionReport(actions, request)) await heart.write(part);
      await writer.flushed();
    } catch (error) {
      // What ended a session of a server that stops says less than that; the call changed nothing, and can be made again.
      registry.refuseWhileDraining();
      throw error;
    } finally {
      heart.stop();
      await registry.discard(session);
    }
  };
  return (call) => {
    const scope = scopeOf(call);
    inspect(call, scope.signal)
      .finally(() => scope.end())
      .then(
        () => call.end(),
        (error: unknown) => call.emit('error', toStatus(error, { action: NAME }, logger)),
      );
  };
}
