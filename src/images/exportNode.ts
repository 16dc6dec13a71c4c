/** How a qemu reads the bytes of a remote drive, which another process provides. */

/** The name under which they are exported. */
export const EXPORT_NAME = 'bytes';

/** The node with which a qemu reads an export, by what its qemu calls the connection. */
export function exportNode(
  socket: string,
  name: string,
  options: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> & { readonly driver: 'nbd'; readonly 'node-name': string } {
  return { driver: 'nbd', 'node-name': name, server: { type: 'fd', str: socket }, export: EXPORT_NAME, ...options };
}
