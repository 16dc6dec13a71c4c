/** The Go client, against a scripted server of its own tests. */
import { expect, jest } from '@jest/globals';
import { GO_CLIENT, missingForGo, runGo } from '../../support/goClient.js';
import { itWhen } from '../../support/itWhen.js';

// The first run compiles gRPC.
jest.setTimeout(600_000);

itWhen('the Go client', missingForGo())('the Go client passes its own tests', async () => {
  await runGo(['vet', './...'], GO_CLIENT);
  expect(await runGo(['test', '-count=1', '-v', './...'], GO_CLIENT)).toMatch(/^ok/m);
});
