/** Server reflection, from the descriptors that the build leaves beside the generated code. */
import { readFile } from 'node:fs/promises';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import type { Server } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';

/** Made by `npm run generate`; found from this file's place in `dist`. */
const DESCRIPTORS = new URL('../../../gen/proto/descriptors.binpb', import.meta.url);

/** Adds grpc.reflection.v1 and v1alpha. They describe all services of the server, themselves and health too. */
export async function addReflection(server: Server): Promise<void> {
  const { file: files } = fromBinary(FileDescriptorSetSchema, await readFile(DESCRIPTORS));
  const fileDescriptorProtos = files.map((file) => Buffer.from(toBinary(FileDescriptorProtoSchema, file)));
  // Of a package definition the service reads only these.
  const definition = { all: { fileDescriptorProtos, format: 'Protocol Buffer 3 DescriptorProto', type: {} } };
  new ReflectionService(definition as unknown as ConstructorParameters<typeof ReflectionService>[0]).addToServer(
    server,
  );
}
