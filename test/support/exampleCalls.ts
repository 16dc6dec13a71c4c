/** Makes the example calls of the reference. */
import { GuestfsRpcError } from '../../clients/typescript/src/index.js';
import { allActions } from '../../src/actions/areas.js';
import { isFileIn, isFileOut } from '../../src/actions/shape.js';
import type { ActionDef } from '../../src/actions/types.js';
import { exampleFile, exampleRequest } from '../../src/generator/exampleValues.js';
import { requestFields } from '../../src/generator/shape.js';
import type { SessionClient } from './testClient.js';

const byName = new Map(allActions.map((action) => [action.name, action]));

/** An action by its name; throws if it does not exist. */
export function actionNamed(name: string): ActionDef {
  const action = byName.get(name);
  if (action === undefined) throw new Error(`no action ${name}`);
  return action;
}

/** The request of an example, parsed from its JSON. */
export function decodedExample(action: ActionDef): Record<string, unknown> {
  const json = JSON.parse(JSON.stringify(exampleRequest(action))) as Record<string, unknown>;
  const types = new Map(requestFields(action).map(({ name, type }) => [name, type]));
  const decoded = Object.entries(json).map(([name, value]) => {
    switch (types.get(name)) {
      case 'int64':
        return [name, BigInt(value as string)];
      case 'bytes':
        return [name, Buffer.from(value as string, 'base64')];
      default:
        return [name, value];
    }
  });
  return Object.fromEntries(decoded) as Record<string, unknown>;
}

/** Makes a call with a request, according to the kind of its action; if it sends a file, it is the example's. */
export async function callWith(session: SessionClient, action: ActionDef, request: object): Promise<unknown> {
  if (isFileIn(action)) return session.upload(action.name, request, [exampleFile(action)]);
  if (isFileOut(action)) return session.download(action.name, request);
  return session.call(action.name, request);
}

/** Makes the call of an example. */
export function callExample(session: SessionClient, action: ActionDef): Promise<unknown> {
  return callWith(session, action, decodedExample(action));
}

/** The reason and the message that a call fails with; undefined if it succeeds. */
export async function outcomeOf(
  call: Promise<unknown>,
): Promise<{ readonly reason: string; readonly text: string } | undefined> {
  try {
    await call;
    return undefined;
  } catch (error) {
    if (!(error instanceof GuestfsRpcError)) throw error;
    return { reason: error.info?.reason ?? '', text: error.details };
  }
}
