/** The comments of declarations in .proto files, from the descriptors. */
import type { AnyDesc, DescFile } from '@bufbuild/protobuf';

/** Numbers of the fields of descriptors that declarations are in (google/protobuf/descriptor.proto). */
const IN_FILE = { message: 4, enum: 5, service: 6 } as const;
const IN_MESSAGE = { field: 2, message: 3, enum: 4 } as const;
const IN_SERVICE = { rpc: 2 } as const;

/** By the path of a declaration in its file, as text. */
const known = new WeakMap<DescFile, ReadonlyMap<string, string>>();

function commentsOf(file: DescFile): ReadonlyMap<string, string> {
  const found = known.get(file);
  if (found !== undefined) return found;
  const comments = new Map<string, string>();
  for (const { path, leadingComments } of file.proto.sourceCodeInfo?.location ?? [])
    if (leadingComments !== '') comments.set(path.join('.'), leadingComments);
  known.set(file, comments);
  return comments;
}

/** Where a declaration is in its file; undefined for kinds that are not asked for. */
function pathOf(declaration: AnyDesc): readonly number[] | undefined {
  switch (declaration.kind) {
    case 'service':
      return [IN_FILE.service, declaration.file.services.indexOf(declaration)];
    case 'rpc':
      return [...(pathOf(declaration.parent) ?? []), IN_SERVICE.rpc, declaration.parent.methods.indexOf(declaration)];
    case 'field':
      return [...(pathOf(declaration.parent) ?? []), IN_MESSAGE.field, declaration.parent.fields.indexOf(declaration)];
    case 'message': {
      const { parent, file } = declaration;
      if (parent === undefined) return [IN_FILE.message, file.messages.indexOf(declaration)];
      const { name } = declaration;
      const index = parent.proto.nestedType.findIndex((nested) => nested.name === name);
      return [...(pathOf(parent) ?? []), IN_MESSAGE.message, index];
    }
    case 'enum': {
      const { parent, file } = declaration;
      return parent === undefined
        ? [IN_FILE.enum, file.enums.indexOf(declaration)]
        : [...(pathOf(parent) ?? []), IN_MESSAGE.enum, parent.nestedEnums.indexOf(declaration)];
    }
    default:
      return undefined;
  }
}

/** The comment before a declaration, without the blanks that its lines start with; undefined: there is none. */
export function commentOf(declaration: AnyDesc): string | undefined {
  const path = pathOf(declaration);
  const file = fileOf(declaration);
  if (path === undefined || file === undefined) return undefined;
  const comment = commentsOf(file).get(path.join('.'));
  return comment?.replaceAll(/^ /gm, '').trim();
}

function fileOf(declaration: AnyDesc): DescFile | undefined {
  if ('file' in declaration) return declaration.file;
  if (declaration.kind === 'rpc' || declaration.kind === 'field') return declaration.parent.file;
  return undefined;
}
