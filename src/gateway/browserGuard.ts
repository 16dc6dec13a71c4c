/**
 * Keeps out the pages that a browser shows: a page from anywhere can send requests to addresses that only the browser
 * reaches, such as this machine's loopback interface.
 *
 * - A request whose `Origin` is not on the operator's list is refused, and so is one that a browser declares to come
 *   from another site. Without the flag the list is empty.
 * - The `Host` must be an IP address, `localhost`, or a name that the operator has given: a page whose own name was made
 *   to resolve to this address (DNS rebinding) is of the same origin for the browser, and betrays itself only there.
 * - Calls need a content type that no form can have, so that browsers ask first (CORS), and are told no.
 *
 * Nothing that a browser adds by itself identifies a client: cookies are not used, and credentials are never allowed
 * across origins.
 */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { cors } from '@connectrpc/connect';
import { CHECKSUM_KEY } from '../server/transferChecks.js';
import { REQUEST_ID_HEADER } from '../server/requestIds/requestId.js';
import { SESSION_HEADER } from '../server/sessionHeader.js';

/** The pages and names that are let in. */
export interface Admission {
  /** Origins of pages, such as `https://console.example`. */
  readonly origins: readonly string[];
  /** Names in `Host`, without a port. */
  readonly hosts: readonly string[];
}

/** How long a browser may keep the answer to its question, seconds. */
const KEPT_SECONDS = 600;

const ALLOWED_HEADERS = [
  ...cors.allowedHeaders,
  'authorization',
  SESSION_HEADER,
  REQUEST_ID_HEADER,
  CHECKSUM_KEY,
  'traceparent',
  'tracestate',
].join(', ');

/** Headers and trailers of answers; those of unary Connect calls have a prefix. */
const TRAILERS = ['guestfs-size', 'guestfs-sha256', 'guestfs-crc32c'];
const EXPOSED_HEADERS = [
  ...cors.exposedHeaders,
  SESSION_HEADER,
  ...TRAILERS,
  ...TRAILERS.map((name) => `trailer-${name}`),
].join(', ');

/** Headers whose repetition could mean one thing here and another to whoever is in front. */
const ONCE: ReadonlySet<string> = new Set([
  'host',
  'origin',
  'authorization',
  'content-type',
  'content-length',
  'transfer-encoding',
]);

/** The name in a `Host`, in lower case; undefined if it is not well-formed. */
function hostName(host: string): string | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::\d{1,5})?$/.exec(host);
  return (match?.[1] ?? match?.[2])?.toLowerCase();
}

/** The first header that is repeated although it may not be. */
function repeatedHeader({ rawHeaders }: IncomingMessage): string | undefined {
  const seen = new Set<string>();
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] ?? '').toLowerCase();
    if (!ONCE.has(name)) continue;
    if (seen.has(name)) return name;
    seen.add(name);
  }
  return undefined;
}

export class BrowserGuard {
  readonly #origins: ReadonlySet<string>;
  readonly #hosts: ReadonlySet<string>;

  constructor({ origins, hosts }: Admission) {
    this.#origins = new Set(origins);
    this.#hosts = new Set(['localhost', ...hosts.map((host) => host.toLowerCase())]);
  }

  /** Why a request is refused, whatever it asks for; undefined: it is not. */
  objection(request: IncomingMessage): string | undefined {
    const { headers } = request;
    const repeated = repeatedHeader(request);
    if (repeated !== undefined) return `the header ${repeated} is there more than once`;
    const host = hostName(headers.host ?? '');
    if (host === undefined) return 'the header host is not a name or an address';
    if (isIP(host) === 0 && !this.#hosts.has(host))
      return `this gateway does not go by the name ${host}: --allow-host adds one`;
    const { origin } = headers;
    if (origin !== undefined && !this.#origins.has(origin))
      return `pages of ${origin} may not make calls here: --allow-origin allows it`;
    const site = headers['sec-fetch-site'];
    if (origin === undefined && site !== undefined && site !== 'same-origin' && site !== 'none')
      return 'pages of other sites may not make calls here';
    return undefined;
  }

  /** The headers of an answer to a page that is let in; none for other clients. */
  headersFor({ origin }: IncomingHttpHeaders): Readonly<Record<string, string>> {
    if (this.#origins.size === 0) return {};
    const vary = { vary: 'origin' };
    if (origin === undefined) return vary;
    return { ...vary, 'access-control-allow-origin': origin, 'access-control-expose-headers': EXPOSED_HEADERS };
  }

  /** The headers that tell a browser what a page that is let in may send. */
  preflightHeaders(headers: IncomingHttpHeaders): Readonly<Record<string, string>> {
    return {
      ...this.headersFor(headers),
      'access-control-allow-methods': 'POST',
      'access-control-allow-headers': ALLOWED_HEADERS,
      'access-control-max-age': String(KEPT_SECONDS),
    };
  }
}
