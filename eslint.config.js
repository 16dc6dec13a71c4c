/**
 * What eslint checks: rules that find defects, with types where they need them. How code
 * looks is not checked here. Generated code is not checked, but its types are used.
 */
import { fileURLToPath } from 'node:url';
import js from '@eslint/js';
import { defineConfig } from 'eslint/config';
import regexp from 'eslint-plugin-regexp';
import tseslint from 'typescript-eslint';

/**
 * Rules beyond the recommended ones that need no types.
 * @type {import('eslint').Linter.RulesRecord}
 */
const ownRules = {
  eqeqeq: 'error',
  // Control characters are what some expressions are there to find.
  'no-control-regex': 'off',
  'no-throw-literal': 'error',
  'no-constructor-return': 'error',
  // Node 20 may collect such a signal before it fires; src/common/waiting.ts has what does.
  'no-restricted-properties': [
    'error',
    { object: 'AbortSignal', property: 'any', message: 'Use linkedAbort of src/common/waiting.ts.' },
    {
      object: 'AbortSignal',
      property: 'timeout',
      message: 'Use withTimeLimit or linkedAbort of src/common/waiting.ts.',
    },
  ],
  'no-self-compare': 'error',
  'no-template-curly-in-string': 'error',
  'no-unreachable-loop': 'error',
  'no-useless-rename': 'error',
  'no-var': 'error',
  'object-shorthand': 'error',
  'prefer-const': 'error',
};

/**
 * Expressions meet texts of images, guests and clients, so each has to take linear time, whatever the text. The second
 * rule concerns a search that begins anew at each place of a text: `/\\s*=/` in a text of blanks.
 * @type {import('eslint').Linter.RulesRecord}
 */
const linearTime = {
  'regexp/no-super-linear-backtracking': ['error', { report: 'potential' }],
  'regexp/no-super-linear-move': ['error', { report: 'potential', ignoreSticky: true, ignorePartial: false }],
};

/**
 * Rules beyond the recommended ones that need types.
 * @type {import('eslint').Linter.RulesRecord}
 */
const ownTypedRules = {
  '@typescript-eslint/consistent-type-exports': 'error',
  '@typescript-eslint/consistent-type-imports': 'error',
  '@typescript-eslint/no-deprecated': 'error',
  '@typescript-eslint/no-import-type-side-effects': 'error',
  '@typescript-eslint/no-unused-vars': [
    'error',
    { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrorsIgnorePattern: '^_' },
  ],
  // What was caught, or is an AbortSignal's reason, may be thrown on; literals may not (above).
  '@typescript-eslint/only-throw-error': 'off',
  '@typescript-eslint/prefer-promise-reject-errors': ['error', { allowThrowingAny: true, allowThrowingUnknown: true }],
  // A promise returned inside "try" is not caught there unless it is awaited.
  '@typescript-eslint/return-await': ['error', 'in-try-catch'],
  '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
  // Numbers read well in messages; objects do not.
  '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
  // A function may be async for its interface alone.
  '@typescript-eslint/require-await': 'off',
};

export default defineConfig(
  {
    ignores: [
      'dist/',
      'clients/typescript/dist/',
      'gen/',
      'images/',
      'node_modules/',
      'clients/typescript/src/actions.ts',
    ],
  },
  { linterOptions: { reportUnusedDisableDirectives: 'warn' } },
  js.configs.recommended,
  tseslint.configs.recommendedTypeChecked,
  {
    languageOptions: {
      parserOptions: {
        project: ['tsconfig.json', 'scripts/tsconfig.json'],
        tsconfigRootDir: fileURLToPath(new URL('.', import.meta.url)),
      },
    },
    rules: { ...ownRules, ...ownTypedRules },
  },
  {
    files: ['src/**/*.ts', 'appliance-builder/**/*.ts'],
    plugins: { regexp },
    rules: linearTime,
  },
  {
    files: ['**/*.mjs', '**/*.js'],
    // tsc checks the scripts, by the types in their comments; JSON that they read has none.
    rules: {
      'no-undef': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
    },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      // Tests access values that they got as JSON, or that they break on purpose.
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      // Methods of generated clients are handed over with the client beside them.
      '@typescript-eslint/unbound-method': 'off',
      // A single step of an iterator is often the entire test.
      'no-unreachable-loop': 'off',
    },
  },
  {
    // The types of its stubs are generated where it runs.
    files: ['examples/connect/**'],
    extends: [tseslint.configs.disableTypeChecked],
  },
);
