/** The .proto files suit the generators of other languages. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { describe, expect, it, jest } from '@jest/globals';
import { executableIn } from '../../support/executableIn.js';
import { itWhen } from '../../support/itWhen.js';
import { root } from '../../architecture/sourceTree.js';

// The largest stubs are of 20 MB.
jest.setTimeout(120_000);

const PROTO = join(root, 'proto');
const registry = createFileRegistry(
  fromBinary(FileDescriptorSetSchema, readFileSync(join(root, 'gen', 'proto', 'descriptors.binpb'))),
);
const files = [...registry.files].filter(({ proto }) => proto.package === 'guestfs.v1');
const texts = readdirSync(PROTO, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.proto'));

describe('the .proto files', () => {
  it.each(files.map((file) => [file.proto.name, file] as const))(
    '%s have the options of each language',
    (name, file) => {
      const { options } = file.proto;
      const [, base = ''] = /([a-z_]+)\.proto$/.exec(name) ?? [];
      const pascal = base.replace(/(?:^|_)(.)/g, (_match, letter: string) => letter.toUpperCase());
      expect({ ...options }).toMatchObject({
        goPackage: 'libguestfs.org/guestfs/guestfsv1;guestfsv1',
        javaPackage: 'com.guestfs.v1',
        javaMultipleFiles: true,
        javaOuterClassname: `${pascal}Proto`,
        csharpNamespace: 'Guestfs.V1',
        phpNamespace: 'Guestfs\\V1',
        phpMetadataNamespace: 'Guestfs\\V1\\Metadata',
        rubyPackage: 'Guestfs::V1',
        objcClassPrefix: 'GFS',
        swiftPrefix: 'GuestfsV1',
      });
    },
  );

  // The plugins of gRPC for C++, PHP and Ruby abort with "Unclosed variable name".
  it('have no dollar sign', () => {
    expect(texts.filter((name) => readFileSync(join(PROTO, name), 'utf8').includes('$'))).toEqual([]);
  });
});

/** The plugins of a template: those that protoc has built in need protoc. */
function programs(template: string): string[] {
  const text = readFileSync(join(PROTO, template), 'utf8');
  return [...text.matchAll(/^ {2}- (protoc_builtin|local): (\S+)$/gm)].map(([, kind, name = '']) =>
    kind === 'local' ? name : 'protoc',
  );
}

const templates = readdirSync(PROTO).filter((name) => name.endsWith('.yaml'));

describe('stubs are generated', () => {
  it('with a template for each language', () => {
    expect(templates.map((name) => name.split('.')[2])).toEqual([
      'cpp',
      'csharp',
      'elixir',
      'es',
      'go',
      'haskell',
      'java',
      'objc',
      'ocaml',
      'perl',
      'php',
      'python',
      'ruby',
      'rust',
      'swift',
    ]);
    for (const template of templates) expect(programs(template).length).toBeGreaterThan(0);
  });

  // Go installs programs where a PATH seldom is.
  const path = [process.env['PATH'], join(process.env['HOME'] ?? '/root', 'go', 'bin')].join(delimiter);
  for (const template of templates) {
    const missing = programs(template).filter((name) => executableIn(path, name) === undefined);
    const builtin = programs(template).includes('protoc') && !missing.includes('protoc');
    // Without gRPC's plugin, there are still the messages of those languages that protoc has built in.
    const name = missing.length === 0 ? template : `${template} without ${missing.join(', ')}`;
    itWhen(`stubs by ${name}`, missing.length === 0 || builtin ? undefined : `${missing.join(', ')} is not installed`)(
      `by ${name}`,
      () => {
        const output = mkdtempSync(join(tmpdir(), 'stubs-'));
        try {
          const text = readFileSync(join(PROTO, template), 'utf8')
            .split(/^(?= {2}- )/m)
            .filter((part) => !missing.some((program) => part.startsWith(`  - local: ${program}\n`)))
            .join('');
          const buf = join(root, 'node_modules', '.bin', 'buf');
          execFileSync(buf, ['generate', '--template', text, '-o', output], {
            cwd: root,
            env: { ...process.env, PATH: path },
          });
          expect(readdirSync(output, { recursive: true }).length).toBeGreaterThan(files.length);
        } finally {
          rmSync(output, { recursive: true });
        }
      },
    );
  }
});
