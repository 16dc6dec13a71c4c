/** The connection of the command to a server, with what the environment says of it. */
import { readFileSync } from 'node:fs';
import { credentials, InterceptingCall, type ChannelCredentials, type Interceptor } from '@grpc/grpc-js';
import { connect, type GuestfsClient } from '../typescript/src/client.js';
import { parseAddress } from './address.js';

/** Environment variables, which the other clients have as well. */
export const CA = 'GUESTFS_GRPC_CA';
export const CERTIFICATE = 'GUESTFS_GRPC_CERT';
export const KEY = 'GUESTFS_GRPC_KEY';
export const TOKEN = 'GUESTFS_GRPC_TOKEN';

function contents(environment: NodeJS.ProcessEnv, variable: string): Buffer | null {
  const path = environment[variable];
  if (path === undefined || path === '') return null;
  try {
    return readFileSync(path);
  } catch (error) {
    throw new Error(`${variable}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

function tlsOf(environment: NodeJS.ProcessEnv): ChannelCredentials {
  const [key, certificate] = [contents(environment, KEY), contents(environment, CERTIFICATE)];
  if ((key === null) !== (certificate === null)) throw new Error(`${KEY} and ${CERTIFICATE} need each other`);
  return credentials.createSsl(contents(environment, CA), key, certificate);
}

/** Adds a bearer token to each call. grpc-js's own credentials of calls do not work without TLS, as behind a proxy. */
function withToken(token: string): Interceptor {
  return (options, next) =>
    new InterceptingCall(next(options), {
      start: (metadata, listener, start) => {
        metadata.set('authorization', `Bearer ${token}`);
        start(metadata, listener);
      },
    });
}

/**
 * A client for the server at an address.
 * @throws Error if the address or a file that the environment names is unusable
 */
export function connectTo(address: string, environment: NodeJS.ProcessEnv): GuestfsClient {
  const { target, tls } = parseAddress(address);
  const token = environment[TOKEN] ?? '';
  return connect(target, {
    ...(tls ? { credentials: tlsOf(environment) } : {}),
    ...(token === '' ? {} : { channel: { interceptors: [withToken(token)] } }),
  });
}
