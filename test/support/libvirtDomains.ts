/** Domains for libvirt's test driver, which needs no hypervisor. */
import { randomUUID } from 'node:crypto';

export interface TestDomain {
  readonly name: string;
  readonly uuid?: string;
  readonly disks: string;
  readonly runs?: boolean;
}

/** Its XML. Without a UUID, libvirt would generate a different one for each connection. */
export function describeDomain({ name, uuid = randomUUID(), disks, runs = false }: TestDomain): string {
  return `<domain type="test" xmlns:test="http://libvirt.org/schemas/domain/test/1.0"><name>${name}</name><uuid>${uuid}</uuid>
    <memory>65536</memory><os><type>hvm</type></os><devices>${disks}</devices><test:runstate>${runs ? 1 : 5}</test:runstate></domain>`;
}
