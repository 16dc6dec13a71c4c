/** The flags of `npm run scale`. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { VALUES } from './figures.mjs';
import { POLICIES } from './proxy.mjs';
import { placesOf } from './replica.mjs';
import { nodeOf } from './scenario.mjs';
import { TABLES } from './tables.mjs';

/** @param {string} text */
function amount(text) {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < 0)
    throw new InvalidArgumentError('It must be a number, 0 or more.');
  return value;
}

/** @param {string} text */
function positive(text) {
  const value = amount(text);
  if (value === 0) throw new InvalidArgumentError('It must be more than 0.');
  return value;
}

/** @param {string} text */
function whole(text) {
  const value = amount(text);
  if (!Number.isSafeInteger(value)) throw new InvalidArgumentError('It must be a whole number.');
  return value;
}

/** @param {string} text */
function wholePositive(text) {
  const value = whole(text);
  if (value === 0) throw new InvalidArgumentError('It must be 1 or more.');
  return value;
}

/** @param {string} text */
function list(text) {
  return text.split(',').map(wholePositive);
}

/**
 * @typedef {object} Flags
 * @property {number[]} nodes
 * @property {number} cores
 * @property {number} memory GiB
 * @property {number} memsize
 * @property {number} maxSessions
 * @property {number} pool
 * @property {'template' | 'cold'} launch
 * @property {number} load
 * @property {number} [rate]
 * @property {number} sessionSeconds
 * @property {number} compute
 * @property {'session' | 'inspect'} work
 * @property {number} burst
 * @property {import('./proxy.mjs').Policy} placing
 * @property {number} nodesPerProxy
 * @property {number} reportSeconds
 * @property {number} attempts
 * @property {number} hoursBetweenFailures
 * @property {number} repairSeconds
 * @property {boolean} update
 * @property {number} updateShare
 * @property {number} preStop
 * @property {number} drainDelay
 * @property {number} drainGrace
 * @property {number} cell
 * @property {number} warmUp
 * @property {number} seconds
 * @property {number} mostSessions
 * @property {number} seed
 */

/** @typedef {{ readonly flags: Flags, readonly tables: readonly import('./tables.mjs').TableName[] }} CommandLine */

const ABOUT = `Simulates the service on many nodes, with the figures that were measured on one, and prints
tables. See docs/scale.md. Tables: ${TABLES.join(', ')}; by default, all of them.`;

/**
 * @param {readonly string[]} args
 * @returns {CommandLine} exits with a message if they are invalid
 */
export function readCommandLine(args) {
  const command = new Command('npm run scale --').description(ABOUT).usage('[TABLE...] [OPTIONS]');
  /**
   * @param {string} flags
   * @param {string} text
   * @param {(text: string) => unknown} parse
   * @param {unknown} [standard]
   */
  const add = (flags, text, parse, standard) => {
    const option = new Option(flags, text).argParser(parse);
    command.addOption(standard === undefined ? option : option.default(standard));
  };
  command.argument('[tables...]');
  add('--nodes <LIST>', 'numbers of nodes for the tables of sizes', list, [1, 10, 100, 1000, 10_000]);
  add('--cores <N>', 'processors of a node', wholePositive, 16);
  add('--memory <GIB>', 'memory of a node', positive, 64);
  add('--memsize <MIB>', 'memory of a busy session', positive, VALUES.sessionMemory);
  add('--max-sessions <N>', 'sessions of a replica, if there is memory', wholePositive, VALUES.maxSessions);
  add('--pool <N>', 'clones that a replica keeps ready', whole, 4);
  command.addOption(new Option('--launch <KIND>', 'of sessions').choices(['template', 'cold']).default('template'));
  add('--load <SHARE>', 'of all places that are taken on average', positive, 0.7);
  add('--rate <N>', 'new sessions per second and node, instead of --load', positive);
  add('--session-seconds <S>', 'how long a session lasts, on average', positive, 60);
  add('--compute <S>', 'processor time that it uses, on average', amount, VALUES.inspection);
  const work = new Option('--work <KIND>', 'session: many calls; inspect: a single call').choices([
    'session',
    'inspect',
  ]);
  command.addOption(work.default('session'));
  add('--burst <N>', 'more sessions per node, within a second', whole, 0);
  command.addOption(new Option('--placing <POLICY>', 'of proxies').choices(POLICIES).default('random-two'));
  add('--nodes-per-proxy <N>', 'there are two proxies at least', wholePositive, 50);
  add('--report-seconds <S>', 'between two load reports, for orca', positive, 10);
  add('--attempts <N>', 'of a client, until it gives up', wholePositive, 12);
  add('--hours-between-failures <N>', 'of one node; 0: never', amount, 1000);
  add('--repair-seconds <S>', 'until a node is back', positive, 300);
  command.option('--no-update', 'without a rolling update');
  add('--update-share <SHARE>', 'of the nodes that are updated at a time, one at least', amount, 0.01);
  add('--pre-stop <S>', 'preStopSeconds of the chart', amount, VALUES.preStop);
  add('--drain-delay <S>', 'of the server: it serves on', amount, VALUES.drainDelay);
  add('--drain-grace <S>', 'of the server: half of it is for calls in progress', amount, VALUES.drainGrace);
  add('--cell <N>', 'replicas that know each other; 0: all', whole, 0);
  add('--warm-up <S>', 'before anything is counted; a third of --seconds at most', amount, 60);
  add('--seconds <S>', 'that are counted', positive, 180);
  add('--most-sessions <N>', 'then fewer seconds are counted, but a minute at least', wholePositive, 350_000);
  add('--seed <N>', 'of the random numbers', whole, 1);
  command.parse(args, { from: 'user' });
  const flags = /** @type {Flags} */ (command.opts());
  if (flags.compute > flags.sessionSeconds)
    command.error('error: --compute is part of --session-seconds and cannot be more');
  if (placesOf(nodeOf(flags)) === 0)
    command.error('error: a node has no place for a session: --memory is too small for --memsize and --pool');
  const names = /** @type {readonly string[]} */ (command.processedArgs[0] ?? []);
  const unknown = names.find((name) => !TABLES.some((table) => table === name));
  if (unknown !== undefined) command.error(`error: there is no table "${unknown}": ${TABLES.join(', ')}`);
  const tables = /** @type {readonly import('./tables.mjs').TableName[]} */ (names.length === 0 ? TABLES : names);
  return { flags, tables };
}
