/** Calls as one types them into a shell. */
import { isFileIn } from '../actions/shape.js';
import type { ActionDef } from '../actions/types.js';
import { pascalCase } from '../actions/names.js';
import { exampleFile, exampleRequest } from './exampleValues.js';

const ADDRESS = '127.0.0.1:50051';

/** A word for a POSIX shell that stands for the text and nothing else. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/**
 * A call.
 * @param method service and RPC
 * @param data the messages that are sent
 * @param session the ID of its session; without one it is no call of an action
 */
export function grpcurl(method: string, data: string, session?: string): string {
  const header = session === undefined ? '' : `-H ${quoted(`guestfs-session: ${session}`)} `;
  return `grpcurl -plaintext ${header}-d ${quoted(data)} \\\n  ${ADDRESS} guestfs.v1.${method}`;
}

/** The example of an action. */
export function exampleCommand(service: string, action: ActionDef): string {
  const request = JSON.stringify(exampleRequest(action));
  const data = isFileIn(action)
    ? `{"arguments":${request}} {"chunk":"${exampleFile(action).toString('base64')}"}`
    : request;
  return grpcurl(`${service}/${pascalCase(action.name)}`, data, 'ID');
}
