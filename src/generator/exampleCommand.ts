/** Example calls as shell commands. */
import { isFileIn } from '../actions/shape.js';
import type { ActionDef } from '../actions/types.js';
import { pascalCase } from '../actions/names.js';
import { exampleFile, exampleRequest } from './exampleValues.js';

const ADDRESS = '127.0.0.1:50051';

/** Quotes text as one word of a POSIX shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/**
 * A call.
 * @param method service and RPC
 * @param data the messages that are sent
 * @param session ID of the session; omitted for a call that is not an action
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
