/**
 * The tour: starts its own server, demonstrates it through the public API alone, and leaves
 * nothing behind, whatever happens.
 */
import { mkdir } from 'node:fs/promises';
import { connect } from '../clients/typescript/src/index.js';
import { Guide } from './guide.js';
import { Narrator } from './narrator.js';
import { LocalServer } from './server/localServer.js';
import { Workspace } from './server/workspace.js';
import { harmless } from './terminal/format.js';
import { Screen } from './terminal/screen.js';
import { styleFor } from './terminal/style.js';
import { runTour } from './tour.js';

const LOG_LINES = 20;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Aborts at the first signal that asks to stop; a second one ends the process as usual. */
function stopSignal(): AbortSignal {
  const controller = new AbortController();
  for (const signal of SIGNALS) process.once(signal, () => controller.abort(new Error(`stopped by ${signal}`)));
  return controller.signal;
}

/** The end of the appliance's log, while the session still exists. */
async function sessionLog({ current }: Guide, address: string): Promise<string> {
  if (current === undefined) return '';
  // A separate connection, because all calls on the other one have been cancelled.
  const client = connect(address);
  try {
    const log = await client.attach(current.session.id).log();
    return log.trimEnd().split('\n').slice(-LOG_LINES).map(harmless).join('\n');
  } catch {
    return '';
  } finally {
    client.close();
  }
}

async function tourOn(server: LocalServer, workspace: Workspace, out: Narrator, signal: AbortSignal): Promise<boolean> {
  const client = connect(server.address, { signal });
  const guide = new Guide(out, server, workspace, client);
  try {
    await runTour(guide, signal);
    return true;
  } catch (error) {
    if (signal.aborted) {
      out.failure(String((signal.reason as Error).message));
      return false;
    }
    out.failure(error instanceof Error ? error.message : String(error));
    const log = await sessionLog(guide, server.address);
    for (const [title, text] of [
      ['the appliance', log],
      ['the server', await server.log()],
    ] as const) {
      if (text !== '') out.screen.print(`\nThe last lines of the log of ${title}:\n${text}`);
    }
    return false;
  } finally {
    client.close();
  }
}

async function main(): Promise<boolean> {
  const screen = new Screen(process.stdout);
  const out = new Narrator(screen, styleFor(process.stdout));
  const signal = stopSignal();
  const workspace = await Workspace.create('guestfs-grpc-tour-');
  try {
    await mkdir(workspace.path('images'));
    const server = await LocalServer.start({
      imageRoots: [workspace.path('images')],
      logFile: workspace.path('server.log'),
    });
    screen.print(`A tour of guestfs-grpc through its gRPC API. Server: ${server.address}`);
    try {
      return await tourOn(server, workspace, out, signal);
    } finally {
      await server.stop();
    }
  } catch (error) {
    out.failure(error instanceof Error ? error.message : String(error));
    return false;
  } finally {
    await workspace.remove();
  }
}

process.exitCode = (await main()) ? 0 : 1;
