/** Turns qemu's error about an image into an error that names the image. */
import { GuestfsError } from '../common/errors.js';

/**
 * @param message qemu's standard error, or the description of a QMP error
 * @param subjects descriptions of the files (`/dev/fdset/N`) and block nodes, each as the subject of a sentence
 * @param fallback the subject if the message names none of them
 * @returns undefined if the message is about none of them
 */
export function explainBlockError(
  message: string,
  subjects: ReadonlyMap<string, string>,
  fallback?: string,
): GuestfsError | undefined {
  const lines = message.split('\n');
  const line = lines.find((text) => named(text, subjects) !== undefined);
  const subject = line === undefined ? fallback : named(line, subjects);
  if (isLockMessage(message)) {
    // The path, on a separate line, is the more reliable match.
    const path = lines.find((text) => text.includes('Is another process'));
    const locked = (path === undefined ? undefined : named(path, subjects)) ?? subject ?? 'an image of this session';
    return new GuestfsError(
      'IMAGE_LOCKED',
      `${locked} is in use: another session or virtual machine has it open, or it is attached twice; attach it read-only, or wait until it is free`,
    );
  }
  if (subject === undefined) return undefined;
  return new GuestfsError('IMAGE_UNUSABLE', `${subject} cannot be attached: ${plain(line ?? message)}`);
}

/**
 * A node that the machine was started with takes its locks when the machine is resumed: if it does not get them, it stays
 * inactive, and can only be read. qemu prints why, but it is the device that then fails. No other node of
 * a drive is read-only: those of read-only drives have an overlay.
 */
const INACTIVE = /(?:^|: )Block node is read-only$/m;

/** Whether qemu reports that another process has locked an image. */
export function isLockMessage(message: string): boolean {
  return (
    /Failed to get (shared )?"[^"]+" lock/.test(message) ||
    message.includes('Is another process using the image') ||
    INACTIVE.test(message)
  );
}

/** Matches a file by its path, and a node by the option that adds it or by its device. */
function named(line: string, subjects: ReadonlyMap<string, string>): string | undefined {
  for (const pattern of [/\/dev\/fdset\/\d+/, /"node-name":\s*"([^"]+)"/, /\bdrive(?:=|":\s*")([\w-]+)/]) {
    const match = pattern.exec(line);
    const subject = match === null ? undefined : subjects.get(match[1] ?? match[0]);
    if (subject !== undefined) return subject;
  }
  return undefined;
}

/** The part of a message that is meaningful without qemu's command line. */
function plain(line: string): string {
  const afterProgram = line.indexOf(': ') + 2;
  const said = line.slice(0, afterProgram).includes('qemu')
    ? line.slice(afterProgram).replace(/^-\w+ (\{.*\}|\S+): /, '')
    : line;
  const text = said.replace(/'?\/dev\/fdset\/\d+'?/g, 'it');
  return text.length > 300 ? `${text.slice(0, 300)}...` : text;
}
