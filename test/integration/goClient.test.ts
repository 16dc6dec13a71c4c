/** The Go client on real appliances. */
import { cp, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, jest } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { GO_CLIENT, missingForGo, runGo } from '../support/goClient.js';
import { itWhen } from '../support/itWhen.js';
import { serverForTests } from '../support/scene.js';

// The first run compiles gRPC.
const TIME_LIMIT_MS = 600_000;
/** A checkout of libguestfs, for its own tests of its binding. */
const SOURCES = process.env['GUESTFS_GRPC_LIBGUESTFS_SOURCES'];
/** It calls functions that only libguestfs built for its tests has ... */
const LEFT_OUT = 'guestfs_900_rstringlist_test.go';
/** ... and has a function that another test uses. */
const SHARED = `package guestfs

import "slices"

func equal(xs []string, ys []string) bool { return slices.Equal(xs, ys) }
`;

const missing = missingForGo();

describeWithAppliance('the Go client', () => {
  const scene = serverForTests({ flags: ['--allow', 'host-actions'] });
  jest.setTimeout(TIME_LIMIT_MS);

  itWhen('the Go client', missing)(
    'works with events, cancellation and files, and with a server of its own',
    async () => {
      const output = await runGo(['test', '-count=1', '-v', '-run', 'TestLive|TestLocalServer', '.'], GO_CLIENT, {
        GUESTFS_GRPC_LIVE: scene.server.address,
      });
      expect(output).toContain('--- PASS: TestLive');
    },
  );

  const tests = SOURCES === undefined ? '' : join(SOURCES, 'golang', 'src', 'libguestfs.org', 'guestfs');
  const missingTests = missing ?? (existsSync(tests) ? undefined : 'GUESTFS_GRPC_LIBGUESTFS_SOURCES names no sources');

  itWhen("libguestfs's golang tests", missingTests)(
    "passes libguestfs's own tests of its binding, unchanged",
    async () => {
      const copy = await mkdtemp(join(tmpdir(), 'go-client-'));
      try {
        await cp(GO_CLIENT, copy, { recursive: true, filter: (name) => !name.endsWith('_test.go') });
        const names = (await readdir(tests)).filter((name) => name.endsWith('_test.go') && name !== LEFT_OUT);
        expect(names.length).toBeGreaterThan(5);
        for (const name of names) await cp(join(tests, name), join(copy, name));
        await writeFile(join(copy, 'shared_test.go'), SHARED);
        await runGo(['test', '-count=1', './...'], copy, { GUESTFS_GRPC_SERVER: scene.server.address });
      } finally {
        await rm(copy, { recursive: true });
      }
    },
  );
});
