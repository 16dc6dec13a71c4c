/**
 * RPCs that are not actions but do the work of many in one call. Their messages are written by hand.
 */

/** Their names: each has a handler in the server. */
export type CompositeRpcName = 'Inspect';

/** An RPC that is answered in a stream and changes nothing. */
export interface CompositeRpcDef {
  /** Its name; its messages are `<name>Request` and `<name>Response`. */
  readonly name: CompositeRpcName;
  /** The hand-written .proto file with its messages, without the ending. */
  readonly messages: string;
  /** One sentence, without a full stop. */
  readonly summary: string;
  readonly description: string;
  /** The page in docs that explains it. */
  readonly guide: string;
  /** A request as grpcurl takes it. */
  readonly example: string;
}

export const inspect: CompositeRpcDef = {
  name: 'Inspect',
  messages: 'inspection_report',
  summary: 'Reports all that can be found out about disk images, in one call',
  description:
    'Needs no session: the server launches one for the call, with the drives read-only, and ends it with the call, however that ends. ' +
    'What cannot be determined about a broken guest is reported as a warning.',
  guide: 'inspection.md',
  example: '{ "drives": [{ "path": "disk.img", "format": "raw" }] }',
};
