/**
 * Adds probes to the text of a compiled module: a counter at each branch, and a record of the values that it compares.
 */
import ts from 'typescript';
import { PROBES, type Probes } from './probes.js';

const EDGES = '$edges';

const LOGICAL: ReadonlySet<ts.SyntaxKind> = new Set([
  ts.SyntaxKind.AmpersandAmpersandToken,
  ts.SyntaxKind.BarBarToken,
  ts.SyntaxKind.QuestionQuestionToken,
]);

/** The method of the probes that replaces each operator. */
const COMPARISONS: ReadonlyMap<ts.SyntaxKind, keyof Probes> = new Map([
  [ts.SyntaxKind.EqualsEqualsEqualsToken, 'same'],
  [ts.SyntaxKind.ExclamationEqualsEqualsToken, 'other'],
  [ts.SyntaxKind.LessThanToken, 'less'],
  [ts.SyntaxKind.LessThanEqualsToken, 'atMost'],
  [ts.SyntaxKind.GreaterThanToken, 'more'],
  [ts.SyntaxKind.GreaterThanEqualsToken, 'atLeast'],
] as const);

/** Longer literals are messages. */
const LONGEST_LITERAL = 40;

/** An instrumented module. */
export interface Instrumented {
  readonly text: string;
  /** Number of its last counter, plus one. */
  readonly end: number;
}

/** The values of a literal, as source text; of a regular expression, the words in it. */
function literalOf(node: ts.Node): readonly string[] {
  if (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node))
    return node.text.length > 0 && node.text.length <= LONGEST_LITERAL ? [JSON.stringify(node.text)] : [];
  if (ts.isNumericLiteral(node)) return Number(node.text) > 255 ? [node.text] : [];
  if (ts.isBigIntLiteral(node)) return [node.text];
  if (ts.isRegularExpressionLiteral(node))
    return (node.text.match(/[A-Za-z0-9_-]{3,}/g) ?? []).map((word) => JSON.stringify(word));
  return [];
}

/** Whether recording the value of an operand is useful; that of `typeof` and `undefined` is not. */
function tellsSomething(operand: ts.Expression): boolean {
  if (ts.isTypeOfExpression(operand)) return false;
  if (ts.isIdentifier(operand)) return operand.text !== 'undefined';
  return !(
    operand.kind === ts.SyntaxKind.NullKeyword ||
    operand.kind === ts.SyntaxKind.TrueKeyword ||
    operand.kind === ts.SyntaxKind.FalseKeyword
  );
}

class Instrumenter {
  readonly literals = new Set<string>();
  readonly #factory: ts.NodeFactory;
  readonly #context: ts.TransformationContext;
  #next: number;

  constructor(context: ts.TransformationContext, first: number) {
    this.#context = context;
    this.#factory = context.factory;
    this.#next = first;
  }

  get end(): number {
    return this.#next;
  }

  module(file: ts.SourceFile): ts.SourceFile {
    return ts.visitEachChild(file, (node) => this.#visit(node), this.#context);
  }

  /** `$edges[N]++` */
  #count(): ts.Expression {
    const place = this.#factory.createNumericLiteral(this.#next);
    this.#next += 1;
    return this.#factory.createPostfixIncrement(
      this.#factory.createElementAccessExpression(this.#factory.createIdentifier(EDGES), place),
    );
  }

  #counted(statements: readonly ts.Statement[]): ts.Statement[] {
    // A directive such as "use strict" counts only as the first statement.
    const directives = statements.findIndex(
      (one) => !(ts.isExpressionStatement(one) && ts.isStringLiteral(one.expression)),
    );
    const at = directives < 0 ? statements.length : directives;
    return [
      ...statements.slice(0, at),
      this.#factory.createExpressionStatement(this.#count()),
      ...statements.slice(at),
    ];
  }

  #block(statement: ts.Statement | undefined): ts.Block {
    const statements = statement === undefined ? [] : ts.isBlock(statement) ? statement.statements : [statement];
    return this.#factory.createBlock(this.#counted(statements), true);
  }

  #expression(expression: ts.Expression): ts.Expression {
    const both = this.#factory.createBinaryExpression(this.#count(), ts.SyntaxKind.CommaToken, expression);
    return this.#factory.createParenthesizedExpression(both);
  }

  /** `$same(a, b)` */
  #comparison(node: ts.BinaryExpression, method: string): ts.Expression {
    return this.#factory.createCallExpression(this.#factory.createIdentifier(`$${method}`), undefined, [
      node.left,
      node.right,
    ]);
  }

  #visit(node: ts.Node): ts.Node {
    for (const literal of literalOf(node)) this.literals.add(literal);
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return node;
    const inside = ts.visitEachChild(node, (child) => this.#visit(child), this.#context);
    return this.#probed(inside, node);
  }

  /** @param original the node before its children were visited, which knows its parent */
  #probed(node: ts.Node, original: ts.Node): ts.Node {
    const { factory } = this.#context;
    if (ts.isBlock(node) && (ts.isFunctionLike(original.parent) || ts.isCatchClause(original.parent)))
      return factory.updateBlock(node, this.#counted(node.statements));
    if (ts.isArrowFunction(node) && !ts.isBlock(node.body)) {
      const { modifiers, parameters, equalsGreaterThanToken: arrow } = node;
      return factory.updateArrowFunction(
        node,
        modifiers,
        undefined,
        parameters,
        undefined,
        arrow,
        this.#expression(node.body),
      );
    }
    if (ts.isIfStatement(node))
      return factory.updateIfStatement(
        node,
        node.expression,
        this.#block(node.thenStatement),
        this.#block(node.elseStatement),
      );
    if (ts.isConditionalExpression(node))
      return factory.updateConditionalExpression(
        node,
        node.condition,
        node.questionToken,
        this.#expression(node.whenTrue),
        node.colonToken,
        this.#expression(node.whenFalse),
      );
    if (ts.isForStatement(node))
      return factory.updateForStatement(
        node,
        node.initializer,
        node.condition,
        node.incrementor,
        this.#block(node.statement),
      );
    if (ts.isForOfStatement(node))
      return factory.updateForOfStatement(
        node,
        node.awaitModifier,
        node.initializer,
        node.expression,
        this.#block(node.statement),
      );
    if (ts.isWhileStatement(node))
      return factory.updateWhileStatement(node, node.expression, this.#block(node.statement));
    if (ts.isCaseClause(node)) return factory.updateCaseClause(node, node.expression, this.#counted(node.statements));
    if (ts.isDefaultClause(node)) return factory.updateDefaultClause(node, this.#counted(node.statements));
    if (ts.isBinaryExpression(node)) return this.#probedBinary(node, original);
    return node;
  }

  #probedBinary(node: ts.BinaryExpression, original: ts.Node): ts.Node {
    const operator = node.operatorToken.kind;
    if (LOGICAL.has(operator))
      return this.#factory.updateBinaryExpression(node, node.left, node.operatorToken, this.#expression(node.right));
    // Loop conditions compare counters, which would crowd out everything else.
    const inLoop = ts.isForStatement(original.parent) || ts.isWhileStatement(original.parent);
    const method = inLoop ? undefined : COMPARISONS.get(operator);
    const noted = method !== undefined && tellsSomething(node.left) && tellsSomething(node.right);
    return noted ? this.#comparison(node, method) : node;
  }
}

/**
 * @param text of the module, JavaScript
 * @param first number of its first counter
 * @param withLiterals whether the fuzzer is to learn the literals in it
 */
export function instrument(text: string, name: string, first: number, withLiterals: boolean): Instrumented {
  const file = ts.createSourceFile(name, text, ts.ScriptTarget.ESNext, true, ts.ScriptKind.JS);
  let instrumenter: Instrumenter | undefined;
  const { transformed } = ts.transform(file, [
    (context) => (source) => {
      instrumenter = new Instrumenter(context, first);
      return instrumenter.module(source);
    },
  ]);
  const [module] = transformed;
  if (module === undefined || instrumenter === undefined) throw new Error(`${name} cannot be instrumented`);
  const { end } = instrumenter;
  const literals = withLiterals ? [...instrumenter.literals].join(', ') : '';
  const head = [
    `const { edges: ${EDGES}, ${[...COMPARISONS.values()].map((name) => `${name}: $${name}`).join(', ')} } = globalThis.${PROBES};`,
    `globalThis.${PROBES}.enter(${end}, [${literals}]);`,
  ];
  return { text: `${head.join('\n')}\n${ts.createPrinter().printFile(module)}`, end };
}
