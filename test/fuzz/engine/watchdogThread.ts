/** Entry point of the thread of {@link Watchdog}. */
import { workerData } from 'node:worker_threads';
import { watch } from './watchdog.js';

watch(workerData as Parameters<typeof watch>[0]);
