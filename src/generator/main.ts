/**
 * Generates everything that follows from the action list:
 * proto/guestfs/v1, gen/calls, gen/services.ts, gen/libraryActions.ts, the actions in clients/typescript, python and go,
 * docs/reference; and dist/reference, which is long and not committed.
 *
 * Usage: node main.js [--check]; with --check it exits with 1 when anything changed.
 */
import { areas } from '../actions/areas.js';
import { checkActions } from './checks.js';
import { emitAreaCalls, emitCallIndex, emitStructCalls } from './emitCalls.js';
import { emitAreaReference, emitReferenceIndex } from './emitReference.js';
import { emitSearchPage } from './emitSearchPage.js';
import { emitGoActions, emitGoStructs } from './emitGo.js';
import { emitPythonActions, emitPythonSpecs } from './emitPython.js';
import { emitAreaProto, emitStructsProto } from './emitProto.js';
import { emitLibraryActions, emitServices } from './emitServices.js';
import { emitTypescriptActions } from './emitTypescript.js';
import { writeGenerated } from './output.js';

const problems = checkActions();
if (problems.length) {
  console.error(`the action list breaks its rules:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
  process.exit(1);
}

const files = new Map<string, string>();
const callAreas: string[] = [];
for (const area of areas) {
  if (area.service !== undefined) {
    files.set(`proto/guestfs/v1/${area.name}.proto`, emitAreaProto(area));
    files.set(`docs/reference/${area.name}.md`, emitAreaReference(area));
  }
  const calls = emitAreaCalls(area);
  if (calls === undefined) continue;
  files.set(`gen/calls/${area.name}.ts`, calls);
  callAreas.push(area.name);
}
files.set('proto/guestfs/v1/structs.proto', emitStructsProto());
files.set('gen/calls/structs.ts', emitStructCalls());
files.set('gen/calls/index.ts', emitCallIndex(callAreas));
files.set('gen/services.ts', emitServices(areas));
files.set('gen/libraryActions.ts', emitLibraryActions(areas));
files.set('clients/python/guestfs_grpc/_actions.py', emitPythonActions(areas));
files.set('clients/python/guestfs_grpc/_specs.py', emitPythonSpecs(areas));
files.set('clients/go/actions.go', emitGoActions(areas));
files.set('clients/go/structs.go', emitGoStructs());
files.set('clients/typescript/src/actions.ts', emitTypescriptActions(areas));
files.set('docs/reference/README.md', emitReferenceIndex(areas));
files.set('dist/reference/search.html', emitSearchPage(areas));

const compositeMessages = areas.flatMap(({ compositeRpcs = [] }) =>
  compositeRpcs.map(({ messages }) => `${messages}.proto`),
);
const changed = await writeGenerated(process.cwd(), files, [
  {
    path: 'proto/guestfs/v1',
    ending: '.proto',
    handWritten: ['action.proto', 'types.proto', 'session.proto', 'event.proto', ...compositeMessages],
  },
  { path: 'gen/calls', ending: '.ts', handWritten: [] },
  { path: 'docs/reference', ending: '.md', handWritten: [] },
]);
for (const path of changed) console.log(`changed ${path}`);
if (changed.length && process.argv.includes('--check')) {
  console.error('generated files were not up to date: run "npm run generate" and commit the result');
  process.exit(1);
}
