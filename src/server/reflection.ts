/** Server reflection, from the descriptors that the build leaves beside the generated code. */
import { readFile } from 'node:fs/promises';
import type { Server } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

/** Made by `npm run generate`; found from this file's place in `dist`. */
const DESCRIPTORS = new URL('../../../gen/proto/descriptors.binpb', import.meta.url);

/** The files in a FileDescriptorSet (field 1), still encoded. */
function filesIn(set: Buffer): Buffer[] {
  const reader = new BinaryReader(set);
  const files: Buffer[] = [];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1 && wireType === WireType.LengthDelimited) files.push(Buffer.from(reader.bytes()));
    else reader.skip(wireType);
  }
  return files;
}

/** Adds grpc.reflection.v1 and v1alpha. */
export async function addReflection(server: Server): Promise<void> {
  const fileDescriptorProtos = filesIn(await readFile(DESCRIPTORS));
  // Of a package definition the service reads only these.
  const definition = { all: { fileDescriptorProtos, format: 'Protocol Buffer 3 DescriptorProto', type: {} } };
  new ReflectionService(definition as unknown as ConstructorParameters<typeof ReflectionService>[0]).addToServer(
    server,
  );
}
