/** The API by its descriptors: the services that the gateway serves, and their messages. */
import { readFile } from 'node:fs/promises';
import {
  createFileRegistry,
  fromBinary,
  type DescFile,
  type DescMethod,
  type DescService,
  type FileRegistry,
} from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';

/** Created by `npm run generate`; relative to this file in `dist`. */
const DESCRIPTORS = new URL('../../../gen/proto/descriptors.binpb', import.meta.url);
/** The package of the services that are served. gRPC's own services, such as reflection, are for gRPC clients. */
const PACKAGE = 'guestfs.v1';

export interface Api {
  readonly registry: FileRegistry;
  /** The services, by name. */
  readonly services: readonly DescService[];
  /** The files that they and their messages are declared in. */
  readonly files: readonly DescFile[];
}

/** Reads the descriptors. */
export async function readApi(): Promise<Api> {
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, await readFile(DESCRIPTORS)));
  const files = [...registry.files].filter((file) => file.proto.package === PACKAGE);
  const services = files.flatMap((file) => file.services).sort((a, b) => a.typeName.localeCompare(b.typeName, 'en'));
  return { registry, services, files };
}

/** The path of a method, in every protocol. */
export function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** Whether a call of a method has exactly one request. */
export function hasOneRequest({ methodKind }: DescMethod): boolean {
  return methodKind === 'unary' || methodKind === 'server_streaming';
}
