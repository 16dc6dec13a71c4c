/** JSON Schemas of messages, in the JSON form of protobuf. */
import { ScalarType, type DescEnum, type DescField, type DescMessage } from '@bufbuild/protobuf';

/** A JSON Schema. */
export type Schema = Readonly<Record<string, unknown>>;

/** Where an OpenAPI document has its schemas. */
const SCHEMAS = '#/components/schemas/';

export function refTo(typeName: string): Schema {
  return { $ref: `${SCHEMAS}${typeName}` };
}

const INT32: Schema = { type: 'integer', format: 'int32' };
const UINT32: Schema = { type: 'integer', format: 'int64', minimum: 0, maximum: 4_294_967_295 };
/** JavaScript's numbers do not hold them. */
const INT64: Schema = { type: 'string', format: 'int64', pattern: '^-?[0-9]+$' };
const UINT64: Schema = { type: 'string', format: 'uint64', pattern: '^[0-9]+$' };
const FLOATING: Schema = { oneOf: [{ type: 'number' }, { type: 'string', enum: ['NaN', 'Infinity', '-Infinity'] }] };

const SCALARS: Readonly<Record<ScalarType, Schema>> = {
  [ScalarType.DOUBLE]: FLOATING,
  [ScalarType.FLOAT]: FLOATING,
  [ScalarType.INT64]: INT64,
  [ScalarType.UINT64]: UINT64,
  [ScalarType.INT32]: INT32,
  [ScalarType.FIXED64]: UINT64,
  [ScalarType.FIXED32]: UINT32,
  [ScalarType.BOOL]: { type: 'boolean' },
  [ScalarType.STRING]: { type: 'string' },
  [ScalarType.BYTES]: { type: 'string', contentEncoding: 'base64' },
  [ScalarType.UINT32]: UINT32,
  [ScalarType.SFIXED32]: INT32,
  [ScalarType.SFIXED64]: INT64,
  [ScalarType.SINT32]: INT32,
  [ScalarType.SINT64]: INT64,
};

/** Messages with a JSON form of their own. */
const WELL_KNOWN: ReadonlyMap<string, Schema> = new Map<string, Schema>([
  ['google.protobuf.Timestamp', { type: 'string', format: 'date-time' }],
  ['google.protobuf.Duration', { type: 'string', pattern: '^-?[0-9]+(\\.[0-9]+)?s$' }],
  ['google.protobuf.Empty', { type: 'object', maxProperties: 0 }],
]);

/** The text for a declaration; undefined: it has none. */
export type Describe = (declaration: DescMessage | DescEnum | DescField) => string | undefined;

/** Collects the schemas of messages and of all that they consist of. */
export class Schemas {
  readonly #schemas = new Map<string, Schema>();

  constructor(private readonly describe: Describe) {}

  /** A reference to the schema of a message, which is collected. */
  of(message: DescMessage): Schema {
    const { typeName } = message;
    const wellKnown = WELL_KNOWN.get(typeName);
    if (wellKnown !== undefined) return wellKnown;
    if (typeName.startsWith('google.protobuf.')) throw new Error(`${typeName}: its JSON form is not known here`);
    if (!this.#schemas.has(typeName)) {
      // First, for messages that contain themselves.
      this.#schemas.set(typeName, {});
      this.#schemas.set(typeName, this.#schemaOf(message));
    }
    return refTo(typeName);
  }

  /** All that were collected, by name. */
  collected(): Readonly<Record<string, Schema>> {
    return Object.fromEntries([...this.#schemas].sort(([a], [b]) => a.localeCompare(b, 'en')));
  }

  #schemaOf(message: DescMessage): Schema {
    const properties = Object.fromEntries(
      message.fields.map((field) => [field.jsonName, described(this.#field(field), this.describe(field))]),
    );
    const oneofs = message.oneofs
      .filter(({ fields }) => fields.length > 1)
      .map(({ fields }) => `At most one of ${fields.map(({ jsonName }) => jsonName).join(', ')} is set.`);
    const texts = [this.describe(message), ...oneofs].filter((text) => text !== undefined);
    return described(
      { type: 'object', properties, additionalProperties: false },
      texts.length === 0 ? undefined : texts.join('\n'),
    );
  }

  #field(field: DescField): Schema {
    switch (field.fieldKind) {
      case 'list':
        return { type: 'array', items: this.#value(field.listKind, field) };
      case 'map':
        return { type: 'object', additionalProperties: this.#value(field.mapKind, field) };
      case 'scalar':
      case 'enum':
      case 'message':
        return this.#value(field.fieldKind, field);
    }
  }

  #value(kind: 'scalar' | 'enum' | 'message', field: DescField): Schema {
    if (field.message !== undefined && kind === 'message') return this.of(field.message);
    if (field.enum !== undefined && kind === 'enum') return this.#enum(field.enum);
    if (field.scalar !== undefined && kind === 'scalar') return SCALARS[field.scalar];
    throw new Error(`${field.toString()}: a kind of field that is not known here`);
  }

  #enum(declared: DescEnum): Schema {
    const { typeName, values } = declared;
    if (!this.#schemas.has(typeName))
      this.#schemas.set(
        typeName,
        described({ type: 'string', enum: values.map(({ name }) => name) }, this.describe(declared)),
      );
    return refTo(typeName);
  }
}

/** A schema with a text. */
function described(schema: Schema, description: string | undefined): Schema {
  return description === undefined ? schema : { ...schema, description };
}
