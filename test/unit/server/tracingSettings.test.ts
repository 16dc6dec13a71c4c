/** The standard environment variables that turn tracing on. */
import { describe, expect, it } from '@jest/globals';
import { tracingSettings } from '../../../src/server/tracing/settings.js';

const ENDPOINT = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' };
const ON = { protocol: 'http/protobuf', traceContext: true, unknownPropagators: [] };

describe('tracing is off', () => {
  it.each([
    [{}],
    [{ OTEL_SERVICE_NAME: 'x', OTEL_TRACES_SAMPLER: 'always_on' }],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: '' }],
    [{ ...ENDPOINT, OTEL_TRACES_EXPORTER: 'none' }],
    [{ ...ENDPOINT, OTEL_SDK_DISABLED: 'TRUE' }],
  ])('with %j', (environment) => {
    expect(tracingSettings(environment)).toBeUndefined();
  });
});

describe('tracing is on', () => {
  it.each([
    [
      { OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4317', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
      { ...ON, protocol: 'grpc' },
    ],
    [ENDPOINT, ON],
    [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://[::1]/x' }, ON],
    [{ OTEL_TRACES_EXPORTER: 'otlp' }, ON],
    [
      { ...ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
      { ...ON, protocol: 'grpc' },
    ],
    [
      { ...ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc', OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json' },
      { ...ON, protocol: 'http/json' },
    ],
    [
      { ...ENDPOINT, OTEL_PROPAGATORS: 'none' },
      { ...ON, traceContext: false },
    ],
    [
      { ...ENDPOINT, OTEL_PROPAGATORS: 'tracecontext, b3' },
      { ...ON, unknownPropagators: ['b3'] },
    ],
  ])('with %j', (environment, settings) => {
    expect(tracingSettings(environment)).toEqual(settings);
  });
});

describe('a variable that cannot be used', () => {
  it.each<[Record<string, string>, string]>([
    [{ OTEL_TRACES_EXPORTER: 'zipkin' }, "OTEL_TRACES_EXPORTER: 'zipkin' is not supported"],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318' }, 'OTEL_EXPORTER_OTLP_ENDPOINT is not an http or https URL'],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'user:secret@x' }, 'OTEL_EXPORTER_OTLP_ENDPOINT is not an http or https URL'],
    [{ ...ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL: 'http' }, "OTEL_EXPORTER_OTLP_PROTOCOL: 'http' is not one of grpc"],
    [{ ...ENDPOINT, OTEL_TRACES_SAMPLER: 'some' }, "OTEL_TRACES_SAMPLER: 'some' is not one of"],
    [
      { ...ENDPOINT, OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '2' },
      "OTEL_TRACES_SAMPLER_ARG: '2' is not a number from 0 to 1",
    ],
    [{ ...ENDPOINT, OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '0' }, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '0' is not a whole number"],
  ])('is refused, and not quoted if it may contain a password: %j', (environment, message) => {
    expect(() => tracingSettings(environment)).toThrow(message);
    expect(() => tracingSettings(environment)).not.toThrow('secret');
  });
});
