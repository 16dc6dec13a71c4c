/**
 * Options that a client tries to inject into a command line or a monitor, by a comma, a newline, a space or a NUL in
 * any text that it can set. Each is refused, or is only text: no qemu is started with an injected option.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { imageDrive, remoteDrive, scratchDrive, SessionClient } from '../support/testClient.js';
import { leakedPaths, outcomeOf } from './doors.js';
import { groundForTests, SETTINGS, type Ground } from './grounds.js';

/** A word that identifies injected options. */
const WORD = 'injected';

/** Texts that would become options if they were not quoted. */
const INJECTIONS = (path: string): readonly string[] => [
  `raw,file.filename=${path},id=${WORD}`,
  `raw,,file=${path},id=${WORD}`,
  `,id=${WORD},file=${path}`,
  `raw\n-drive file=${path},id=${WORD}`,
  `raw -drive file=${path},id=${WORD}`,
  `-drive file=${path},id=${WORD}`,
  `raw\0,id=${WORD}`,
  `raw","filename":"${path}","id":"${WORD}`,
  `json:{"driver":"file","filename":"${path}","id":"${WORD}"}`,
  `raw\r\n{"execute":"quit","id":"${WORD}"}`,
  `$(cat ${path} ${WORD})`,
  `\${IFS},id=${WORD}`,
];

/** Arguments of `add_drive` that are text. */
const DRIVE_TEXTS = [
  'format',
  'label',
  'cachemode',
  'discard',
  'iface',
  'name',
  'protocol',
  'username',
  'secret',
] as const;
const DISK_TEXTS = ['format', 'backingformat', 'preallocation', 'compat'] as const;
/** Settings that are text, or keywords with a value; those that change what runs on the host are refused by default. */
const SETTERS: readonly (readonly [name: string, (text: string) => object])[] = [
  ['set_backend_setting', (text) => ({ name: text, val: '1' })],
  ['set_backend_setting', (text) => ({ name: 'force_tcg', val: text })],
  ['set_backend_settings', (text) => ({ settings: [text, `force_tcg=${text}`] })],
  ['set_backend', (backend) => ({ backend })],
  ['set_identifier', (identifier) => ({ identifier })],
  ['set_program', (program) => ({ program })],
  ['set_append', (append) => ({ append })],
];

/** How each may end; after an answer, the machine launched with the setting is searched for injected options. */
const MAY_END = ['answered', 'BAD_ARGUMENT', 'IMAGE_UNUSABLE', 'NOT_ALLOWED', 'EINVAL', 'ENOTSUP'];

/** Injected options of a running program: arguments with the word, or parts of one after a comma. */
function optionsWithWord(pid: number): string[] {
  const words = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
  // The argument after this is the kernel's command line, which may contain any text.
  return words.filter(
    (word, index) =>
      words[index - 1] !== '-append' && new RegExp(`^-.*${WORD}|(?:^|[^,],(?:,,)*)id=${WORD}`, 's').test(word),
  );
}

async function tried({ visitor, place }: Ground, call: (text: string) => Promise<unknown>): Promise<string[]> {
  const wrong: string[] = [];
  for (const text of INJECTIONS(place.raw)) {
    const outcome = await outcomeOf(call(text));
    const complain = (what: string): number => wrong.push(`${JSON.stringify(text)}: ${what}: ${outcome.text}`);
    if (!MAY_END.includes(outcome.reason)) complain(`ended with ${outcome.reason}`);
    if (place.learnt(outcome.text) !== undefined) complain('revealed the content of a file outside');
    if (leakedPaths(outcome.text, [text]).length > 0) complain('revealed a path of the host');
    if (place.touched() !== '') complain(place.touched());
  }
  // The session in state READY still works.
  expect(await visitor.ready.call('list_devices')).toEqual(['/dev/sda']);
  return wrong;
}

describeWithAppliance('an option that a client tries to inject', () => {
  describe.each(SETTINGS.filter(({ identities }) => !identities))('on $name', (setting) => {
    const ground = groundForTests(setting);

    it.each(DRIVE_TEXTS)('as %s of a drive is refused, or is text', async (field) => {
      const { visitor, place } = ground();
      const filename = place.own('drive.img');
      const { client, ready } = visitor;
      const wrong = await tried(ground(), async (text) => {
        const session = new SessionClient(client, (await client.createSession()).id);
        try {
          await session.call('add_drive', { filename, readonly: true, [field]: text });
        } finally {
          await client.deleteSession(session.id);
        }
      });
      expect(wrong).toEqual([]);
      const hot = await tried(ground(), async (text) => {
        await ready.call('add_drive', { filename, readonly: true, label: 'hot', [field]: text });
        await ready.call('remove_drive', { label: 'hot' });
      });
      expect(hot).toEqual([]);
    });

    it('in a DriveSpec is refused, or is text', async () => {
      const { visitor, place } = ground();
      const { client } = visitor;
      const path = place.own('spec.img');
      for (const field of ['format', 'label', 'cachemode', 'discard'] as const) {
        expect(
          await tried(ground(), (text) => client.createSession({ drives: [imageDrive(path, { [field]: text })] })),
        ).toEqual([]);
      }
      for (const field of ['protocol', 'filename', 'username', 'secret'] as const) {
        const remote = { protocol: 'nbd', server: ['127.0.0.1:1'], [field]: '' };
        expect(
          await tried(ground(), async (text) => {
            const { id } = await client.createSession({ drives: [remoteDrive({ ...remote, [field]: text })] });
            await client.deleteSession(id);
          }),
        ).toEqual([]);
      }
      expect(
        await tried(ground(), async (server) => {
          const { id } = await client.createSession({ drives: [remoteDrive({ protocol: 'nbd', server: [server] })] });
          await client.deleteSession(id);
        }),
      ).toEqual([]);
    });

    it.each(DISK_TEXTS)('as %s of a new disk is refused', async (field) => {
      const { visitor, place } = ground();
      const backingfile = place.own('below.img');
      const wrong = await tried(ground(), async (text) => {
        const disk = { filename: `slipped.qcow2`, format: 'qcow2', size: field === 'backingformat' ? -1n : 4096n };
        const below = field === 'backingformat' ? { backingfile } : {};
        await visitor.config.call('disk_create', { ...disk, ...below, [field]: text });
        throw new Error('a disk was created');
      });
      expect(wrong).toEqual([]);
    });

    it('in settings is refused, or is text that never becomes an option of qemu', async () => {
      const { server, visitor } = ground();
      const { client } = visitor;
      const before = server.machines().map(({ pid }) => pid);
      for (const [name, request] of SETTERS) {
        let last: SessionClient | undefined;
        const wrong = await tried(ground(), async (text) => {
          const { id } = await client.createSession({ drives: [scratchDrive(1 << 20)] });
          const session = new SessionClient(client, id);
          try {
            await session.call(name, request(text));
          } catch (error) {
            await client.deleteSession(id);
            throw error;
          }
          if (last !== undefined) await client.deleteSession(last.id);
          last = session;
        });
        expect(wrong).toEqual([]);
        if (last === undefined) continue;
        // The last session whose setting was accepted is launched.
        await outcomeOf(last.call('launch'));
        const started = server.machines().filter(({ pid }) => !before.includes(pid));
        expect(started.flatMap(({ pid }) => optionsWithWord(pid))).toEqual([]);
        await client.deleteSession(last.id);
      }
    });
  });
});
