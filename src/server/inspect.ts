/** `InspectionService/Inspect`: a session for the duration of a call, and a report on the guests in it. */
import type {
  InspectDrive,
  InspectKey,
  InspectRequest,
  InspectResponse,
} from '../../gen/proto/guestfs/v1/inspection_report.js';
import type { DriveSpec } from '../../gen/proto/guestfs/v1/session.js';
import { serviceRules } from '../actions/callRules.js';
import { badArgument } from '../common/errors.js';
import type { ForeignImageProbe } from '../images/foreignProbe.js';
import { actionCalls } from '../library/report/actionCalls.js';
import { inspectionReport } from '../library/report/report.js';
import { newSessionId, type SessionRegistry } from '../session/sessionRegistry.js';
import { drivesOf } from './driveSpecs.js';
import { beating } from './heartbeat.js';
import type { Replicas } from './replicas/replicas.js';
import { streamingRpc, type AdmittedCall, type AnswerStream, type Rpc } from './rpc.js';
import type { SessionFactory } from './sessionFactory.js';
import { givenSessionId, sessionMetadata } from './sessionHeader.js';

/** The same as the limit on drives of a session. */
const MAX_KEYS = 255;
/** Label that marks these sessions in ListSessions. */
const LABELS: ReadonlyMap<string, string> = new Map([['rpc', serviceRules.Inspect.name]]);

export interface InspectOptions {
  readonly registry: SessionRegistry;
  readonly factory: SessionFactory;
  readonly probe: ForeignImageProbe;
  readonly replicas?: Replicas | undefined;
}

/** A drive whose writes are discarded. */
function readOnly(drive: InspectDrive): DriveSpec {
  return { ...drive, writable: false, label: undefined, cachemode: undefined, discard: undefined };
}

function checkKeys(keys: readonly InspectKey[]): void {
  if (keys.length > MAX_KEYS) throw badArgument('keys', `has ${keys.length} entries; at most ${MAX_KEYS} are allowed`);
  for (const [index, { device, key }] of keys.entries()) {
    if (!device.startsWith('/dev/') || device.includes('\0'))
      throw badArgument(`keys[${index}].device`, 'must be the name of a device, such as /dev/sda2');
    if (key.includes('\0')) throw badArgument(`keys[${index}].key`, 'must not contain a NUL character');
  }
}

/** The RPC. */
export function inspectRpc({ registry, factory, probe, replicas }: InspectOptions): Rpc {
  const inspect = async (call: AdmittedCall<InspectRequest>, answers: AnswerStream): Promise<void> => {
    const { rules, request, metadata, identity, client, access, disk, signal, requestId, requireFound, note } = call;
    if (request.drives.length === 0) throw badArgument('drives', 'names no disk image; at least one is needed');
    checkKeys(request.keys);
    const settings = factory.settings(request.settings);
    const drives = await drivesOf(request.drives.map(readOnly), access.imageRoots);
    const id = request.session_id ?? givenSessionId(metadata) ?? newSessionId();
    replicas?.requireName(id);
    note({ session: id, drives: drives.length });
    const session = registry.add(id, { identity, client, limits: access.limits }, () =>
      factory.create({ id, settings, labels: LABELS, owner: identity, client, disk, idleTimeoutMs: undefined }),
    );
    const heart = beating(answers, (): InspectResponse => ({ part: undefined, warnings: [] }));
    try {
      // Lets the client know that there is a session now.
      answers.opened(sessionMetadata(replicas?.idOf(id, identity) ?? id));
      session.addDrives(drives, rules.name);
      await session.launch(signal, requestId);
      const actions = actionCalls({
        ...{ session, signal, requestId, imageRoots: access.imageRoots, disk, probe, requireFound },
      });
      for await (const part of inspectionReport(actions, request)) await heart.write(part);
    } catch (error) {
      // During a shutdown SHUTTING_DOWN is the more useful error: the call changed nothing and can be retried.
      registry.refuseWhileDraining();
      throw error;
    } finally {
      heart.stop();
      await registry.discard(session);
    }
  };
  return streamingRpc(serviceRules.Inspect, inspect);
}
