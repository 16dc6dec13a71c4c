/** The OpenAPI document. */
import { Validator } from '@seriousme/openapi-schema-validator';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { allActions } from '../../../src/actions/areas.js';
import { pascalCase } from '../../../src/actions/names.js';
import { hasRpc } from '../../../src/actions/shape.js';
import { readApi, type Api } from '../../../src/gateway/api.js';
import { openApi } from '../../../src/gateway/openApi.js';

interface Operation {
  readonly description?: string;
  readonly parameters: readonly { readonly $ref: string }[];
  readonly requestBody: { readonly content: Readonly<Record<string, unknown>> };
}
interface Document {
  readonly paths: Readonly<Record<string, { readonly post: Operation }>>;
  readonly components: { readonly schemas: Readonly<Record<string, Readonly<Record<string, never>>>> };
}

let api: Api;
let document: Document;
beforeAll(async () => {
  api = await readApi();
  document = openApi(api) as unknown as Document;
});

describe('the OpenAPI document', () => {
  it('is valid', async () => {
    const { valid, errors } = await new Validator().validate(
      JSON.parse(JSON.stringify(document)) as Record<string, unknown>,
    );
    expect(errors).toBeUndefined();
    expect(valid).toBe(true);
  });

  it('has every RPC', () => {
    const paths = api.services.flatMap(({ typeName, methods }) => methods.map(({ name }) => `/${typeName}/${name}`));
    expect(Object.keys(document.paths).sort()).toEqual([...paths].sort());
    const names = new Set(paths.map((path) => path.replace(/^.*\//, '')));
    for (const { name } of allActions.filter(hasRpc)) expect(names).toContain(pascalCase(name));
  });

  it('has no reference without a target', () => {
    const text = JSON.stringify(document);
    const targets = new Set(
      [...text.matchAll(/"#\/components\/(\w+)\/([^"]+)"/g)].map(([, kind, name]) => `${kind} ${name}`),
    );
    const { components } = document as unknown as { components: Record<string, Record<string, unknown>> };
    for (const target of targets) {
      const [kind = '', name = ''] = target.split(' ');
      expect(components[kind]?.[name]).toBeDefined();
    }
  });

  it('says what RPCs do, and whether they need a session', () => {
    const { description, parameters } = document.paths['/guestfs.v1.FileService/Mkdir']?.post ?? { parameters: [] };
    expect(description).toMatch(/directory/);
    expect(parameters).toContainEqual({ $ref: '#/components/parameters/session' });
    const list = document.paths['/guestfs.v1.SessionService/ListSessions']?.post;
    expect(list?.parameters).not.toContainEqual({ $ref: '#/components/parameters/session' });
  });

  it('has streams in their own content type', () => {
    const download = document.paths['/guestfs.v1.TransferService/Download']?.post;
    expect(Object.keys(download?.requestBody.content ?? {})).toEqual(['application/connect+json']);
  });

  it.each([
    ['guestfs.v1.DownloadResponse', 'chunk', { type: 'string', contentEncoding: 'base64' }],
    ['guestfs.v1.FilesizeResponse', 'size', { type: 'string', format: 'int64' }],
    ['guestfs.v1.CreateSessionRequest', 'labels', { type: 'object', additionalProperties: { type: 'string' } }],
  ])('has the JSON form of protobuf: %s.%s', (message, field, expected) => {
    const properties = document.components.schemas[message]?.['properties'] as unknown as Record<string, unknown>;
    expect(properties[field]).toMatchObject(expected);
  });
});
