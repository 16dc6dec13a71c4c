/** Certificates of a temporary certificate authority for tests. */
import { randomUUID } from 'node:crypto';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './diskImages.js';

/** PEM files. */
export interface Certificate {
  readonly key: string;
  readonly certificate: string;
}

function make(directory: string, name: string, ...options: readonly string[]): Certificate {
  const path = join(directory, randomUUID());
  const files = { key: `${path}.key`, certificate: `${path}.pem` };
  run(
    'openssl',
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '2',
    '-subj',
    `/CN=${name}`,
    '-keyout',
    files.key,
    '-out',
    files.certificate,
    ...options,
  );
  return files;
}

/** Creates an authority whose certificate is also valid as a server certificate for 127.0.0.1. */
export function makeAuthority(directory: string): Certificate {
  return make(directory, `guestfs-grpc test ${randomUUID()}`, '-addext', 'subjectAltName=IP:127.0.0.1');
}

/** Issues a server certificate for a name such as `DNS:host`. */
export function makeCertificate(directory: string, { key, certificate }: Certificate, name: string): Certificate {
  return make(
    directory,
    'server',
    '-CA',
    certificate,
    '-CAkey',
    key,
    '-addext',
    `subjectAltName=${name}`,
    '-addext',
    'basicConstraints=critical,CA:FALSE',
  );
}

/** The names in a client certificate: a subject such as `/CN=name`, and values of alternative names by type. */
export interface ClientNames {
  readonly subject?: string;
  readonly alternative?: readonly (readonly [type: 'URI' | 'DNS' | 'IP' | 'email' | 'dirName', value: string])[];
}

/** A certificate for a client. */
export function makeClientCertificate(
  directory: string,
  { key, certificate }: Certificate,
  { subject = '/', alternative = [] }: ClientNames,
): Certificate {
  const path = join(directory, randomUUID());
  const files = { key: `${path}.key`, certificate: `${path}.pem` };
  const config = `${path}.conf`;
  // In a separate section, a value may contain commas.
  const names = alternative.map(([type, value], index) => `${type}.${index} = ${value}`);
  writeFileSync(
    config,
    [
      '[req]\ndistinguished_name = none\nx509_extensions = client\n[none]\n[holder]\nCN = somebody',
      '[client]\nbasicConstraints = critical,CA:FALSE',
      ...(names.length === 0 ? [] : ['subjectAltName = @names\n[names]', ...names]),
      '',
    ].join('\n'),
  );
  run(
    'openssl',
    ...['req', '-x509', '-config', config, '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
    ...['-nodes', '-days', '2', '-subj', subject, '-CA', certificate, '-CAkey', key],
    ...['-keyout', files.key, '-out', files.certificate],
  );
  return files;
}

/** Makes all programs on this host trust an authority, until the file whose path is returned is removed. */
export function trust({ certificate }: Certificate): string {
  // Named as OpenSSL expects it; GnuTLS reads every file in the directory.
  const path = `/etc/ssl/certs/${run('openssl', 'x509', '-noout', '-subject_hash', '-in', certificate).trim()}.0`;
  copyFileSync(certificate, path);
  return path;
}
