/** All measurements, in the order in which they run. */
import type { Measurement } from '../measurement.js';
import { call } from './call.js';
import { churn } from './churn.js';
import { density } from './density.js';
import { launch } from './launch.js';
import { load } from './load.js';
import { names } from './names.js';
import { python } from './python.js';
import { rss } from './rss.js';
import { transfer } from './transfer.js';

export const measurements: readonly Measurement[] = [launch, call, load, transfer, python, names, rss, density, churn];
