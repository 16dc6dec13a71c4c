/** The span of a call that is passed on to another replica. */
import { status, type Metadata, type StatusObject } from '@grpc/grpc-js';
import { GuestfsError } from '../../common/errors.js';
import { splitAddress } from '../address.js';
import { reasonIn } from '../errorDetails.js';
import { methodIn, rpcAttributes, type CallSpan } from './callSpan.js';

/**
 * Passes on a call, as a part of its span.
 * @param span undefined: the call has none, and is passed on with its own metadata
 * @param to path of the method, and address of the other replica
 * @param pass gets the metadata for the other replica
 */
export async function passedOnIn(
  span: CallSpan | undefined,
  to: { readonly path: string; readonly address: string; readonly replica: string },
  metadata: Metadata,
  pass: (metadata: Metadata) => Promise<StatusObject>,
): Promise<StatusObject> {
  if (span === undefined) return pass(metadata);
  const { host, port } = splitAddress(to.address) ?? { host: to.address, port: undefined };
  const passage = span.child(methodIn(to.path), 'client', {
    ...rpcAttributes(to.path),
    'server.address': host,
    ...(port === undefined ? {} : { 'server.port': port }),
    'guestfs.replica': to.replica,
  });
  const passed = metadata.clone();
  passage.passOn(passed);
  try {
    const end = await pass(passed);
    passage.set({ 'rpc.response.status_code': status[end.code] });
    passage.end(end.code === status.OK ? undefined : (reasonIn(end.metadata) ?? status[end.code]));
    return end;
  } catch (error) {
    passage.end(GuestfsError.from(error).reason);
    throw error;
  }
}
