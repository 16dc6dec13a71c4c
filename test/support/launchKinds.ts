/** Sessions that are launched in the way that a test requires, and shell output from their appliances. */
import { expect } from '@jest/globals';
import { LaunchKind, type DriveSpec, type SessionSettings } from '../../gen/proto/guestfs/v1/session.js';
import { eventually } from './eventually.js';
import { launchSession, type Scene } from './scene.js';
import type { SessionClient } from './testClient.js';

/** Value of `--launch`. */
export type Kind = 'template' | 'cold';

export const KINDS: Record<Kind, LaunchKind> = { template: LaunchKind.TEMPLATE, cold: LaunchKind.COLD };

/** With new settings, the second launch is a clone unless another template was being created; the third always is. */
const MOST_LAUNCHES = 3;

const count = (text: string, part: string): number => text.split(part).length - 1;

/**
 * A session that was launched in this way. With settings that have no template yet, launches are cold boots
 * until it has been created; these sessions are deleted, and the launch is repeated.
 */
export async function launchAs(
  kind: Kind,
  { client, server }: Scene,
  drives: DriveSpec[],
  given: Partial<SessionSettings> = {},
): Promise<SessionClient> {
  for (let launches = 1; ; launches += 1) {
    const made = count(server.log(), 'made a template');
    const session = await launchSession(client, drives, given);
    const launchedAs = (await client.getSession(session.id)).launch_kind;
    if (launchedAs === KINDS[kind]) return session;
    // If a server unexpectedly cold-boots, or cannot clone, that will not change later.
    expect({ launches, launchedAs, log: server.log() }).toEqual({
      launches: expect.any(Number),
      launchedAs: LaunchKind.COLD,
      log: expect.not.stringContaining('no template for now'),
    });
    expect({ kind, moreLaunches: launches < MOST_LAUNCHES }).toEqual({ kind: 'template', moreLaunches: true });
    await client.deleteSession(session.id);
    await eventually(
      () => count(server.log(), 'made a template') > made || server.log().includes('no template for now'),
    );
  }
}

/** The output of a shell in the appliance. */
export async function inGuest(session: SessionClient, script: string): Promise<string> {
  return session.call('debug', { subcmd: 'sh', extraargs: [script] });
}

/** The lines that a shell in the appliance prints. */
export async function linesInGuest(session: SessionClient, script: string): Promise<string[]> {
  return (await inGuest(session, script)).trim().split('\n');
}
