/** Writes and checks CycloneDX documents, with the CycloneDX project's own library. */
import { Serialize, Spec, Validation } from '@cyclonedx/cyclonedx-library';

/**
 * @param {import('@cyclonedx/cyclonedx-library').Models.Bom} bom
 */
export function serialize(bom) {
  const factory = new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6);
  return `${new Serialize.JsonSerializer(factory).serialize(bom, { sortLists: true, space: 2 })}\n`;
}

/**
 * Why a document is not valid CycloneDX in the version that it states; undefined if it is.
 * @param {string} text
 * @returns {Promise<string | undefined>}
 */
export async function problemOf(text) {
  /** @type {{ specVersion?: string }} */
  const { specVersion } = JSON.parse(text);
  const version = Object.values(Spec.Version).find((known) => known === specVersion);
  if (version === undefined) return `its specVersion is ${String(specVersion)}`;
  const error = await new Validation.JsonStrictValidator(version).validate(text);
  return error === null ? undefined : JSON.stringify(error);
}
