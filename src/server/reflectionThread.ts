/** The thread of reflection.ts: answers requests from the descriptors that the build writes next to the generated code. */
import { readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { status, type ServiceDefinition, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { messageOf } from '../common/errors.js';

/** What the thread is sent. */
export interface ReflectionRequest {
  readonly id: number;
  /** Of the package: the service has been renamed once. */
  readonly name: string;
  /** A ServerReflectionRequest. */
  readonly request: Uint8Array;
}

/** What it sends back, with the ID of the request. */
export type ReflectionAnswer =
  /** A ServerReflectionResponse. */
  | { readonly response: Uint8Array }
  /** The call fails with this. */
  | { readonly failure: string; readonly code: status };

/** Created by `npm run generate`; relative to this file in `dist`. */
const DESCRIPTORS = new URL('../../../gen/proto/descriptors.binpb', import.meta.url);

/** The package of Channelz, which not every server offers. */
const CHANNELZ = 'grpc.channelz.v1';

/** What the service is given in place of a call: it answers each message at once. */
interface OneCall {
  on(event: string, listener: (message: unknown) => void): void;
  write(response: unknown): void;
}

/** Answers one request of each package. */
function answerers(channelz: boolean): ReadonlyMap<string, (request: Buffer) => ReflectionAnswer> {
  const { file } = fromBinary(FileDescriptorSetSchema, readFileSync(DESCRIPTORS));
  const files = file.filter((one) => channelz || one.package !== CHANNELZ);
  const fileDescriptorProtos = files.map((one) => Buffer.from(toBinary(FileDescriptorProtoSchema, one)));
  // The only fields of a package definition that the service reads.
  const definition = { all: { fileDescriptorProtos, format: 'Protocol Buffer 3 DescriptorProto', type: {} } };
  const found = new Map<string, (request: Buffer) => ReflectionAnswer>();
  const addService = (service: ServiceDefinition, handlers: UntypedServiceImplementation): void => {
    for (const [method, { path, requestDeserialize, responseSerialize }] of Object.entries(service)) {
      const handle = handlers[method] as unknown as (call: OneCall) => void;
      found.set(path.slice(1, path.lastIndexOf('.')), (bytes) => {
        let request: unknown;
        try {
          request = requestDeserialize(bytes);
        } catch (error) {
          return { failure: `the request cannot be decoded: ${messageOf(error)}`, code: status.INVALID_ARGUMENT };
        }
        let answer: ReflectionAnswer = { failure: 'there is no answer', code: status.INTERNAL };
        handle({
          on: (event, listener) => {
            if (event === 'data') listener(request);
          },
          write: (response) => {
            answer = { response: responseSerialize(response) };
          },
        });
        return answer;
      });
    }
  };
  new ReflectionService(definition as unknown as ConstructorParameters<typeof ReflectionService>[0]).addToServer({
    addService,
  });
  return found;
}

if (parentPort !== null) {
  const answers = answerers(workerData === true);
  parentPort.on('message', ({ id, name, request }: ReflectionRequest) => {
    const answer = answers.get(name)?.(Buffer.from(request));
    parentPort?.postMessage({ id, answer: answer ?? { failure: `${name} is unknown`, code: status.UNIMPLEMENTED } });
  });
}
