/**
 * The languages that there are stubs for: which have an example that `npm run test:clients` builds and runs, and what is
 * missing for the others. Plain data; how each example is built is in `builds.mjs`.
 *
 * @typedef {object} Language
 * @property {string} name On the command line; also the folder in `examples/`, if there is a program.
 * @property {string} title
 * @property {string} [template] Part of the name of its template: `proto/buf.gen.<template>.yaml`.
 * @property {readonly string[]} [programs] What has to be installed, and cannot be by packages of Debian 12.
 * @property {readonly import('../packages.mjs').Purpose[]} [packages]
 * @property {string} [absent] Why there is no program.
 */

/** The quickest builds first. @type {readonly Language[]} */
export const languages = [
  { name: 'typescript', title: 'TypeScript' },
  { name: 'connect', title: 'Connect', template: 'es' },
  { name: 'python', title: 'Python', template: 'python', packages: ['python'] },
  { name: 'ruby', title: 'Ruby', template: 'ruby', packages: ['stubs', 'ruby'] },
  { name: 'go', title: 'Go', template: 'go', programs: ['go'] },
  { name: 'java', title: 'Java', template: 'java', packages: ['java'] },
  { name: 'rust', title: 'Rust', template: 'rust', programs: ['cargo'] },
  { name: 'cpp', title: 'C++', template: 'cpp', packages: ['stubs', 'cpp'] },
  {
    name: 'csharp',
    title: 'C#',
    template: 'csharp',
    absent: 'needs .NET, and Grpc.Tools and Grpc.Net.Client from NuGet; Debian has none of them',
  },
  {
    name: 'elixir',
    title: 'Elixir',
    template: 'elixir',
    absent: 'needs the packages grpc and protobuf from Hex; Debian has neither',
  },
  {
    name: 'haskell',
    title: 'Haskell',
    template: 'haskell',
    absent:
      'needs proto-lens-protoc, proto-lens and a client of gRPC such as grapesy from Hackage; Debian has none of them',
  },
  {
    name: 'lua',
    title: 'Lua',
    absent: 'needs a library of gRPC and a plugin for protoc; Debian has neither',
  },
  {
    name: 'objc',
    title: 'Objective-C',
    template: 'objc',
    absent: "needs gRPC's library and plugin for Objective-C, which are for Apple's systems; Debian has neither",
  },
  {
    name: 'ocaml',
    title: 'OCaml',
    template: 'ocaml',
    absent: 'needs grpc and ocaml-protoc-plugin from opam; Debian has neither',
  },
  {
    name: 'perl',
    title: 'Perl',
    template: 'perl',
    absent: 'needs Grpc::XS and Google::ProtocolBuffers::Dynamic from CPAN; Debian has neither',
  },
  {
    name: 'php',
    title: 'PHP',
    template: 'php',
    absent: 'needs the extension grpc from PECL; Debian has the messages (php-google-protobuf) and the plugin alone',
  },
  {
    name: 'swift',
    title: 'Swift',
    template: 'swift',
    absent: 'needs Swift and grpc-swift; Debian 12 has neither',
  },
];

/**
 * The languages that a command line asks for; without arguments, all of them.
 * @param {readonly string[]} names
 * @returns {{ asked: readonly Language[], unknown: readonly string[] }}
 */
export function choose(names) {
  const asked = languages.filter(({ name }) => names.length === 0 || names.includes(name));
  return { asked, unknown: names.filter((name) => !languages.some((language) => language.name === name)) };
}
