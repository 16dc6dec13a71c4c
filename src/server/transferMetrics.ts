/** Metrics of files that clients send and receive. */
import { Counter } from 'prom-client';
import { metrics } from './metrics.js';

const transferred = new Counter({
  name: 'guestfs_transferred_bytes_total',
  help: 'Bytes of files that clients have sent (upload) and received (download).',
  labelNames: ['direction'] as const,
  registers: [metrics],
});

const uploaded = transferred.labels('upload');
const downloaded = transferred.labels('download');

/** Counts a chunk of an upload. */
export function countUpload({ length }: Buffer): void {
  uploaded.inc(length);
}

/** Counts pieces of a download. */
export function countDownload(pieces: readonly Buffer[]): void {
  for (const { length } of pieces) downloaded.inc(length);
}
