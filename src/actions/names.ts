/** Names of generated things, derived from libguestfs's. */

/** `aug_init` -> `AugInit`, `e2fsck_f` -> `E2fsckF`. */
export function pascalCase(name: string): string {
  return name
    .split('_')
    .map((part) => part.charAt(0).toUpperCase() + part.slice(1))
    .join('');
}

/** `aug_init` -> `augInit`. */
export function camelCase(name: string): string {
  const pascal = pascalCase(name);
  return pascal.charAt(0).toLowerCase() + pascal.slice(1);
}
