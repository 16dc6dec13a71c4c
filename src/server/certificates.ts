/** The server's certificates, from files that can be reloaded while it runs; open connections are not affected. */
import { readFile } from 'node:fs/promises';
import { createSecureContext, type PeerCertificate } from 'node:tls';
import { experimental, type ChannelCredentials, type ServerCredentials } from '@grpc/grpc-js';

/** PEM files. */
export interface TlsFiles {
  readonly certificate: string;
  readonly key: string;
  /** The authorities that must have issued the clients' certificates; undefined: clients need no certificate. */
  readonly clientCa: string | undefined;
}

interface Contents {
  readonly certificate: Buffer;
  readonly privateKey: Buffer;
  readonly caCertificate: Buffer | undefined;
}

/** @throws Error if a file cannot be read, or certificate and key do not match */
async function read({ certificate, key, clientCa }: TlsFiles): Promise<Contents> {
  const [cert, privateKey, caCertificate] = await Promise.all([
    readFile(certificate),
    readFile(key),
    clientCa === undefined ? undefined : readFile(clientCa),
  ]);
  // grpc-js drops all connections if it is given a certificate and a key that do not match.
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

  /** @throws Error if a file cannot be read, or certificate and key do not match */
  static async read(files: TlsFiles): Promise<Certificates> {
    return new Certificates(files, await read(files));
  }

  /** For a server; always uses the certificates that were read last. */
  credentials(): ServerCredentials {
    const provider = this.#provider();
    const withClients = this.files.clientCa !== undefined;
    return experimental.createCertificateProviderServerCredentials(
      provider,
      withClients ? provider : null,
      withClients,
    );
  }

  /**
   * For connections to other replicas, with the server's own certificate.
   * @param check returns what is wrong with the certificate at the other end, which an authority for clients has issued
   */
  peerCredentials(check: (certificate: PeerCertificate) => Error | undefined): ChannelCredentials {
    const provider = this.#provider();
    return experimental.createCertificateProviderChannelCredentials(provider, provider, {
      checkServerIdentity: (_host, certificate) => check(certificate),
    });
  }

  #provider(): experimental.CertificateProvider {
    return {
      addCaCertificateListener: (listener) => {
        this.#caListeners.add(listener);
        process.nextTick(() => this.#notifyCa(listener));
      },
      removeCaCertificateListener: (listener) => void this.#caListeners.delete(listener),
      addIdentityCertificateListener: (listener) => {
        this.#identityListeners.add(listener);
        process.nextTick(() => listener(this.#contents));
      },
      removeIdentityCertificateListener: (listener) => void this.#identityListeners.delete(listener),
    };
  }

  /**
   * Reloads the files, for new connections; if that fails, the current certificates stay in use.
   * @throws Error if a file cannot be read, or certificate and key do not match
   */
  async reload(): Promise<void> {
    this.#contents = await read(this.files);
    for (const listener of this.#caListeners) this.#notifyCa(listener);
    for (const listener of this.#identityListeners) listener(this.#contents);
  }

  #notifyCa(listener: CaListener): void {
    const { caCertificate } = this.#contents;
    listener(caCertificate === undefined ? null : { caCertificate });
  }
}
