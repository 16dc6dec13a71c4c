/** How flags are declared and their values parsed. An invalid value causes commander's InvalidArgumentError. */
import { isAbsolute } from 'node:path';
import { InvalidArgumentError, Option } from 'commander';
import { IDENTITY_KINDS, namesKind } from '../security/certificateIdentity.js';
import { socketPath, splitAddress } from '../server/address.js';

/** The value of `--listen` for a socket that systemd passes. */
export const FROM_SYSTEMD = 'systemd';

/** `GUESTFS_GRPC_IMAGE_ROOT` for `--image-root`. */
function environmentName(name: string): string {
  return `GUESTFS_GRPC_${name.toUpperCase().replaceAll('-', '_')}`;
}

/** A flag with its own variable; without `value` it is a switch. */
export function flag(name: string, value: string | undefined, help: string): Option {
  return new Option(`--${name}${value === undefined ? '' : ` <${value}>`}`, help).env(environmentName(name));
}

/** A whole number in a range. */
export function wholeNumber(least: number, most = Number.MAX_SAFE_INTEGER): (value: string) => number {
  return (value) => {
    const number = Number(value);
    if (/^\d+$/.test(value) && number >= least && number <= most) return number;
    throw new InvalidArgumentError(
      `It must be a whole number ${most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`}.`,
    );
  };
}

/** An address to listen on, a Unix socket, or a word that stands for one that is there already. */
export function addressOrSocket(value: string): string {
  if (value === FROM_SYSTEMD) return value;
  const socket = socketPath(value);
  if (socket === undefined ? splitAddress(value) !== undefined : isAbsolute(socket)) return value;
  throw new InvalidArgumentError('It must have the form HOST:PORT or unix:/PATH, or be systemd.');
}

/** The mode of a file, octal. */
export function fileMode(value: string): string {
  if (/^0?[0-7]{3}$/.test(value)) return value;
  throw new InvalidArgumentError('It must be three octal digits, such as 660.');
}

/** An address to listen on. */
export function address(value: string): string {
  if (splitAddress(value) !== undefined) return value;
  throw new InvalidArgumentError('It must have the form HOST:PORT.');
}

/** A path. One that starts with a dash is more likely a flag after a missing value. */
export function path(value: string): string {
  if (value === '') throw new InvalidArgumentError('It must not be empty.');
  if (value.startsWith('-')) throw new InvalidArgumentError(`Write ./${value} for a path that starts with a dash.`);
  return value;
}

/** A path to write to; a dash means standard output. */
export function outputPath(value: string): string {
  return value === '-' ? value : path(value);
}

/** A text that is not empty. */
export function someText(value: string): string {
  if (value === '') throw new InvalidArgumentError('It must not be empty.');
  return value;
}

/** Patterns for identities, separated by commas. */
export function identityPatterns(value: string): readonly string[] {
  const patterns = value.split(',');
  if (patterns.every(namesKind)) return patterns;
  throw new InvalidArgumentError(
    `Each must begin with a kind: ${IDENTITY_KINDS.map((kind) => `${kind}:`).join(', ')}.`,
  );
}

/** The parts of a list in one value, separated by commas or colons. */
export function parts(value: string): readonly string[] {
  return value.split(/[:,]/).filter((part) => part !== '');
}

/** A flag that can be given more than once; its values replace the default. */
export function repeatable(option: Option): Option {
  return option.argParser((value: string, previous: readonly string[]) => [
    ...(previous === option.defaultValue ? [] : previous),
    value,
  ]);
}

/** A repeatable flag with a fixed set of values; one argument can contain several of them. */
export function repeatableChoice(option: Option, choices: readonly string[]): Option {
  return option.choices(choices).argParser((value: string, previous: readonly string[]) => {
    const all = parts(value);
    if (all.every((part) => choices.includes(part)))
      return [...(previous === option.defaultValue ? [] : previous), ...all];
    throw new InvalidArgumentError(`Allowed choices are ${choices.join(', ')}.`);
  });
}
