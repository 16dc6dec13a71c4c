/** The complete gRPC server, with one session whose daemon accepts uploads and serves downloads. */
import { ServerCredentials } from '@grpc/grpc-js';
import { download, upload } from '../../gen/calls/transfer.js';
import { silentLogger } from '../../src/common/logger.js';
import { DEFAULT_LIMITS } from '../../src/server/limits.js';
import { serve, type GrpcServer, type GrpcServerOptions } from '../../src/server/server.js';
import { sameForAll } from '../../src/security/access.js';
import { SessionRegistry } from '../../src/session/sessionRegistry.js';
import { cut } from './files.js';
import { launched, type LaunchedSession } from './sessions.js';

/** An upload, as received by the daemon. */
export interface SeenUpload {
  readonly data: Buffer;
  readonly cancelled: boolean;
  /** From the header of the request. */
  readonly progressHint: bigint;
}

export interface ServedSession {
  readonly server: GrpcServer;
  readonly session: LaunchedSession['session'];
  /** All uploads that have ended for the daemon. */
  readonly uploads: SeenUpload[];
  /** Resolves when the daemon accepts the next upload. */
  nextUpload(): Promise<void>;
  /** The content of downloads. */
  file: Buffer;
  /** What the daemon does between the end of an upload and its answer. */
  beforeAnswer: () => Promise<unknown>;
  stop(): Promise<void>;
}

/** Serves a session named `test`. */
export async function servedSession(more: Partial<GrpcServerOptions> = {}): Promise<ServedSession> {
  const { session, daemon } = await launched();
  const registry = new SessionRegistry(1, silentLogger);
  registry.add('test', { identity: undefined }, () => session);
  const unused = undefined as never;
  const options: GrpcServerOptions = {
    listen: '127.0.0.1:0',
    socketMode: 0o600,
    credentials: ServerCredentials.createInsecure(),
    identify: async () => undefined,
    registry,
    factory: unused,
    access: sameForAll({ imageRoots: { directories: [] }, allowed: new Set() }),
    probe: unused,
    debugService: false,
    requestMemory: 1 << 20,
    limits: DEFAULT_LIMITS,
    logger: silentLogger,
    ...more,
  };
  const server = await serve(options);
  let taken: () => void = () => undefined;
  const served: ServedSession = {
    server,
    session,
    uploads: [],
    nextUpload: () =>
      new Promise((resolve) => {
        taken = resolve;
      }),
    file: Buffer.alloc(0),
    beforeAnswer: async () => undefined,
    stop: () => server.stop(),
  };
  const work = async (): Promise<never> => {
    for (;;) {
      const call = await daemon.nextCall();
      if (call.procedure === upload.procedure) {
        taken();
        const { data, cancelled } = await daemon.nextFile();
        served.uploads.push({ data, cancelled, progressHint: call.progressHint });
        await served.beforeAnswer();
        // The daemon answers a cancelled upload with an error, as guestfsd does.
        if (cancelled) await daemon.fail(call, 'EINTR', 'the upload was cancelled');
        else await daemon.reply(call);
      } else if (call.procedure === download.procedure) {
        await daemon.reply(call);
        for (const piece of cut(served.file)) await daemon.chunk(piece);
        await daemon.lastChunk();
      } else {
        await daemon.reply(call);
      }
    }
  };
  // It ends with the session, with an error.
  work().catch(() => undefined);
  return served;
}
