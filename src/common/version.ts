/** The version of this server. */
import { readFileSync } from 'node:fs';

/** As stated in package.json, which is located relative to this file in dist. */
export const SERVER_VERSION = (
  JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { readonly version: string }
).version;
