/**
 * `npm test`: sets everything up and runs all tests, from the fastest to the slowest. A
 * failed stage does not stop the later ones, so that one run shows everything. The last
 * line is the total: `N passed, N failed, N skipped`.
 *
 *   npm test                            everything
 *   npm test -- check                   lint, generated code, types, advisories
 *   npm test -- unit [PATTERN]          tests that need no qemu
 *   npm test -- fuzz [TARGET]           fuzzing, a minute for each target; among all tests, beside the integration tests
 *   npm test -- integration [PATTERN]   tests with real appliances
 *   npm test -- differential            the same calls to libguestfs's C library; twice as many as among all tests
 *   npm test -- conformance [REGEX]     libguestfs's own tests
 *   npm test -- durability              kills and losses of power under load
 *   npm test -- soak                    three minutes of work with faults
 *   npm test -- mesh [PROXY]            replicas behind Envoy, nginx and HAProxy
 *   npm test -- security [PATTERN]      those of the unit and integration tests that concern security
 *   npm test -- faults [PATTERN]        those that are fault drills
 */
import { runConformance } from './conformance/runConformance.mjs';
import { ensureAppliance } from './setup/appliance.mjs';
import { ensureAllBuilt } from './setup/build.mjs';
import { ensureGenerated } from './setup/generated.mjs';
import { ensureNodePackages } from './setup/nodePackages.mjs';
import { appliancePurposes } from './setup/setUp.mjs';
import { ensureSystemPackages } from './setup/systemPackages.mjs';
import { inProject } from './support/project.mjs';
import { StepFailed } from './support/run.mjs';
import { duration, say, sinceStart } from './support/say.mjs';
import { checkAdvisories } from './testing/audit.mjs';
import {
  checkFormat,
  checkGenerated,
  checkProto,
  checkReleasedApi,
  checkStyle,
  checkTypes,
} from './testing/checks.mjs';
import { envoyForTests } from './testing/envoy.mjs';
import { runFuzz } from './testing/fuzz.mjs';
import { runJest } from './testing/jest.mjs';
import { runProgram } from './testing/program.mjs';
import { checkLeftovers } from './testing/leftovers.mjs';
import { Sandbox } from './testing/sandbox.mjs';
import { FAULT_TESTS } from './testing/faultTests.mjs';
import { SECURITY_TESTS } from './testing/securityTests.mjs';
import { add, nothing, oneFailed, tallyLine } from './testing/tally.mjs';
import { pathsOf, tallyByPoint } from './testing/testSubset.mjs';

/** @typedef {import('./testing/tally.mjs').Tally} Tally */
/** @typedef {'check' | 'unit' | 'fuzz' | 'integration' | 'differential' | 'conformance' | 'durability' | 'soak' | 'mesh' | 'security' | 'faults'} Part */

const MINUTE_MS = 60_000;
/** For each target of the fuzzer. */
const FUZZ_SECONDS = 60;
/** For tests that hang, not for slow ones: some make keys or start programs, on a machine that does other things. */
const UNIT_TEST_TIMEOUT_MS = 30_000;
const INTEGRATION_TEST_TIMEOUT_MS = 5 * MINUTE_MS;
/** Test files that boot virtual machines, by their compiled paths; the others boot none. */
const INTEGRATION_TESTS = 'dist/test/(integration/|.*\\.integration\\.test)';
/** Test files that also call libguestfs's C library. */
const DIFFERENTIAL_TESTS = 'dist/test/differential/';
/** Test files that run several servers behind proxies. */
const MESH_TESTS = 'dist/test/mesh/';
/** The releases whose appliances are tested: the default, and Debian 12. */
const SUITES = [undefined, 'bookworm'];

const LONGEST_FIRST = ['--testSequencer', inProject('scripts', 'testing', 'longestFirst.mjs')];

/** Short forms of `npm test -- differential`, `npm run durability` and `npm run soak`. */
const DIFFERENTIAL_TIMES = '0.5';
const KILLS = ['--kills', '10'];
const POWER_LOSS = ['--power-loss', '--cuts', '4', '--only', 'raw'];
const SOAK = ['--minutes', '3'];

/** @type {readonly Part[]} */
const PARTS = [
  'check',
  'unit',
  'fuzz',
  'integration',
  'differential',
  'conformance',
  'durability',
  'soak',
  'mesh',
  'security',
  'faults',
];
const [asked, pattern] = process.argv.slice(2);
if (asked !== undefined && !PARTS.some((part) => part === asked)) {
  say(`unknown part of the tests: ${asked}; choose one of ${PARTS.join(', ')}`);
  process.exit(2);
}

/** @param {Part} part */
const wanted = (part) => asked === undefined || asked === part;
/** Parts of two other parts. @type {Readonly<Partial<Record<string, import('./testing/testSubset.mjs').TestsByPoint>>>} */
const SUBSETS = { security: SECURITY_TESTS, faults: FAULT_TESTS };
const subset = SUBSETS[asked ?? ''];
const needsMachines =
  subset !== undefined ||
  ['integration', 'differential', 'conformance', 'durability', 'soak', 'mesh'].some((part) =>
    wanted(/** @type {Part} */ (part)),
  );
/** Parts that need the default appliance only. */
const DEFAULT_APPLIANCE = ['conformance', 'durability', 'soak', 'mesh', ...Object.keys(SUBSETS)];

/** @type {{ name: string, tally: Tally, ms: number }[]} */
const done = [];

/**
 * Runs one stage.
 * @param {string} name
 * @param {() => Promise<Tally>} stage
 */
async function runStage(name, stage) {
  say(`── ${name}`);
  const startedAt = performance.now();
  let tally;
  try {
    tally = await stage();
  } catch (error) {
    say(error instanceof StepFailed ? error.message : error instanceof Error ? String(error.stack) : String(error));
    tally = oneFailed;
  }
  const ms = performance.now() - startedAt;
  done.push({ name, tally, ms });
  say(`${name}: ${tallyLine(tally)} (${duration(ms)})`);
  return tally.failed === 0;
}

/**
 * A set-up stage: it counts only if it fails.
 * @param {() => Promise<unknown>} action
 */
const setUp = (action) => async () => {
  await action();
  return nothing;
};

/** @param {Sandbox} sandbox */
async function compareWithLibrary({ env }) {
  if (!wanted('differential')) return;
  const short = asked === undefined && process.env.GUESTFS_GRPC_DIFFERENTIAL_TIMES === undefined;
  await runStage('differential test', () =>
    runJest({
      name: 'differential',
      paths: DIFFERENTIAL_TESTS,
      only: pattern,
      env: short ? { ...env, GUESTFS_GRPC_DIFFERENTIAL_TIMES: DIFFERENTIAL_TIMES } : env,
      limitMs: 30 * MINUTE_MS,
    }),
  );
}

/** The tests that kill servers under load, and those behind proxies. @param {Sandbox} sandbox */
async function breakAndRoute({ env }) {
  if (wanted('durability')) {
    const run = { name: 'durability', env, limitMs: 10 * MINUTE_MS };
    await runStage('durability: kills', () => runProgram({ ...run, flags: KILLS }));
    await runStage('durability: power loss', () => runProgram({ ...run, flags: POWER_LOSS }));
  }
  if (wanted('soak')) {
    await runStage('soak', () => runProgram({ name: 'soak', flags: SOAK, env, limitMs: 10 * MINUTE_MS }));
  }
  if (wanted('mesh')) {
    await runStage('mesh', async () =>
      runJest({
        name: 'mesh',
        paths: MESH_TESTS,
        only: pattern,
        // They mostly wait for silent calls.
        flags: ['--maxWorkers=3'],
        env: { ...env, ...(await envoyForTests()) },
        limitMs: 10 * MINUTE_MS,
      }),
    );
  }
}

/** libguestfs's own tests of its API. @param {Sandbox} sandbox */
async function runConformanceTests({ env }) {
  if (!wanted('conformance')) return;
  await runStage('conformance', () =>
    runConformance({
      directory: inProject('..', 'shared', 'conformance'),
      only: asked === undefined ? undefined : pattern,
      env,
      limitMs: 20 * MINUTE_MS,
    }),
  );
}

async function main() {
  const packagesReady = await runStage(
    'packages',
    setUp(async () => {
      await ensureSystemPackages(
        needsMachines
          ? [
              'server',
              ...appliancePurposes(),
              'conformance',
              'test',
              ...(wanted('mesh') ? /** @type {const} */ (['mesh']) : []),
            ]
          : [],
      );
      await ensureNodePackages();
    }),
  );
  if (!packagesReady) return;

  if (wanted('check')) {
    await runStage('generated code', checkGenerated);
    await runStage('format', checkFormat);
    await runStage('buf lint', checkProto);
    await runStage('buf breaking', checkReleasedApi);
    // Each uses one core.
    await Promise.all([runStage('eslint', checkStyle), runStage('types', checkTypes)]);
    await runStage('npm audit', checkAdvisories);
  } else {
    await runStage(
      'build',
      setUp(async () => {
        await ensureGenerated();
        await ensureAllBuilt();
      }),
    );
  }
  if (wanted('unit') || subset !== undefined) {
    await runStage('unit tests', () =>
      runJest({
        name: 'unit',
        paths: subset === undefined ? 'dist/test/' : pathsOf(subset),
        not: `${INTEGRATION_TESTS}|${DIFFERENTIAL_TESTS}|${MESH_TESTS}`,
        only: pattern,
        flags: ['--maxWorkers=100%', `--testTimeout=${String(UNIT_TEST_TIMEOUT_MS)}`, ...LONGEST_FIRST],
        limitMs: 20 * MINUTE_MS,
      }),
    );
  }
  if (asked === 'fuzz') await runStage('fuzzing', () => runFuzz({ only: pattern, seconds: FUZZ_SECONDS }));
  if (!needsMachines) return;

  for (const suite of asked !== undefined && DEFAULT_APPLIANCE.includes(asked) ? [undefined] : SUITES)
    await runStage(
      suite === undefined ? 'appliance' : `appliance of ${suite}`,
      setUp(() => ensureAppliance(suite)),
    );
  const sandbox = new Sandbox();
  try {
    const fuzzing =
      asked === undefined
        ? runStage('fuzzing', () => runFuzz({ seconds: FUZZ_SECONDS, jobs: 1, aside: true }))
        : Promise.resolve();
    if (wanted('integration') || subset !== undefined) {
      await runStage('integration tests', () =>
        runJest({
          name: 'integration',
          // An appliance uses a little more than one core: on two cores two at a time are fastest.
          paths: subset === undefined ? INTEGRATION_TESTS : `(?=.*${INTEGRATION_TESTS}).*${pathsOf(subset)}`,
          only: pattern,
          flags: ['--maxWorkers=2', `--testTimeout=${String(INTEGRATION_TEST_TIMEOUT_MS)}`, ...LONGEST_FIRST],
          env: asked === 'security' ? { ...sandbox.env, GUESTFS_GRPC_ALL_ESCAPES: '1' } : sandbox.env,
          limitMs: 60 * MINUTE_MS,
        }),
      );
    }
    // Each uses about one core, or waits.
    await Promise.all([compareWithLibrary(sandbox), breakAndRoute(sandbox).then(() => runConformanceTests(sandbox))]);
    await fuzzing;
    await runStage('nothing left behind', () => checkLeftovers(sandbox));
  } finally {
    try {
      sandbox.remove();
    } catch (error) {
      // A failed test may have left a mount; report the counts nevertheless.
      say(
        `${sandbox.directory} cannot be removed completely: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }
}

await main();
const total = done.reduce((sum, { tally }) => add(sum, tally), nothing);
console.log('');
for (const skip of total.skips ?? []) console.log(`SKIPPED ${skip}`);
for (const failure of total.failures ?? []) console.log(`FAILED ${failure}`);
for (const { name, tally, ms } of done)
  console.log(`${name.padEnd(22)}${duration(ms).padStart(12)}   ${tallyLine(tally)}`);
if (subset !== undefined)
  for (const [point, tally] of tallyByPoint(subset, total.files)) console.log(`${point.padEnd(34)}${tallyLine(tally)}`);
console.log(`total ${sinceStart()}`);
console.log(tallyLine(total));
process.exitCode = total.failed === 0 ? 0 : 1;
