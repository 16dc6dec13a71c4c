/** The server's certificates, from files that can be read again while it runs; open connections go on. */
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { experimental, type ServerCredentials } from '@grpc/grpc-js';

/** Files of PEM. */
export interface TlsFiles {
  readonly certificate: string;
  readonly key: string;
  /** Whose certificates clients must have; undefined: they need none. */
  readonly clientCa: string | undefined;
}

interface Contents {
  readonly certificate: Buffer;
  readonly privateKey: Buffer;
  readonly caCertificate: Buffer | undefined;
}

/** @throws Error if a file cannot be read, or certificate and key do not go together */
async function read({ certificate, key, clientCa }: TlsFiles): Promise<Contents> {
  const [cert, privateKey, caCertificate] = await Promise.all([
    readFile(certificate),
    readFile(key),
    clientCa === undefined ? undefined : readFile(clientCa),
  ]);
  // grpc-js drops all connections when it is given what does not fit.
  createSecureContext({ cert, key: privateKey, ca: caCertificate });
  return { certificate: cert, privateKey, caCertificate };
}

type IdentityListener = experimental.IdentityCertificateUpdateListener;
type CaListener = experimental.CaCertificateUpdateListener;

export class Certificates {
  readonly #identityListeners = new Set<IdentityListener>();
  readonly #caListeners = new Set<CaListener>();
  #contents: Contents;

  private constructor(
    private readonly files: TlsFiles,
    contents: Contents,
  ) {
    this.#contents = contents;
  }

  /** @throws Error if a file cannot be read, or certificate and key do not go together */
  static async read(files: TlsFiles): Promise<Certificates> {
    return new Certificates(files, await read(files));
  }

  /** For a server: always those that were read last. */
  credentials(): ServerCredentials {
    const provider: experimental.CertificateProvider = {
      addCaCertificateListener: (listener) => {
        this.#caListeners.add(listener);
        process.nextTick(() => this.#tellCa(listener));
      },
      removeCaCertificateListener: (listener) => void this.#caListeners.delete(listener),
      addIdentityCertificateListener: (listener) => {
        this.#identityListeners.add(listener);
        process.nextTick(() => listener(this.#contents));
      },
      removeIdentityCertificateListener: (listener) => void this.#identityListeners.delete(listener),
    };
    const withClients = this.files.clientCa !== undefined;
    return experimental.createCertificateProviderServerCredentials(
      provider,
      withClients ? provider : null,
      withClients,
    );
  }

  /**
   * Reads the files again, for connections to come; when that fails, what was read before stays in use.
   * @throws Error if a file cannot be read, or certificate and key do not go together
   */
  async reload(): Promise<void> {
    this.#contents = await read(this.files);
    for (const listener of this.#caListeners) this.#tellCa(listener);
    for (const listener of this.#identityListeners) listener(this.#contents);
  }

  #tellCa(listener: CaListener): void {
    const { caCertificate } = this.#contents;
    listener(caCertificate === undefined ? null : { caCertificate });
  }
}
