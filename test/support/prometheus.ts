/** A real Prometheus, where it is installed. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from './eventually.js';
import { RULES } from './monitoring.js';
import { freePort } from './diskServers.js';

/** Why there is no Prometheus; undefined: there is. */
export function withoutPrometheus(): string | undefined {
  const missing = ['prometheus', 'promtool'].filter((name) => spawnSync(name, ['--version']).status !== 0);
  return missing.length === 0 ? undefined : `${missing.join(' and ')} not installed (Debian package prometheus)`;
}

/** One series of an answer. */
export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

export interface Prometheus {
  /** @throws Error if the query cannot be evaluated */
  query(query: string): Promise<readonly Series[]>;
  /** Names of the alert rules that it has loaded, and how evaluating each went. */
  rules(): Promise<readonly { readonly name: string; readonly health: string }[]>;
  stop(): Promise<void>;
}

/** Starts a Prometheus that scrapes `target` (host:port) each second, and evaluates the alert rules. */
export async function startPrometheus(target: string): Promise<Prometheus> {
  const directory = mkdtempSync(join(tmpdir(), 'guestfs-grpc-prometheus-'));
  const config = join(directory, 'prometheus.yml');
  writeFileSync(
    config,
    JSON.stringify({
      global: { scrape_interval: '1s', evaluation_interval: '1s' },
      rule_files: [RULES],
      scrape_configs: [{ job_name: 'guestfs', static_configs: [{ targets: [target] }] }],
    }),
  );
  const address = `127.0.0.1:${await freePort()}`;
  const child = spawn(
    'prometheus',
    [
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(directory, 'data')}`,
      `--web.listen-address=${address}`,
      '--log.level=warn',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let log = '';
  child.stderr.on('data', (bytes: Buffer) => (log += bytes.toString()));
  const exited = once(child, 'exit');
  const ask = async (path: string): Promise<Record<string, never>> => {
    const response = await fetch(`http://${address}/api/v1/${path}`);
    const { status, error, data } = (await response.json()) as Record<string, never>;
    if (status !== 'success') throw new Error(`${path}: ${String(error)}`);
    return data as unknown as Record<string, never>;
  };
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exited;
    rmSync(directory, { recursive: true });
  };
  try {
    await eventually(async () => {
      if (child.exitCode !== null) throw new Error(`prometheus ended:\n${log}`);
      return fetch(`http://${address}/-/ready`).then(
        ({ ok }) => ok,
        () => false,
      );
    }, 30_000);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    query: async (query) =>
      (await ask(`query?query=${encodeURIComponent(query)}`))['result'] as unknown as readonly Series[],
    rules: async () => {
      const { groups } = (await ask('rules')) as unknown as {
        readonly groups: readonly { readonly rules: readonly { readonly name: string; readonly health: string }[] }[];
      };
      return groups.flatMap(({ rules }) => rules);
    },
    stop,
  };
}
