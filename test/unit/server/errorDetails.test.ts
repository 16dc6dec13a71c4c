/** The details of an error, read as by a client that uses server reflection. */
import { readFileSync } from 'node:fs';
import { createFileRegistry, fromBinary, toJson, type JsonValue } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from '@jest/globals';
import { GuestfsError } from '../../../src/common/errors.js';
import { encodeStatus } from '../../../src/server/errorDetails.js';

const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync('gen/proto/descriptors.binpb')));

function read(bytes: Uint8Array): JsonValue {
  const schema = registry.getMessage('google.rpc.Status');
  if (schema === undefined) throw new Error('google.rpc.Status is not described');
  return toJson(schema, fromBinary(schema, bytes), { registry });
}

describe('the details of an error', () => {
  it('are a google.rpc.Status with ErrorInfo', () => {
    const bytes = encodeStatus(5, 'no such file', new GuestfsError('ENOENT', '...'), new Map([['action', 'cat']]));
    expect(read(bytes)).toEqual({
      code: 5,
      message: 'no such file',
      details: [
        {
          '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
          reason: 'ENOENT',
          domain: 'guestfs',
          metadata: { action: 'cat' },
        },
      ],
    });
  });

  it('have the invalid fields in BadRequest, and the delay in RetryInfo', () => {
    const error = new GuestfsError('BAD_ARGUMENT', '...', {
      fields: [
        { field: 'a', description: 'too long' },
        { field: 'b', description: 'too short' },
      ],
      retryAfterMs: 61_250,
    });
    expect(read(encodeStatus(3, 'wrong', error, new Map()))).toMatchObject({
      details: [
        { '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'BAD_ARGUMENT' },
        {
          '@type': 'type.googleapis.com/google.rpc.BadRequest',
          fieldViolations: [
            { field: 'a', description: 'too long' },
            { field: 'b', description: 'too short' },
          ],
        },
        { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '61.250s' },
      ],
    });
  });
});
