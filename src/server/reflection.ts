/** Server reflection, from the descriptors that the build writes next to the generated code. */
import { readFile } from 'node:fs/promises';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import type { Server } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';

/** Created by `npm run generate`; relative to this file in `dist`. */
const DESCRIPTORS = new URL('../../../gen/proto/descriptors.binpb', import.meta.url);

/** The package of Channelz, which not every server offers. */
const CHANNELZ = 'grpc.channelz.v1';

/**
 * Adds grpc.reflection.v1 and v1alpha. They describe all services of the server, including health and themselves.
 * @param channelz whether the server offers Channelz
 */
export async function addReflection(server: Pick<Server, 'addService'>, channelz: boolean): Promise<void> {
  const { file } = fromBinary(FileDescriptorSetSchema, await readFile(DESCRIPTORS));
  const files = file.filter((one) => channelz || one.package !== CHANNELZ);
  const fileDescriptorProtos = files.map((one) => Buffer.from(toBinary(FileDescriptorProtoSchema, one)));
  // The only fields of a package definition that the service reads.
  const definition = { all: { fileDescriptorProtos, format: 'Protocol Buffer 3 DescriptorProto', type: {} } };
  new ReflectionService(definition as unknown as ConstructorParameters<typeof ReflectionService>[0]).addToServer(
    server,
  );
}
