/** Types and helpers of the generated codecs in gen/calls. */
import type { XdrDecoder } from '../xdr/decoder.js';
import type { XdrEncoder } from '../xdr/encoder.js';
import type { DaemonVersion } from './daemonVersion.js';

/** One procedure of the daemon: how its arguments are written and its value is read. */
export interface DaemonCall<Request, Response> {
  /** libguestfs name of the action. */
  readonly action: string;
  readonly procedure: number;
  /** Writes the arguments and returns the bitmask of the optional ones. */
  encode(writer: XdrEncoder, request: Request, daemon: DaemonVersion): bigint;
  decode(reader: XdrDecoder): Response;
}

/** A request or response without fields. */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- ts-proto generates this type for an empty message
export interface NoValue {}

/** A call with unknown types. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- requests are contravariant, so unknown does not work
export type AnyDaemonCall = DaemonCall<any, any>;

/** The bitmask of optional arguments: bit i is set if value i is given. */
export function bitmask(values: readonly unknown[]): bigint {
  return values.reduce<bigint>((mask, value, index) => (value === undefined ? mask : mask | (1n << BigInt(index))), 0n);
}
