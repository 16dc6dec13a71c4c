/**
 * Converts the root of an appliance to a format without holes: layers of container images do not keep them, so the
 * 4 GiB of a raw root would take as much space wherever the image is unpacked.
 *
 *   node withoutHoles.mjs APPLIANCE
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [appliance] = process.argv.slice(2);
if (appliance === undefined) throw new Error('usage: withoutHoles.mjs APPLIANCE');
const root = join(appliance, 'root');
const converted = join(appliance, 'root.new');
execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', root, converted], { stdio: 'inherit' });
renameSync(converted, root);

const sha256 = createHash('sha256').update(readFileSync(root)).digest('hex');
const file = join(appliance, 'manifest.json');
/** @type {{ files: { root: { sha256: string, size: number } } }} */
const manifest = JSON.parse(readFileSync(file, 'utf8'));
manifest.files.root = { sha256, size: statSync(root).size };
writeFileSync(file, `${JSON.stringify(manifest, null, 2)}\n`);
